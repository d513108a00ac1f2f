"""A read as a case of biases: drivers at one side, 0 V or amplifiers at the other, nothing at the rest."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from xbar_spice.errors import DeviceError
from xbar_spice.hardware.biases import OPPOSITE_EDGES, Biases, End
from xbar_spice.hardware.crossbar import SIDES, Crossbar, Edge, Side
from xbar_spice.linear.operator import FloatArray

__all__ = ["across_cells", "circuit_of", "read_biases", "read_ends", "reciprocal", "require_known_voltages"]

ROUNDING = 1e-9  # of the range of a law


def read_biases(crossbar: Crossbar, volts: FloatArray, side: Side) -> Biases:
    """A read as biases.

    Args:
        crossbar: the array, whose terminations say which ends are driven and sensed.
        volts: (ports,) or (ports, batch) of the driven side.
        side: the driven side.
    """
    hookup, values = crossbar.hookup(side), dict[str, Any]()
    for edge, end in read_ends(crossbar, side, volts).items():
        if edge in hookup.driven + hookup.sensed:
            at_ends = np.where(end.connected[:, np.newaxis], end.volts, np.nan)
            values |= {edge: at_ends[:, 0] if np.ndim(volts) == 1 else at_ends, f"r_{edge}": end.ohms}
    return Biases(**values, amplified=hookup.sensed if crossbar.amplifier.present else ())


def read_ends(crossbar: Crossbar, side: Side, volts: FloatArray | None = None) -> dict[Edge, End]:
    """What stands at every edge in a read; drivers are at 0 V when the volts are left out."""
    hookup, names = crossbar.hookup(side), crossbar.resistance_names(side)
    drive = None if volts is None else np.asarray(volts, dtype=float)
    drive = drive[:, np.newaxis] if drive is not None and drive.ndim == 1 else drive
    found: dict[Edge, End] = {}
    for lines, edges in zip(SIDES, OPPOSITE_EDGES, strict=True):
        ports = crossbar.ports(lines)
        ohms = np.full(ports, getattr(crossbar, names[lines]))
        connected, nothing = np.ones(ports, dtype=bool), np.zeros((ports, 1 if drive is None else drive.shape[1]))
        if lines == "rows" and crossbar.open_rows:
            connected[list(crossbar.open_rows)] = False
        for edge in edges:
            if edge in hookup.driven:
                at_ends = nothing if drive is None else np.where(connected[:, np.newaxis], drive, 0.0)
                found[edge] = End(edge, connected, at_ends, ohms)
            elif edge in hookup.sensed:
                amplifier = crossbar.amplifier if crossbar.amplifier.present else None
                found[edge] = End(edge, connected, nothing, ohms, amplifier)
            else:
                found[edge] = End(edge, np.zeros(ports, dtype=bool), nothing, ohms)
    return found


def circuit_of(ends: Mapping[Edge, End]) -> Hashable:
    """Equal for ends that make one circuit of an array, whatever their volts."""
    return tuple(end.circuit for end in ends.values())


def reciprocal(crossbar: Crossbar) -> bool:
    """Whether both directions of a read are made through the same ends."""
    return circuit_of(read_ends(crossbar, "rows")) == circuit_of(read_ends(crossbar, "cols"))


def across_cells(crossbar: Crossbar, ends: Mapping[Edge, End]) -> tuple[float, float]:
    """Bounds of the voltages, word line minus bit line, that the cells see.

    All nodes lie between the voltages of the terminals. A node is as near to the terminals of its line, too, as the
    largest currents that the line could carry leave it, which is the smaller bound if resistances are low.
    """
    at_lines = {lines: [end for end in ends.values() if end.side == lines] for lines in ("rows", "cols")}
    levels = {lines: np.concatenate([end.volts[end.connected].ravel() for end in of]) for lines, of in at_lines.items()}
    volts = np.concatenate(list(levels.values()))
    reach = float(np.ptp(volts)) if volts.size else 0.0
    loose = any(not (near.connected | far.connected).all() for near, far in at_lines.values())
    linear = all(end.amplifier is None or end.amplifier.linear for end in ends.values())
    if not reach or loose or not linear:
        return -reach, reach
    word, bit = levels["rows"], levels["cols"]
    currents = np.maximum(
        *(np.abs(crossbar.device.current(crossbar.conductance, np.array(v))) for v in (reach, -reach))
    )
    rows, cols = crossbar.shape
    wires = {"rows": (cols + 1) * np.max(crossbar.r_word), "cols": (rows + 1) * np.max(crossbar.r_bit)}
    lost = 0.0
    for lines, of in at_lines.items():
        load = max(float(end.load[end.connected].max(initial=0.0)) for end in of)
        lost += (load + wires[lines]) * float(currents.sum(axis=1 if lines == "rows" else 0).max())
    low, high = float(word.min() - bit.max()), float(word.max() - bit.min())
    return max(low - lost, -reach), min(high + lost, reach)


def require_known_voltages(crossbar: Crossbar, ends: Mapping[Edge, End]) -> None:
    """Refuse biases under which a cell could see more than its law knows.

    Raises:
        DeviceError: the cells' law has a `voltage_range` that these volts may leave.
    """
    if crossbar.device.voltage_range is None:
        return
    known = crossbar.device.voltage_range
    slack = ROUNDING * max(map(abs, known))
    volts = np.concatenate([end.volts[end.connected].ravel() for end in ends.values()])
    if not volts.size or np.ptp(volts) <= min(-known[0], known[1]) + slack:
        return
    across = across_cells(crossbar, ends)
    if across[0] < known[0] - slack or across[1] > known[1] + slack:
        raise DeviceError(
            f"cells may see {across[0]:.4g} to {across[1]:.4g} V between terminals at {volts.min():.4g} to "
            f"{volts.max():.4g} V, and {crossbar.device!r} is known from {known[0]:.4g} to {known[1]:.4g} V: lower "
            "v_read, or measure further"
        )
