"""What writing the arrays of a run took."""

from __future__ import annotations

from collections.abc import Iterable

from xbar_spice.cosim.run.record import WritesEntry
from xbar_spice.hardware.variation import ProgrammingCost
from xbar_spice.mapping.analog_matrix import AnalogMatrix
from xbar_spice.mapping.design import Design
from xbar_spice.mapping.rewritten import SharedArrays, devices_name

__all__ = ["programming_costs", "writes_of"]


def programming_costs(matrices: Iterable[AnalogMatrix], design: Design) -> dict[str, ProgrammingCost]:
    """What the pulses of all writes took, by matrix, where they are simulated."""
    found = {m.name: m.mapped.cost for m in matrices if m.shared is None and m.mapped.cost is not None}
    for name, arrays in _shared(matrices, design).items():
        costs = [write.cost for write in arrays.writes if write.cost is not None]
        if costs:
            found[name] = sum(costs[1:], costs[0])
    return found


def writes_of(matrices: Iterable[AnalogMatrix], design: Design) -> dict[str, WritesEntry]:
    """How often the arrays were written that the weights of all steps share, by the name of the matrix."""
    return {
        name: WritesEntry(
            forward=sum(write.sweep == "forward" for write in arrays.writes),
            adjoint=sum(write.sweep == "adjoint" for write in arrays.writes),
            devices=sum(write.devices for write in arrays.writes),
        )
        for name, arrays in _shared(matrices, design).items()
    }


def _shared(matrices: Iterable[AnalogMatrix], design: Design) -> dict[str, SharedArrays]:
    return {devices_name(m.name, design): m.shared for m in matrices if m.shared is not None}
