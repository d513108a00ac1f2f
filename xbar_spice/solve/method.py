"""What every integration method offers: the forward run and the exact adjoint of the very scheme that was run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.linear import FloatArray
from xbar_spice.solve.field import BoolArray, Evaluation, Field
from xbar_spice.solve.krylov import KrylovOptions
from xbar_spice.solve.newton import NewtonOptions

__all__ = ["AdjointRun", "ForwardRun", "Method", "SolveReport"]


@final
@dataclass(frozen=True)
class SolveReport:
    """How each step went; every array is (steps, batch).

    Attributes:
        converged: False where a step must not be trusted: its equation was not solved, or its state is not finite.
        newton_iterations: 0 for explicit steps and adjoints.
        krylov_iterations: Products with the Jacobian or its transpose.
        residuals: Relative residual that is left; 0 for explicit steps.
    """

    converged: BoolArray
    newton_iterations: NDArray[np.int64]
    krylov_iterations: NDArray[np.int64]
    residuals: FloatArray

    @classmethod
    def blank(cls, steps: int, batch: int) -> SolveReport:
        """The report of steps that needed no solve, for a method to fill in."""
        counts = np.zeros((2, steps, batch), dtype=np.int64)
        return cls(np.ones((steps, batch), dtype=bool), counts[0], counts[1], np.zeros((steps, batch)))


@final
@dataclass(frozen=True)
class ForwardRun:
    """What the forward run leaves for the adjoint.

    Attributes:
        field: f.
        h: Step size.
        z: States on the grid, (steps + 1, n, batch).
        evaluations: For each grid point the evaluations of f that belong to it, as the method laid them out.
        report: How each step went.
    """

    field: Field
    h: float
    z: FloatArray
    evaluations: tuple[tuple[Evaluation, ...], ...]
    report: SolveReport


@final
@dataclass(frozen=True)
class AdjointRun:
    """Gradients of a loss of the last state.

    Attributes:
        z0: dL/dz_0, (n, batch).
        parameters: dL/d(parameter) by name, summed over the batch.
        report: How each linear solve went.
    """

    z0: FloatArray
    parameters: Mapping[str, FloatArray]
    report: SolveReport


class Method(ABC):
    """A time integration scheme together with its discrete adjoint."""

    @abstractmethod
    def run(
        self, field: Field, z0: FloatArray, h: float, steps: int, newton: NewtonOptions, krylov: KrylovOptions
    ) -> ForwardRun:
        """Integrate from z0, (n, batch), in `steps` steps of size `h`."""

    @abstractmethod
    def adjoint(self, run: ForwardRun, cotangent: FloatArray, krylov: KrylovOptions) -> AdjointRun:
        """Differentiate the run: cotangent dL/dz_N, (n, batch), to the gradients of L.

        The transposed products are reads of the arrays that made the run, and the slopes are those it stored.
        """
