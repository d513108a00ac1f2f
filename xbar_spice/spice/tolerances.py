"""What the simulator stops by, as its options: one set for a whole deck, because the last of two would win."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import final

from xbar_spice.hardware.crossbar import Crossbar

__all__ = ["Kind", "kind_of", "newton_options", "transient_options"]


@final
class Kind(Enum):
    """What there is in a circuit, as far as Newton's method is concerned; each kind needs the care of those before."""

    LINEAR = 0
    SMOOTH = 1  # laws of our own, without rounding
    JUNCTIONS = 2  # transistors or diodes, or cells that may have some
    MACRO_MODEL = 3  # an op-amp of the user's own


# The simulator's own models of transistors and diodes round their currents: Newton's method may never settle to less
# than this. The default gmin would leak past them at 1e-9 of the current. Op-amp models have inner currents of amperes
# and gains of 1e6, whose rounding is larger; with these options currents are right to 1e-5 all the same.
DEFAULTS: dict[Kind, dict[str, float]] = {
    Kind.LINEAR: {},
    Kind.SMOOTH: {"reltol": 1e-10, "vntol": 1e-13, "abstol": 1e-18},
    Kind.JUNCTIONS: {"reltol": 1e-9, "vntol": 1e-12, "abstol": 1e-15, "gmin": 1e-18},
    Kind.MACRO_MODEL: {"reltol": 1e-6, "vntol": 1e-9, "abstol": 1e-12, "gmin": 1e-15},
}


def kind_of(crossbars: Sequence[Crossbar]) -> Kind:
    """The kind of a circuit of these arrays."""
    return max(map(_kind, crossbars), key=lambda kind: kind.value, default=Kind.LINEAR)


def newton_options(crossbars: Sequence[Crossbar]) -> dict[str, float]:
    """Options for operating points of arrays.

    The defaults go by the kind of the circuit, and there are none where all arrays are linear. A `reltol` of the arrays
    takes the absolute tolerances with it; of several the smallest counts.

    Example:
        >>> newton_options([Crossbar([[1e-4]])])
        {}
    """
    options = DEFAULTS[kind_of(crossbars)]
    given = [crossbar.reltol for crossbar in crossbars if crossbar.reltol is not None]
    if not given:
        return dict(options)
    options = options or DEFAULTS[Kind.SMOOTH]
    times = min(given) / options["reltol"]
    return {name: value if name == "gmin" else float(f"{times * value:.12g}") for name, value in options.items()}


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
    newton = DEFAULTS[kind_of([crossbar])]
    return options | ({"gmin": newton["gmin"]} if "gmin" in newton else {})


def _kind(crossbar: Crossbar) -> Kind:
    if crossbar.amplifier.present and crossbar.amplifier.opamp is not None:
        return Kind.MACRO_MODEL
    if crossbar.device.junctions:
        return Kind.JUNCTIONS
    return Kind.LINEAR if crossbar.linear else Kind.SMOOTH
