"""How fast errors and neighbours can grow along a run: the spectrum of the Jacobian, by forward products alone.

With J the Jacobian where a step begins, the largest real part of an eigenvalue (abscissa) says how a small difference
grows in the end, the largest eigenvalue omega of (J + J^T) / 2 (numerical abscissa) how fast it can grow at once: the
differential equation multiplies it at most by exp(integral of omega dt). Re lambda < 0 alone says nothing on the way:
[[-0.5, 8], [0, -1]] lets differences grow fourfold before they decay.

Of n products with unit vectors both are exact. Of fewer, Arnoldi's iteration V^T J V = H gives Ritz values, which
estimate the abscissa, and the numerical abscissa of H, which bounds omega from below. A product J v = B D A v takes the
reads of an evaluation of f, with the slopes that the run has stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xbar_spice.checks import SEED, Array, Whole, checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.norms import norms
from xbar_spice.linear.operator import FloatArray
from xbar_spice.read_context import stage
from xbar_spice.solve.adjoint.discrete import gradients
from xbar_spice.solve.adjoint.tangent import tangent
from xbar_spice.solve.fields.evaluation import Evaluation
from xbar_spice.solve.integrators.integration import Trajectory
from xbar_spice.solve.integrators.method import ForwardRun
from xbar_spice.streams import random_stream

__all__ = ["Growth", "growth", "propagator_norm"]

_BREAKDOWN = 1e-13  # part of J v outside the Krylov space, below which the space is closed


@final
@dataclass(frozen=True)
class Growth:
    """Growth along a run, one entry for each step; for a single z0 the batch axis is absent.

    Attributes:
        abscissa: Largest real part of an eigenvalue of J, 1/s, (steps[, batch]); NaN where the state is not finite.
        numerical_abscissa: Largest eigenvalue of (J + J^T) / 2, 1/s; with fewer products than states a lower bound.
        products: Products with J that were made for each sample.
        lengths: Of the steps, s, (steps,).
    """

    abscissa: FloatArray
    numerical_abscissa: FloatArray
    products: NDArray[np.int64]
    lengths: FloatArray

    @cached_property
    def bound(self) -> FloatArray:
        """exp(sum of h omega), by which a small difference grows at most until the end of each step, (steps[, batch]).

        Of the differential equation; forward Euler may exceed it by O(h).
        """
        lengths = self.lengths.reshape(-1, *(1,) * (self.numerical_abscissa.ndim - 1))
        with np.errstate(over="ignore"):
            return np.asarray(np.exp(np.cumsum(lengths * self.numerical_abscissa, axis=0)))


@checked(seed=SEED)
def growth(
    trajectory: Trajectory, products: int | None = None, *, start: ArrayLike | None = None, seed: int = 0
) -> Growth:
    """How fast small differences can grow at each step of a run, of the matrices that made it.

    Args:
        trajectory: What `integrate` returned; arrays must still be there.
        products: Products with J for each step and sample, from 1 to n; n, which is exact, when left out.
        start: (n,) vector from which Arnoldi's iteration starts; a random one when left out.
        seed: Of the random one.

    Returns:
        Abscissa and numerical abscissa of J at the state where each step begins, and the products that they took.

    Raises:
        InvalidInputError: An argument is not allowed.

    Example:
        >>> from xbar_spice.solve.fields.layer_field import LayerField
        >>> from xbar_spice.solve.integrators.integration import integrate
        >>> run = integrate(LayerField([[-0.5, 8.0], [0.0, -1.0]], activation="identity"), [0.0, 1.0], h=0.1, steps=1)
        >>> found = growth(run)
        >>> found.abscissa, found.numerical_abscissa, found.products
        (array([-0.5]), array([3.257805]), array([2]))
    """
    n = trajectory.z.shape[1]
    count = n if products is None else Whole(1, n, "more products than states tell nothing")("products", products)
    first = np.ones(n)
    if start is not None:
        first = Array()("start", start)
        if first.shape != (n,) or not first.any():
            raise InvalidInputError(f"start must be a vector of shape ({n},) that is not zero, got {first.shape}")
    elif products is not None:
        first = np.asarray(random_stream(seed, "growth").standard_normal(n))
    values = []
    for run in trajectory.runs:
        for k in range(run.grid.steps):
            with stage(phase="forward", step=run.grid.start + k):
                at = _evaluation(run, k)

                def product(v: FloatArray, run: ForwardRun = run, at: Evaluation = at) -> FloatArray:
                    return run.field.jvp(at, v)

                if products is None and start is None:
                    values.append(_of_unit_vectors(product, n, at.batch))
                else:
                    values.append(_of_arnoldi(product, first, count, at.batch))
    found = [np.stack(parts) for parts in zip(*values, strict=True)]
    lost = np.concatenate([~np.isfinite(run.z[:-1]).all(axis=1) for run in trajectory.runs])
    found[0][lost] = found[1][lost] = np.nan
    if not trajectory.batched:
        found = [part[:, 0] for part in found]
    lengths = np.concatenate([np.full(run.grid.steps, run.grid.h) for run in trajectory.runs])
    return Growth(found[0], found[1], found[2].astype(np.int64), lengths)


@checked(seed=SEED)
def propagator_norm(
    trajectory: Trajectory, iterations: int = 8, *, start: ArrayLike | None = None, seed: int = 0
) -> FloatArray:
    """By how much the whole run multiplies the worst small difference of z_0: |dz_N/dz_0|, by the power iteration.

    Each iteration takes a tangent and an adjoint of the run: forward and transposed products of every step.

    Args:
        trajectory: What `integrate` returned.
        iterations: Number of iterations, >= 1.
        start: (n,) difference to start with; a random one when left out.
        seed: Of the random one.

    Returns:
        (iterations[, batch]) estimates, which grow towards the norm.
    """
    n = trajectory.z.shape[1]
    first = np.asarray(random_stream(seed, "growth").standard_normal(n) if start is None else Array()("start", start))
    v: FloatArray = first / norms(first)
    if trajectory.batched:
        v = np.repeat(v[:, np.newaxis], trajectory.z.shape[2], axis=1)
    found = []
    for _ in range(Whole(1)("iterations", iterations)):
        moved = tangent(trajectory, v)
        found.append(norms(moved))
        v = gradients(trajectory, moved).z0
        v = v / norms(v)
    return np.stack(found)


def _evaluation(run: ForwardRun, k: int) -> Evaluation:
    """What the run left of f(z_k); if it has no such evaluation, f is read there."""
    for at in run.evaluations[k]:
        if at.z.shape == run.z[k].shape and np.array_equal(at.z, run.z[k]):
            return at
    return run.field.evaluate_finite(run.z[k])


Product = Callable[[FloatArray], FloatArray]


def _of_unit_vectors(product: Product, n: int, batch: int) -> tuple[FloatArray, ...]:
    columns = [product(np.repeat(unit[:, np.newaxis], batch, axis=1)) for unit in np.eye(n)]
    jacobians = np.stack(columns).transpose(2, 1, 0)  # (batch, n, n)
    found = np.array([_abscissas(jacobian) for jacobian in jacobians])
    return found[:, 0], found[:, 1], np.full(batch, n)


def _of_arnoldi(product: Product, start: FloatArray, count: int, batch: int) -> tuple[FloatArray, ...]:
    basis = np.zeros((count + 1, start.size, batch))
    basis[0] = (start / np.linalg.norm(start))[:, np.newaxis]
    upper = np.zeros((batch, count + 1, count))
    sizes = np.full(batch, count)
    for k in range(count):
        image = product(basis[k])
        size = norms(image)
        for _ in range(2):  # the second time for what rounding left of the first
            parts = np.einsum("knb,nb->kb", basis[: k + 1], image)
            image = image - np.einsum("kb,knb->nb", parts, basis[: k + 1])
            upper[:, : k + 1, k] += parts.T
        rest = norms(image)
        closed = ~(rest > _BREAKDOWN * size)
        sizes = np.minimum(sizes, np.where(closed, k + 1, count))
        upper[:, k + 1, k] = np.where(closed, 0.0, rest)
        basis[k + 1] = np.where(closed, 0.0, image / np.where(closed, 1.0, rest))
    found = np.array([_abscissas(one[:size, :size]) for one, size in zip(upper, sizes, strict=True)])
    return found[:, 0], found[:, 1], np.full(batch, count)


def _abscissas(matrix: FloatArray) -> tuple[float, float]:
    """The largest real part of an eigenvalue of a matrix and of its symmetric part."""
    if not np.isfinite(matrix).all():
        return np.nan, np.nan
    return float(np.linalg.eigvals(matrix).real.max()), float(np.linalg.eigvalsh((matrix + matrix.T) / 2)[-1])
