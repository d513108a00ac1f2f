"""Conductances whose array, wires included, has the wanted transfer matrix.

Wires, drivers and sense terminals make the effective matrix T of an array smaller than its conductances G. Larger
conductances undo that as far as the devices' window allows. Each step scales every device by what its own entry lacks,

    G <- G wanted / T(G)    entry by entry, kept inside the window,

which leaves an error of about the relative drop times the one before: a few steps, of one transfer matrix each.
Devices at the edge of the window stay there, and the others make up for them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xbar_spice.checks import Array, Instance, Real, checked
from xbar_spice.engines.nodal.engine import NodalEngine
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.crossbar import Crossbar
from xbar_spice.linear.operator import FloatArray

__all__ = ["Compensation", "compensate"]

ITERATIONS = 50


@final
@dataclass(frozen=True, eq=False)
class Compensation:
    """What `compensate` found.

    Attributes:
        crossbar: the array with the new conductances.
        effective: (rows, cols) siemens, its transfer matrix.
        error: (rows, cols) siemens, effective minus wanted: what could not be reached.
        limited: (rows, cols) whether a device stands at the edge of the window.
    """

    crossbar: Crossbar
    effective: FloatArray
    error: FloatArray
    limited: NDArray[np.bool_]


@checked()
def compensate(
    crossbar: Crossbar, wanted: ArrayLike, g_min: float, g_max: float, *, tolerance: float = 1e-9
) -> Compensation:
    """Find conductances whose forward reads have the wanted transfer matrix.

    Args:
        crossbar: wires, terminations and law of the cells; its conductances are where the search starts.
        wanted: (rows, cols) siemens.
        g_min: lowest conductance of a device, siemens.
        g_max: highest conductance of a device, siemens.
        tolerance: largest error asked for, relative to the largest wanted entry, of devices inside the window.

    Returns:
        The array within the tolerance, or the best one of a limited number of steps: where wires take most of a
        current away, no conductance may bring it back.

    Raises:
        InvalidInputError: cells or amplifiers that are not linear, a wanted matrix of another shape, or no window.
    """
    Instance(Crossbar, example="Crossbar([[1e-4]], r_word=1.0)")("crossbar", crossbar)
    target = Array()("wanted", wanted)
    if target.shape != crossbar.shape:
        raise InvalidInputError(f"wanted must be finite and of shape {crossbar.shape}, got {target.shape}")
    if not Real("S", least=0)("g_min", g_min) < Real("S", least=0)("g_max", g_max):
        raise InvalidInputError(f"0 <= g_min < g_max (siemens) is needed, got {g_min} and {g_max}")
    if not crossbar.linear:
        raise InvalidInputError(
            "only linear cells and amplifiers have one transfer matrix to aim at, got "
            f"{crossbar.device!r} and {crossbar.amplifier!r}"
        )
    goal = Real(least=0)("tolerance", tolerance) * np.abs(target).max()
    given = crossbar.conductance
    conductance = np.clip(np.where(given > 0, given, target), g_min, g_max)  # nothing scales 0 S
    found = best = _judged(crossbar, conductance, target, g_min, g_max)
    for _ in range(ITERATIONS):
        # An error that the window asks for is there to stay.
        if np.abs(np.where(_held(found, g_min, g_max), 0.0, found.error)).max() <= goal:
            return found
        conductance, effective = found.crossbar.conductance, found.effective
        lacking = np.divide(target, effective, out=np.ones_like(target), where=effective > 0)  # not on an open line
        found = _judged(crossbar, np.clip(conductance * lacking, g_min, g_max), target, g_min, g_max)
        if np.linalg.norm(found.error) < np.linalg.norm(best.error):
            best = found
    return best


def _judged(
    crossbar: Crossbar, conductance: FloatArray, target: FloatArray, g_min: float, g_max: float
) -> Compensation:
    """What an array with these conductances does."""
    array = replace(crossbar, conductance=conductance)
    with NodalEngine().program(array) as session:
        effective = session.read(np.eye(array.shape[0])).T
    return Compensation(array, effective, effective - target, (conductance <= g_min) | (conductance >= g_max))


def _held(found: Compensation, g_min: float, g_max: float) -> NDArray[np.bool_]:
    """Devices at an edge of the window whose own error asks for more."""
    conductance = found.crossbar.conductance
    return ((conductance <= g_min) & (found.error > 0)) | ((conductance >= g_max) & (found.error < 0))
