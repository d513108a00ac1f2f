"""What programming and time leave of the conductances that were meant, or a measured map in their place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import Array
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.crossbar import Crossbar
from xbar_spice.hardware.variation import Programmed, Variation
from xbar_spice.linear.operator import FloatArray
from xbar_spice.mapping.base import IntArray
from xbar_spice.mapping.design import Design

__all__ = ["measured_devices", "programmed_devices"]


class Placed(Protocol):
    """An array of the matrix, and where its devices are among all of them."""

    @property
    def crossbar(self) -> Crossbar:
        """With targets as its conductances."""

    @property
    def devices(self) -> tuple[IntArray, IntArray, IntArray]:
        """Indices that pick its (rows, cols) out of (devices, inputs, outputs)."""


def programmed_devices(
    target: FloatArray,
    design: Design,
    arrays: Iterable[Placed],
    rng: np.random.Generator | None,
    cycle_rng: np.random.Generator | None,
    before: ArrayLike | None = None,
) -> tuple[Programmed, Programmed]:
    """What programming leaves, the devices' own error and that of the occasion, and what time leaves of that.

    Args:
        target: (devices, inputs, outputs) siemens.
        design: How the arrays are built.
        arrays: Them, with the targets as their conductances; for programming in the circuit.
        rng: Of the devices.
        cycle_rng: Of the occasion.
        before: (devices, inputs, outputs) siemens that pulses start from; those of blank devices when left out.
    """
    own = _own(target, design, arrays, rng, None if before is None else _siemens("before", before, target, design))
    time = rng.spawn(1)[0] if design.after and rng is not None else None
    if design.cycle != Variation():
        occasion = rng.spawn(1)[0] if cycle_rng is None and rng is not None else cycle_rng
        later = design.cycle.program(own.conductance, design.g_min, design.g_max, occasion)
        # A device that does not follow its target is not written either.
        stays = own.slope == 0
        own = Programmed(
            np.where(stays, own.conductance, later.conductance),
            np.where(stays, 0.0, own.slope * later.slope),
            own.cost,
        )
    return own, _drifted(own, target, design, time)


def _own(
    target: FloatArray,
    design: Design,
    arrays: Iterable[Placed],
    rng: np.random.Generator | None,
    before: FloatArray | None,
) -> Programmed:
    """What the design's own programming leaves; of devices that are in no array, the target."""
    if not design.variation.in_circuit:
        return design.variation.program(target, design.g_min, design.g_max, rng)
    conductance, slope, cost = target.copy(), np.ones_like(target), None
    for array in arrays:
        window, crossbar = (design.g_min, design.g_max), array.crossbar
        if before is None:
            found = design.variation.program_array(crossbar, *window, rng)
        else:
            found = design.variation.rewrite_array(crossbar, before[array.devices], *window, rng)
        conductance[array.devices], slope[array.devices] = found.conductance, found.slope
        cost = found.cost if cost is None or found.cost is None else cost + found.cost
    return Programmed(conductance, slope, cost)


def measured_devices(conductance: ArrayLike, target: FloatArray, design: Design) -> Programmed:
    """A map of measured conductances, as if programming had left it."""
    design.refuse_measured("conductance")
    return Programmed.as_meant(_siemens("conductance", conductance, target, design))


def _siemens(name: str, conductance: ArrayLike, target: FloatArray, design: Design) -> FloatArray:
    """Conductances of all devices, as they are given."""
    given = Array()(name, conductance)
    if given.shape != target.shape or (given < 0).any():
        what = "measured conductances" if name == "conductance" else f"conductances {name} programming"
        raise InvalidInputError(
            f"{what} must be >= 0 S and of shape {target.shape} (devices of a weight with "
            f"{design.mapping!r}, inputs, outputs), got shape {given.shape} and {given.min(initial=0.0):g} S"
        )
    return given


def _drifted(
    programmed: Programmed, target: FloatArray, design: Design, stream: np.random.Generator | None
) -> Programmed:
    """What drift leaves of the devices; it draws from a stream of its own, the same at all times after programming."""
    if not design.after:
        return programmed
    later = design.drift.drifted(programmed.conductance, target, design.g_min, design.g_max, design.after, stream)
    return Programmed(later.conductance, later.slope * programmed.slope)
