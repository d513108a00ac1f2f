"""The linear solver "feedback": a circuit of arrays and op-amps solves, the arrays' reads measure what is left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

from xbar_spice.checks import Real
from xbar_spice.errors import InvalidInputError
from xbar_spice.feedback.answer import SolveRecord, solves_record
from xbar_spice.feedback.loop import FeedbackLoop
from xbar_spice.feedback.opamp import OpAmp
from xbar_spice.linear.operator import FloatArray
from xbar_spice.mapping.analog_matrix import AnalogMatrix
from xbar_spice.solve.fields.evaluation import Evaluation, IndexArray
from xbar_spice.solve.fields.field import ActivationField, Field
from xbar_spice.solve.linear_solvers.cycle import Product
from xbar_spice.solve.linear_solvers.gmres import Gmres
from xbar_spice.solve.linear_solvers.richardson import DampedCorrections

__all__ = ["Feedback"]

_OPAMP = OpAmp()


@final
@dataclass(frozen=True)
class Feedback(DampedCorrections):
    """The chord iteration with the circuit `field.circuit` in place of a digital twin.

    Attributes:
        opamp: Every op-amp of the circuit that `prepared` makes.
        r_switch: Ohm of each of its gates.
    """

    opamp: OpAmp = _OPAMP
    r_switch: float = 100.0

    def __post_init__(self) -> None:
        super().__post_init__()
        Real("ohm", least=0)("r_switch", self.r_switch)

    def inverse(self, field: Field, at: Evaluation, c: float, *, transposed: bool) -> Product:
        """X to what the circuit makes of it."""
        circuit = field.circuit
        if circuit is None:
            raise InvalidInputError(
                "the linear solver feedback needs the circuit that solves: set field.circuit to the FeedbackLoop of A "
                "and B, or choose gmres"
            )

        def apply(x: FloatArray, samples: IndexArray) -> FloatArray:
            return circuit.solve(at.slope[:, samples], c, x, transposed=transposed)

        return apply

    @contextmanager
    def prepared(self, field: Field, digital: Field, engine: Any, report: dict[str, Any]) -> Iterator[None]:
        """The loop of the field's arrays, answered by the engine; the report gets what its solves were like."""
        if not isinstance(field, ActivationField):
            raise InvalidInputError(f"the linear solver feedback needs a field B sig(A z), got {type(field).__name__}")
        A, B = field.A, field.B
        if not (isinstance(A, AnalogMatrix) and isinstance(B, AnalogMatrix)):
            raise InvalidInputError("the linear solver feedback needs A and B on arrays; choose gmres for others")
        if A.shared is not None or B.shared is not None:
            raise InvalidInputError(
                "the linear solver feedback needs arrays that stay as they are written; take rewritten=False, or "
                "choose gmres"
            )
        solves: list[SolveRecord] = []
        with FeedbackLoop(A, B, opamp=self.opamp, r_switch=self.r_switch, engine=engine, trace=solves) as loop:
            field.circuit = loop
            yield
        if solves:
            report["feedback"] = solves_record(solves)

    def without_circuit(self) -> Gmres:
        return Gmres(self.rtol, self.max_iterations, self.warm_start)
