"""A field on arrays, with the derivative of its reads, exact or as they were meant, in place of transposed reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Self, cast, final

import numpy as np

from xbar_spice.cosim.gradients.read_derivative import ReadDerivative
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.crossbar import Side, other
from xbar_spice.linear.operator import FloatArray, LinearOperator
from xbar_spice.mapping.analog_matrix import AnalogMatrix
from xbar_spice.solve.density.jacobian import ReadField, of_matrices
from xbar_spice.solve.fields.evaluation import READS, Evaluation, Parameters, Tie
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.fields.split import SplitField
from xbar_spice.solve.integrators.layers import Layers

__all__ = ["CircuitField", "TapedReads", "circuit_field"]


@final
class MeantDerivative:
    """The weights as they were meant, in place of the derivative of the reads of one side: straight-through."""

    linear = True

    def __init__(self, digital: LinearOperator, side: Side) -> None:
        self._back = digital.T if side == "rows" else digital

    def pull(self, x: FloatArray, cotangent: FloatArray) -> FloatArray:
        """(inputs, batch) product with the transposed weights, wherever the read was."""
        return self._back.mv(cotangent)


@final
class TapedReads(LinearOperator):
    """A programmed matrix whose reads are put on a tape, and through which cotangents are pulled afterwards.

    While a field is evaluated, products are reads. While a cotangent is pulled back, the product of the other direction
    is that with the derivative of the read that it belongs to: the last one of its direction that was not pulled yet.

    Args:
        matrix: the programmed matrix.
        exact: whether the derivative is that of the circuit, or of the weights as they were meant.
    """

    def __init__(self, matrix: AnalogMatrix, *, exact: bool = True) -> None:
        self.matrix, self.exact = matrix, exact
        self._derivatives: dict[Side, ReadDerivative | MeantDerivative] = {}
        self._tape: Tape | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.matrix.shape

    def derivative(self, side: Side) -> ReadDerivative | MeantDerivative:
        """That of the reads of a side."""
        if side not in self._derivatives:
            self._derivatives[side] = (
                ReadDerivative(self.matrix.mapped, side) if self.exact else MeantDerivative(self.matrix.digital, side)
            )
        return self._derivatives[side]

    def _forward(self, x: FloatArray) -> FloatArray:
        return self._product(x, "rows")

    def _transposed(self, y: FloatArray) -> FloatArray:
        return self._product(y, "cols")

    def _product(self, vectors: FloatArray, side: Side) -> FloatArray:
        tape = self._tape
        if tape is not None and tape.pulling:
            return tape.pulled(self, other(side), vectors)
        if tape is not None:
            tape.driven(self, side, vectors)
        return self.matrix.mv(vectors) if side == "rows" else self.matrix.T.mv(vectors)

    @property
    def T(self) -> LinearOperator:  # noqa: N802
        return _OtherSide(self)

    @property
    def keeps_kernel(self) -> bool:
        return self.matrix.keeps_kernel

    def outer(self, cotangent: FloatArray, x: FloatArray) -> FloatArray:
        return self.matrix.outer(cotangent, x)

    def scaled_mv(self, factor: float, x: FloatArray) -> FloatArray:
        return _scaled_mv(self, self._tape, factor, x)

    @contextmanager
    def on(self, tape: Tape) -> Iterator[None]:
        """Reads and pulls of this matrix go over a tape."""
        self._tape, before = tape, self._tape
        try:
            yield
        finally:
            self._tape = before


@final
class _OtherSide(LinearOperator):
    """The transpose of a matrix whose reads are put on a tape."""

    def __init__(self, reads: TapedReads) -> None:
        self._reads = reads

    @property
    def shape(self) -> tuple[int, int]:
        return self._reads.shape[::-1]

    @property
    def T(self) -> LinearOperator:  # noqa: N802
        return self._reads

    @property
    def keeps_kernel(self) -> bool:
        return self._reads.keeps_kernel

    def outer(self, cotangent: FloatArray, x: FloatArray) -> FloatArray:
        return self._reads.outer(x, cotangent) if self.keeps_kernel else cotangent @ x.T

    def scaled_mv(self, factor: float, x: FloatArray) -> FloatArray:
        return _scaled_mv(self, self._reads._tape, factor, x)

    def _forward(self, x: FloatArray) -> FloatArray:
        return self._reads._transposed(x)

    def _transposed(self, y: FloatArray) -> FloatArray:
        return self._reads._forward(y)


def _scaled_mv(operator: LinearOperator, tape: Tape | None, factor: float, x: FloatArray) -> FloatArray:
    """Factor W x; what scales the product of a read scales the cotangent before it is pulled through the read."""
    pulling = tape is not None and tape.pulling
    return operator.mv(factor * x) if pulling else factor * operator.mv(x)


Key = tuple[TapedReads, Side]


@final
class Tape:
    """The reads of one evaluation of a field, or the pulls of a cotangent through them.

    Args:
        reads: the matrix and the driven side of each read, when they are pulled; none yet while they are made.
        inputs: what drove each of them.
        left: which of them a cotangent has not been pulled through yet; all when left out.
    """

    def __init__(
        self, reads: Sequence[Key] = (), inputs: Sequence[FloatArray] = (), left: Sequence[int] | None = None
    ) -> None:
        self.pulling = bool(reads)
        self.reads, self.inputs = list(reads), list(inputs)
        self.left = list(range(len(reads)) if left is None else left)
        self.cotangents: list[tuple[Key, FloatArray, FloatArray]] = []

    def driven(self, matrix: TapedReads, side: Side, vectors: FloatArray) -> None:
        """A read is about to be made."""
        self.reads.append((matrix, side))
        self.inputs.append(vectors)

    def pulled(self, matrix: TapedReads, side: Side, cotangent: FloatArray) -> FloatArray:
        """The cotangent of what drove a read, from that of its product."""
        places = [place for place in self.left if self.reads[place][0] is matrix and self.reads[place][1] == side]
        if not places:
            raise InvalidInputError(
                f"the field pulls a cotangent through a read of {matrix.matrix.name!r} that its evaluation did not "
                "make; the true gradient needs a field whose pull_hidden and pull_state use, for each product of "
                "`evaluate`, the product of the other direction once"
            )
        place = places[-1]
        self.left.remove(place)
        self.cotangents.append((self.reads[place], self.inputs[place], cotangent))
        return matrix.derivative(side).pull(self.inputs[place], cotangent)


@final
class CircuitField(ReadField):
    """A field on arrays: evaluated by reads, differentiated by the derivative of those reads.

    With the exact derivative the gradients of a run of this field are those of the analog loss. Its parameters are,
    besides those of the field (a digital matrix added to the array's, which for linear cells is the effective matrix),
    the reads of each matrix, by `READS` and its name and side: for linear cells the gradient with respect to the
    effective matrix of that side, which devices follow from; else that with respect to the devices, (devices, inputs,
    outputs) per siemens.

    Args:
        field: over `TapedReads`.
        matrices: these.
    """

    def __init__(self, field: Field, matrices: Sequence[TapedReads]) -> None:
        self._field, self._matrices = field, tuple(matrices)
        self._reads: list[Key] = []  # of an evaluation, the same ones each time
        self._left: list[int] | None = None  # those of them that `pull_state` pulls through

    @property
    def inner(self) -> Field:
        return self._field

    def replaced(self, values: Mapping[str, LinearOperator | FloatArray]) -> Self:
        return type(self)(self._field.replaced(values), self._matrices)

    @property
    def states(self) -> int:
        return self._field.states

    @property
    def outputs(self) -> int:
        return self._field.outputs

    @property
    def hidden_units(self) -> int:
        return self._field.hidden_units

    @property
    def kept_inputs(self) -> int:  # type: ignore[override]
        return len(self._reads)

    @property
    def tie(self) -> Tie:
        return Tie(self._field.tie.spread, lambda found: _collected(self._field.tie, found))

    def evaluate(self, z: FloatArray) -> Evaluation:
        tape = Tape()
        with self._over(tape):
            found = self._field.evaluate(z)
        self._reads = tape.reads
        return replace(found, inputs=tuple(tape.inputs))

    def jvp(self, evaluation: Evaluation, direction: FloatArray) -> FloatArray:
        return self._field.jvp(evaluation, direction)

    def pull_hidden(self, evaluation: Evaluation, cotangent: FloatArray) -> FloatArray:
        tape = Tape(self._reads, evaluation.inputs)
        with self._over(tape):
            found = self._field.pull_hidden(evaluation, cotangent)
        self._left = tape.left
        return found

    def pull_state(self, evaluation: Evaluation, hidden_cotangent: FloatArray) -> FloatArray:
        if self._left is None:  # nobody has pulled through the others yet, which takes them out
            self.pull_hidden(evaluation, np.zeros_like(evaluation.value))
        with self._over(Tape(self._reads, evaluation.inputs, self._left)):
            return self._field.pull_state(evaluation, hidden_cotangent)

    def parameter_gradients(
        self, evaluation: Evaluation, cotangent: FloatArray, hidden_cotangent: FloatArray
    ) -> Parameters:
        found = dict(self._field.parameter_gradients(evaluation, cotangent, hidden_cotangent))
        if not all(matrix.exact for matrix in self._matrices):
            return found
        tape = Tape(self._reads, evaluation.inputs)
        with self._over(tape):
            self._field.pull_hidden(evaluation, cotangent)
            self._field.pull_state(evaluation, hidden_cotangent)
        for (matrix, side), x, w in tape.cotangents:
            derivative = cast(ReadDerivative, matrix.derivative(side))
            key = f"{READS}{matrix.matrix.name} {side}"
            gradient = derivative.outer(w, x)
            found[key] = found[key] + gradient if key in found else gradient
        return found

    def factor_gradients(self, left: FloatArray, right: FloatArray) -> Parameters:
        found = dict(of_matrices(self._field, left, right))
        for name, operator in self._field.operators.items():
            if not isinstance(operator, TapedReads):
                raise InvalidInputError(
                    f"the true gradient of a density needs matrices that are read as they are, and {name} is made of "
                    "others; leave 'difference' out of on_arrays"
                )
            if operator.exact:
                derivative = cast(ReadDerivative, operator.derivative("rows"))
                key = f"{READS}{operator.matrix.name} rows"
                found[key] = derivative.outer(found[name], np.eye(operator.shape[1]))
        return found

    def parameter_jvp(self, evaluation: Evaluation, direction: Parameters) -> FloatArray:
        return self._field.parameter_jvp(evaluation, direction)

    @contextmanager
    def _over(self, tape: Tape) -> Iterator[None]:
        with ExitStack() as opened:
            for matrix in self._matrices:
                opened.enter_context(matrix.on(tape))
            yield


def _collected(tie: Tie, found: Parameters) -> Parameters:
    """The parameters' gradients of a tie, with those of reads beside them, which both parts of a split field have."""
    reads: dict[str, FloatArray] = {}
    for name, value in found.items():
        if READS in name:
            key = name[name.index(READS) :]
            reads[key] = reads[key] + value if key in reads else value
    return {**tie.collect({name: value for name, value in found.items() if READS not in name}), **reads}


def circuit_field(field: Field | Layers, matrices: Sequence[TapedReads]) -> Field | Layers:
    """A field over `TapedReads` whose derivatives are those of the reads; of layers and split fields part by part."""
    if isinstance(field, Layers):
        return Layers([one for one in (circuit_field(one, matrices) for one in field.fields) if isinstance(one, Field)])
    if not isinstance(field, SplitField):
        return CircuitField(field, matrices)
    velocity, force = CircuitField(field.velocity, matrices), CircuitField(field.force, matrices)
    return SplitField(velocity, force, tie=Tie(field.tie.spread, lambda found: _collected(field.tie, found)))
