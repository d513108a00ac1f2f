"""Stand-ins for arrays and systems that the tests of solvers share: matrices that count, note, disturb or disagree."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xbar_spice.linear.operator import FloatArray, LinearOperator
from xbar_spice.read_context import Stage, current_stage


class Recorded(LinearOperator):
    """A matrix that notes stage, direction and number of vectors of each read."""

    def __init__(self, matrix: FloatArray) -> None:
        self.matrix = matrix
        self.reads: list[tuple[Stage, str, int]] = []

    @property
    def shape(self) -> tuple[int, int]:
        rows, cols = self.matrix.shape
        return rows, cols

    def _forward(self, x: FloatArray) -> FloatArray:
        self.reads.append((current_stage(), "forward", x.shape[1]))
        return np.asarray(self.matrix @ x)

    def _transposed(self, y: FloatArray) -> FloatArray:
        self.reads.append((current_stage(), "transposed", y.shape[1]))
        return np.asarray(self.matrix.T @ y)

    def count(self, phase: str | None = None, direction: str | None = None) -> int:
        return sum(phase in (None, at.phase) and direction in (None, way) for at, way, _ in self.reads)

    def vectors(self, phase: str | None = None, direction: str | None = None) -> int:
        return sum(vectors for at, way, vectors in self.reads if phase in (None, at.phase) and direction in (None, way))


class Noisy(LinearOperator):
    """A matrix whose products carry a relative error, the same kind in both directions; it counts vectors."""

    def __init__(self, matrix: FloatArray, noise: float, seed: int) -> None:
        self.matrix, self.noise, self.rng = matrix, noise, np.random.default_rng(seed)
        self.reads = 0

    @property
    def shape(self) -> tuple[int, int]:
        rows, cols = self.matrix.shape
        return rows, cols

    def _forward(self, x: FloatArray) -> FloatArray:
        return self._read(self.matrix @ x)

    def _transposed(self, y: FloatArray) -> FloatArray:
        return self._read(self.matrix.T @ y)

    def _read(self, exact: FloatArray) -> FloatArray:
        self.reads += exact.shape[1]
        return exact + self.noise * np.sqrt(np.mean(exact**2, axis=0)) * self.rng.normal(size=exact.shape)


class TwoSided(LinearOperator):
    """An array whose transposed read is not the transpose of its forward read."""

    def __init__(self, forward: FloatArray, transposed: FloatArray) -> None:
        self.forward, self.transposed = forward, transposed

    @property
    def shape(self) -> tuple[int, int]:
        rows, cols = self.forward.shape
        return rows, cols

    def _forward(self, x: FloatArray) -> FloatArray:
        return np.asarray(self.forward @ x)

    def _transposed(self, y: FloatArray) -> FloatArray:
        return np.asarray(self.transposed @ y)


class Systems:
    """A batch of matrices, (batch, n, n), that counts the products made with each."""

    def __init__(self, matrices: FloatArray) -> None:
        self.matrices = matrices
        self.products = np.zeros(len(matrices), dtype=int)
        self.calls = 0
        self.stages: list[int | None] = []

    def __call__(self, x: FloatArray, active: NDArray[np.intp]) -> FloatArray:
        assert x.shape[1] == active.size
        assert np.all(np.diff(active) > 0)
        self.products[active] += 1
        self.calls += 1
        self.stages.append(current_stage().krylov)
        image: FloatArray = np.einsum("aij,ja->ia", self.matrices[active], x)
        return image

    def solution(self, rhs: FloatArray) -> FloatArray:
        """Of each system, (n, batch)."""
        return np.asarray(np.linalg.solve(self.matrices, rhs.T[..., np.newaxis])[..., 0].T, dtype=float)
