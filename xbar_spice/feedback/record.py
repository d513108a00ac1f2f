"""What is recorded of a solve by a feedback circuit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

__all__ = ["SolveRecord", "solves_record"]


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


def solves_record(solves: Sequence[SolveRecord]) -> dict[str, Any]:
    """What the circuit's solves were like, as plain values: their number by direction, worst errors, slowest mode."""
    directions = ("forward", "transposed")
    return {
        "solves": {name: sum(solve.batch for solve in solves if solve.direction == name) for name in directions},
        "worst_error": max(solve.error for solve in solves),
        "worst_digital_error": max(solve.digital_error for solve in solves),
        "slowest_time_constant": max(solve.time_constant for solve in solves),
    }
