"""What the simulator stops by, as its options: one set for a whole deck, because the last of two would win."""

from __future__ import annotations

from collections.abc import Sequence

from xbar_spice.hardware.crossbar import Crossbar

__all__ = ["newton_options", "transient_options"]

# The simulator's own models of transistors and diodes round their currents: Newton's method may never settle to less
# than this. The default gmin would leak past them at 1e-9 of the current.
JUNCTIONS = {"reltol": 1e-9, "vntol": 1e-12, "abstol": 1e-15, "gmin": 1e-18}
SMOOTH = {"reltol": 1e-10, "vntol": 1e-13, "abstol": 1e-18}


def newton_options(crossbars: Sequence[Crossbar]) -> dict[str, float]:
    """Options for operating points of arrays; none where all of them are linear.

    Example:
        >>> newton_options([Crossbar([[1e-4]])])
        {}
    """
    if all(crossbar.linear for crossbar in crossbars):
        return {}
    return dict(JUNCTIONS if any(map(_has_junctions, crossbars)) else SMOOTH)


def transient_options(crossbar: Crossbar, least_charge: float, accuracy: float) -> dict[str, float]:
    """Options for an array read in time.

    Args:
        crossbar: the array.
        least_charge: coulomb that the smallest capacitor holds.
        accuracy: about the relative error of settling times and energies.
    """
    # Newton's method stops by reltol; trtol relates the error of a time step to it, found by comparison with modes.
    options = {
        "reltol": 1e-6,
        "vntol": 1e-12,
        "abstol": 1e-15,
        "trtol": float(f"{1e5 * accuracy**1.5:.3g}"),
        "chgtol": float(f"{1e-6 * least_charge:.3g}"),
    }
    return options | ({"gmin": JUNCTIONS["gmin"]} if _has_junctions(crossbar) else {})


def _has_junctions(crossbar: Crossbar) -> bool:
    """Whether there are transistors or diodes, or subcircuits that may have some."""
    opamp = crossbar.amplifier.opamp if crossbar.amplifier.present else None
    return crossbar.device.junctions or opamp is not None
