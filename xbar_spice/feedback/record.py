"""What is recorded of a solve by a feedback circuit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

__all__ = ["SolveRecord"]


@final
@dataclass(frozen=True, slots=True)
class SolveRecord:
    """One solve of a batch by the circuit.

    Attributes:
        phase: what it served: krylov, adjoint; empty outside a solver.
        step: time step, or None.
        newton: Newton iteration, or None.
        krylov: iteration of the linear solve, or None.
        direction: "forward" or "transposed".
        batch: number of right-hand sides.
        error: |x - exact| / |exact| of the worst sample, exact being the solution with the arrays' own reads.
        digital_error: the same, exact being the solution with the wanted weights.
        time_constant: seconds, 1 / the slowest rate at which one of the samples settles; NaN if that is not checked.
        seconds: wall time of the solve.
    """

    phase: str
    step: int | None
    newton: int | None
    krylov: int | None
    direction: Literal["forward", "transposed"]
    batch: int
    error: float
    digital_error: float
    time_constant: float
    seconds: float
