"""Conductances whose array, wires included, has the wanted transfer matrix.

Wires, drivers and sense terminals make the effective matrix of an array smaller than its conductances. Other
conductances undo that as far as the devices' window allows. Gauss-Newton on the derivative of all sense currents;
devices at the edge of the window stay there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator, lsmr

from xbar_spice.array import Crossbar
from xbar_spice.engines.nodal.sensitivity import Change, Sensitivity
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear import FloatArray

__all__ = ["Compensation", "compensate"]

ITERATIONS = 20


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


def compensate(
    crossbar: Crossbar, wanted: ArrayLike, g_min: float, g_max: float, *, tolerance: float = 1e-9
) -> Compensation:
    """Find conductances whose forward reads have the wanted transfer matrix.

    Args:
        crossbar: wires, terminations and law of the cells; its conductances are where the search starts.
        wanted: (rows, cols) siemens.
        g_min: lowest conductance of a device, siemens.
        g_max: highest conductance of a device, siemens.
        tolerance: largest error asked for, relative to the largest wanted entry.

    Raises:
        InvalidInputError: cells or amplifiers that are not linear, a wanted matrix of another shape, or no window.
    """
    target = np.asarray(wanted, dtype=float)
    if target.shape != crossbar.shape or not np.isfinite(target).all():
        raise InvalidInputError(f"wanted must be finite and of shape {crossbar.shape}, got {target.shape}")
    if not 0 <= g_min < g_max < np.inf:
        raise InvalidInputError(f"0 <= g_min < g_max (siemens) is needed, got {g_min} and {g_max}")
    if not crossbar.linear:
        raise InvalidInputError(
            "only linear cells and amplifiers have one transfer matrix to aim at, got "
            f"{crossbar.device!r} and {crossbar.amplifier!r}"
        )
    conductance = np.clip(crossbar.conductance, g_min, g_max)
    goal = tolerance * np.abs(target).max()
    for _ in range(ITERATIONS):
        array = replace(crossbar, conductance=conductance)
        operator = Sensitivity(array, np.eye(crossbar.shape[0]))
        error = operator.currents.T - target
        if np.abs(error).max() <= goal:
            break
        changed = np.clip(conductance + _step(operator, error, _free(conductance, error, g_min, g_max)), g_min, g_max)
        if np.abs(changed - conductance).max() <= 1e-12 * g_max:
            break
        conductance = changed
    limited = (array.conductance <= g_min) | (array.conductance >= g_max)
    return Compensation(array, target + error, error, limited)


def _free(conductance: FloatArray, error: FloatArray, g_min: float, g_max: float) -> FloatArray:
    """1 for the devices that may move: not those at an edge whose own error asks for more."""
    stuck = ((conductance <= g_min) & (error > 0)) | ((conductance >= g_max) & (error < 0))
    return np.where(stuck, 0.0, 1.0)


def _step(operator: Sensitivity, error: FloatArray, free: FloatArray) -> FloatArray:
    """The Gauss-Newton step of the free devices, from products with the derivative alone."""
    shape = error.shape
    derivative = LinearOperator(
        (error.size, error.size),
        matvec=lambda change: operator.jvp(Change(free * change.reshape(shape))).T.ravel(),
        rmatvec=lambda weights: (free * operator.vjp(weights.reshape(shape).T).conductance).ravel(),
        dtype=float,
    )
    solution = lsmr(derivative, -error.ravel(), atol=1e-4, btol=1e-4, maxiter=60)[0]
    return np.asarray(free * solution.reshape(shape))
