"""The field of a model on arrays, with the exact derivative of its forward reads in place of transposed reads.

A read of W with the input x drives s x volts, s = v_read / max|x|, and returns y(x) = F(s x) / s, where F adds up the
signed sense currents of all arrays over the siemens of a unit weight. Hence

    dy/dx = F' + (F' x - y) (d ln s/dx),    d ln s/dx = -e_j / x_j at the largest entry j,

where F' is the transfer matrix of the small-signal arrays at the operating point. For linear cells F' x = y, and the
derivative is the effective matrix. All of it comes from the nodal engine, whichever engine answers the reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import cast, final

import numpy as np

from xbar_spice.engines.nodal.engine import NodalEngine
from xbar_spice.engines.nodal.sensitivity import Sensitivity
from xbar_spice.engines.nodal.solution import solve_array
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.cells import Ohmic
from xbar_spice.hardware.crossbar import Crossbar, Side, other
from xbar_spice.linear.operator import FloatArray, LinearOperator
from xbar_spice.mapping.analog_matrix import AnalogMatrix
from xbar_spice.mapping.matrix import MappedMatrix
from xbar_spice.mapping.merged import summed_tiles
from xbar_spice.mapping.tiled import TiledDevices
from xbar_spice.solve.fields.evaluation import READS, Evaluation, Parameters, Tie
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.fields.split import SplitField
from xbar_spice.solve.integrators.layers import Layers

__all__ = ["CircuitField", "ReadDerivative", "TapedReads", "circuit_field"]


@final
class ReadDerivative:
    """The derivative of the reads of a programmed matrix with respect to input and devices.

    Args:
        mapped: the arrays of the matrix, (m, n).
        side: the driven side: "rows" of forward reads, whose inputs are (n, batch) and products (m, batch); "cols" of
            transposed reads, whose inputs are (m, batch) and products (n, batch).

    Raises:
        InvalidInputError: cells or amplifiers whose derivative is not known: subcircuits, outputs that saturate.
    """

    def __init__(self, mapped: MappedMatrix, side: Side = "rows") -> None:
        design = mapped.design
        if not (design.device.known and design.amplifier.linear):
            raise InvalidInputError(
                "the derivative of a read is known for cells with a law and for linear amplifiers, got "
                f"{design.device!r} and {design.amplifier!r}"
            )
        self._mapped, self._side, self._sensed = mapped, side, other(side)
        self._arrays = (*mapped.arrays, *mapped.left_out)
        self._known: dict[bytes, FloatArray] = {}  # by operating point; a linear solve asks for each many times

    @property
    def linear(self) -> bool:
        """Whether the derivative with respect to the input is the same everywhere."""
        return self._mapped.design.device.linear

    def jacobian(self, x: FloatArray) -> FloatArray:
        """(products, inputs) dy/dx at the input x, (inputs,)."""
        key = b"" if self.linear else x.tobytes()
        if key not in self._known:
            self._known[key] = _transfer(self._mapped, self._side) if self.linear else self._linearised(x)
        return self._known[key]

    def pull(self, x: FloatArray, cotangent: FloatArray) -> FloatArray:
        """(inputs, batch) transposed product with dy/dx; x is (inputs, batch), the cotangent (products, batch)."""
        if self.linear:
            return self.jacobian(x).T @ cotangent
        pairs = zip(x.T, cotangent.T, strict=True)
        return np.stack([self.jacobian(point).T @ w for point, w in pairs], axis=1)

    def outer(self, cotangent: FloatArray, x: FloatArray) -> FloatArray:
        """What the gradients of reads add up to, from x, (inputs, batch), and the cotangent, (products, batch).

        Of linear cells the gradient with respect to the effective matrix, of a matrix that is kept by tile what of it
        lies on the tiles, one after the other; of other cells `device_gradient`.
        """
        if not self.linear:
            return self.device_gradient(x, cotangent)
        if not isinstance(self._mapped.target, TiledDevices):
            return cotangent @ x.T
        tiles = self._tiles(self._mapped.target)
        return np.concatenate([(cotangent[outputs] @ x[inputs].T).ravel() for inputs, outputs in tiles])

    def _tiles(self, devices: TiledDevices) -> list[tuple[slice, slice]]:
        """Driven and sensed lines of every tile."""
        found = [
            (slice(top, top + block.shape[-2]), slice(left, left + block.shape[-1]))
            for (top, left), block in devices.blocks.items()
        ]
        return found if self._side == "rows" else [(outputs, inputs) for inputs, outputs in found]

    def device_gradient(self, x: FloatArray, cotangent: FloatArray) -> FloatArray:
        """The gradient of sum(cotangent * y(x)) with respect to all devices.

        Args:
            x: (inputs, batch).
            cotangent: (products, batch).

        Returns:
            (devices, n, m) per siemens: the devices of the weight from input j to output i at [:, j, i]; in tiles that
            `skip_empty` left out, of the tile as it would be built.
        """
        mapped = self._mapped
        if mapped.design.converters.serial and not self.linear:
            raise InvalidInputError(
                f"bit-serial reads of {mapped.design.device!r} cells have no derivative; try input='dac', or Ohmic()"
            )
        total = np.zeros_like(mapped.target)
        weights = cotangent / mapped.siemens_per_weight / mapped.volts_per_unit(x)
        for array, volts in zip(self._arrays, mapped.drives(x, self._side, self._arrays), strict=True):
            wanted = array.factor * array.lines(self._sensed).spread(weights)
            used = volts.any(axis=0) & wanted.any(axis=0)
            if used.any():
                change = Sensitivity(array.crossbar, volts[:, used], self._side).vjp(wanted[:, used])
                total[array.devices] += change.conductance
        return total

    def devices_of(self, gradient: FloatArray) -> FloatArray:
        """The gradient of <gradient, W> with respect to all devices, W being the effective matrix of linear cells.

        Args:
            gradient: (..., m, n); of transposed reads (..., n, m).

        Returns:
            (..., devices, n, m) per siemens, as `device_gradient`.
        """
        mapped = self._mapped
        if isinstance(mapped.target, TiledDevices):
            return cast(FloatArray, self._devices_of_tiles(gradient, mapped.target))
        outputs, inputs = mapped.shape if self._side == "rows" else mapped.shape[::-1]
        wanted = gradient.reshape(-1, outputs, inputs) / mapped.siemens_per_weight
        total = np.zeros((len(wanted), *mapped.target.shape))
        for array in self._arrays:
            driven, sensed = array.lines(self._side), array.lines(self._sensed)
            by_line = sensed.spread(wanted.swapaxes(0, 1).reshape(outputs, -1))
            by_cell = driven.spread(by_line.reshape(-1, inputs).T).reshape(driven.index.size, -1, len(wanted))
            weights = array.factor * by_cell.transpose(2, 1, 0)
            reads = Sensitivity(array.crossbar, np.eye(driven.index.size), self._side)
            total[(slice(None), *array.devices)] += reads.conductance_gradients(weights)
        return total.reshape(*gradient.shape[:-2], *mapped.target.shape)

    def _devices_of_tiles(self, gradient: FloatArray, target: TiledDevices) -> TiledDevices:
        """The same of what lies on the tiles, (..., entries), in the order of `outer`."""
        lead, mapped = gradient.shape[:-1], self._mapped
        flat = gradient.reshape(-1, gradient.shape[-1]) / mapped.siemens_per_weight
        blocks = {place: np.zeros((len(flat), *block.shape)) for place, block in target.blocks.items()}
        lines, start = self._tiles(target), 0
        wanted: dict[tuple[int, int], FloatArray] = {}
        for place, (driven, sensed) in zip(target.blocks, lines, strict=True):
            shape = len(flat), sensed.stop - sensed.start, driven.stop - driven.start
            wanted[place] = flat[:, start : start + shape[1] * shape[2]].reshape(shape)
            start += shape[1] * shape[2]
        for array in mapped.arrays:
            place = target.place_of(array.inputs, array.outputs)
            driven, sensed = array.lines(self._side).local, array.lines(self._sensed).local
            of_tile = wanted[place]
            by_line = sensed.spread(of_tile.swapaxes(0, 1).reshape(of_tile.shape[1], -1))
            by_cell = driven.spread(by_line.reshape(-1, of_tile.shape[2]).T).reshape(driven.index.size, -1, len(flat))
            reads = Sensitivity(array.crossbar, np.eye(driven.index.size), self._side)
            device, inputs, outputs = array.devices
            found = reads.conductance_gradients(array.factor * by_cell.transpose(2, 1, 0))
            blocks[place][:, device, inputs - place[0], outputs - place[1]] += found
        shaped = {place: block.reshape(*lead, *block.shape[1:]) for place, block in blocks.items()}
        return TiledDevices(target.shape, target.size, shaped)

    def _linearised(self, x: FloatArray) -> FloatArray:
        mapped, column = self._mapped, x[:, np.newaxis]
        drives = mapped.drives(column, self._side)
        pairs = zip(mapped.arrays, drives, strict=True)
        arrays = tuple(
            replace(array, crossbar=_small_signal(array.crossbar, volts[:, 0], self._side)) for array, volts in pairs
        )
        slope = _transfer(replace(mapped, arrays=arrays), self._side)
        largest = int(np.argmax(np.abs(x)))
        if x[largest] != 0:
            with NodalEngine().program_bank(mapped.crossbars) as bank:
                y = mapped.products(bank.read(drives, self._side), column, self._side)[:, 0]
            slope[:, largest] -= (slope @ x - y) / x[largest]
        return slope


def _transfer(mapped: MappedMatrix, side: Side) -> FloatArray:
    """(products, inputs) effective matrix of arrays with linear cells; without its zeros, where it is kept by tile."""
    if isinstance(mapped.target, TiledDevices):
        with NodalEngine().program_bank(mapped.crossbars) as bank:
            transfers = bank.transfers(side)
        if transfers is not None:
            whole = summed_tiles(mapped, transfers) / mapped.siemens_per_weight
            return cast(FloatArray, whole if side == "rows" else whole.T)
    inputs = np.eye(mapped.shape[1] if side == "rows" else mapped.shape[0])
    with NodalEngine().program_bank(mapped.crossbars) as bank:
        return mapped.products(bank.read(mapped.drives(inputs, side), side), inputs, side)


def _small_signal(crossbar: Crossbar, drive: FloatArray, side: Side) -> Crossbar:
    """The array of the differential conductances at an operating point."""
    voltages = solve_array(crossbar, drive, side).cell_voltages if drive.any() else np.zeros(crossbar.shape)
    slopes = crossbar.device.differential_conductance(crossbar.conductance, voltages)
    return replace(crossbar, conductance=slopes, device=Ohmic())


@final
class MeantDerivative:
    """The weights as they were meant, in place of the derivative of the reads of one side: straight-through."""

    linear = True

    def __init__(self, weights: FloatArray, side: Side) -> None:
        self._weights = weights if side == "rows" else weights.T

    def pull(self, x: FloatArray, cotangent: FloatArray) -> FloatArray:
        """(inputs, batch) product with the transposed weights, wherever the read was."""
        return self._weights.T @ cotangent


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
                ReadDerivative(self.matrix.mapped, side) if self.exact else MeantDerivative(self.matrix.weights, side)
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
class CircuitField(Field):
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
        self._left: list[int] = []  # those of them that `pull_state` pulls through

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
