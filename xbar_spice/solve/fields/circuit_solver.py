"""What a circuit must offer that solves the linear systems of implicit steps by itself."""

from __future__ import annotations

from typing import Protocol

from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.fields.evaluation import BoolArray

__all__ = ["CircuitSolver"]


class CircuitSolver(Protocol):
    """Solves (I - c B D A) x = r, and the transposed system, in one step for a batch of samples.

    The solution is as good as the circuit: Newton's method takes it as it comes and measures by its next residual, the
    adjoint measures what is left of each right-hand side and has that solved, too.
    """

    def solve(
        self, slopes: BoolArray | FloatArray, c: float, rhs: FloatArray, *, transposed: bool = False
    ) -> FloatArray:
        """The solution for each sample.

        Args:
            slopes: D of each sample, (m, batch), as the field's evaluation stored it.
            c: Step size times the coefficient of the implicit term.
            rhs: r, (n, batch).
            transposed: Whether to solve (I - c A^T D B^T) x = r.

        Returns:
            x, (n, batch).
        """
