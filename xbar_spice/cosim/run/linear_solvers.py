"""What linear solvers of implicit steps need beside the arrays: a digital twin for chord, a circuit for feedback."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from xbar_spice.cosim.run.record import Circuit
from xbar_spice.engines.base import Engine
from xbar_spice.feedback import FeedbackLoop, SolveRecord
from xbar_spice.mapping.analog_matrix import AnalogMatrix
from xbar_spice.solve.fields.field import Field, ReluField
from xbar_spice.solve.linear_solvers.krylov import KrylovOptions

__all__ = ["analog_field", "iterative", "solves_record"]


@contextmanager
def analog_field(
    A: AnalogMatrix, B: AnalogMatrix, krylov: KrylovOptions, engine: str | Engine, solves: list[SolveRecord]
) -> Iterator[Field]:
    """B relu(A z) on arrays, ready for the linear solver.

    Args:
        A: programmed m x n matrix.
        B: programmed n x m matrix.
        krylov: which names the linear solver.
        engine: who answers for the circuit of "feedback".
        solves: gets a record of each of its solves.
    """
    field = ReluField(A, B)
    if krylov.method == "chord":
        field.twin = ReluField(A.weights, B.weights)
    if krylov.method != "feedback":
        yield field
        return
    with FeedbackLoop(A, B, engine=engine, trace=solves) as loop:
        field.circuit = loop
        yield field


def iterative(krylov: KrylovOptions) -> KrylovOptions:
    """The same for fields that have neither twin nor circuit: GMRES in place of chord and feedback."""
    return replace(krylov, method="gmres") if krylov.method in ("chord", "feedback") else krylov


def solves_record(solves: Sequence[SolveRecord]) -> Circuit:
    """What the circuit's solves were like: their number by direction, worst errors, slowest mode."""
    directions = ("forward", "transposed")
    return Circuit(
        {name: sum(solve.batch for solve in solves if solve.direction == name) for name in directions},
        worst_error=max(solve.error for solve in solves),
        worst_digital_error=max(solve.digital_error for solve in solves),
        slowest_time_constant=max(solve.time_constant for solve in solves),
    )
