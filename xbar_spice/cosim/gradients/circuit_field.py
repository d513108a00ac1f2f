"""The field of a model on arrays, with the exact derivative of its forward reads in place of transposed reads.

A read of W with the input x drives s x volts, s = v_read / max|x|, and returns y(x) = F(s x) / s, where F adds up the
signed sense currents of all arrays over the siemens of a unit weight. Hence

    dy/dx = F' + (F' x - y) (d ln s/dx),    d ln s/dx = -e_j / x_j at the largest entry j,

where F' is the transfer matrix of the small-signal arrays at the operating point. For linear cells F' x = y, and the
derivative is the effective matrix. All of it comes from the nodal engine, whichever engine answers the reads.
"""

from __future__ import annotations

from dataclasses import replace
from typing import final

import numpy as np

from xbar_spice.engines.nodal.engine import NodalEngine
from xbar_spice.engines.nodal.sensitivity import Sensitivity
from xbar_spice.engines.nodal.solution import solve_array
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.cells import Ohmic
from xbar_spice.hardware.crossbar import Crossbar
from xbar_spice.linear.operator import DenseOperator, FloatArray, LinearOperator
from xbar_spice.mapping.analog_matrix import AnalogMatrix
from xbar_spice.mapping.matrix import MappedMatrix
from xbar_spice.solve.fields.evaluation import Evaluation, Parameters
from xbar_spice.solve.fields.field import Field, ReluField

__all__ = ["CircuitField", "ReadDerivative", "Spliced", "hybrid_field"]


@final
class ReadDerivative:
    """The derivative of the forward reads of a programmed matrix with respect to input and devices.

    Args:
        mapped: the arrays of the matrix.

    Raises:
        InvalidInputError: cells or amplifiers whose derivative is not known: subcircuits, outputs that saturate.
    """

    def __init__(self, mapped: MappedMatrix) -> None:
        design = mapped.design
        if not (design.device.known and design.amplifier.linear):
            raise InvalidInputError(
                "the derivative of a read is known for cells with a law and for linear amplifiers, got "
                f"{design.device!r} and {design.amplifier!r}"
            )
        self._mapped = mapped
        self._arrays = (*mapped.arrays, *mapped.left_out)
        self._known: dict[bytes, FloatArray] = {}  # by operating point; a linear solve asks for each many times

    @property
    def linear(self) -> bool:
        """Whether the derivative with respect to the input is the same everywhere."""
        return self._mapped.design.device.linear

    def jacobian(self, x: FloatArray) -> FloatArray:
        """(m, n) dy/dx at the input x, (n,)."""
        key = b"" if self.linear else x.tobytes()
        if key not in self._known:
            self._known[key] = _transfer(self._mapped) if self.linear else self._linearised(x)
        return self._known[key]

    def pull(self, x: FloatArray, cotangent: FloatArray) -> FloatArray:
        """(n, batch) transposed product with dy/dx; x is (n, batch) and the cotangent (m, batch)."""
        if self.linear:
            return self.jacobian(x).T @ cotangent
        pairs = zip(x.T, cotangent.T, strict=True)
        return np.stack([self.jacobian(point).T @ w for point, w in pairs], axis=1)

    def device_gradient(self, x: FloatArray, cotangent: FloatArray) -> FloatArray:
        """The gradient of sum(cotangent * y(x)) with respect to all devices.

        Args:
            x: (n, batch) inputs.
            cotangent: (m, batch).

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
        for array, volts in zip(self._arrays, mapped.drives(x, "rows", self._arrays), strict=True):
            wanted = array.factor * array.cols.spread(weights)
            used = volts.any(axis=0) & wanted.any(axis=0)
            if used.any():
                change = Sensitivity(array.crossbar, volts[:, used]).vjp(wanted[:, used])
                total[array.devices] += change.conductance
        return total

    def devices_of(self, gradient: FloatArray) -> FloatArray:
        """The gradient of <gradient, W> with respect to all devices, W being the effective matrix of linear cells.

        Args:
            gradient: (..., m, n).

        Returns:
            (..., devices, n, m) per siemens, as `device_gradient`.
        """
        mapped = self._mapped
        outputs, inputs = mapped.shape
        wanted = gradient.reshape(-1, outputs, inputs) / mapped.siemens_per_weight
        total = np.zeros((len(wanted), *mapped.target.shape))
        for array in self._arrays:
            by_line = array.cols.spread(wanted.swapaxes(0, 1).reshape(outputs, -1))
            by_cell = array.rows.spread(by_line.reshape(-1, inputs).T).reshape(array.rows.index.size, -1, len(wanted))
            weights = array.factor * by_cell.transpose(2, 1, 0)
            reads = Sensitivity(array.crossbar, np.eye(array.inputs.size))
            total[(slice(None), *array.devices)] += reads.conductance_gradients(weights)
        return total.reshape(*gradient.shape[:-2], *mapped.target.shape)

    def _linearised(self, x: FloatArray) -> FloatArray:
        mapped, column = self._mapped, x[:, np.newaxis]
        drives = mapped.drives(column, "rows")
        pairs = zip(mapped.arrays, drives, strict=True)
        arrays = tuple(replace(array, crossbar=_small_signal(array.crossbar, volts[:, 0])) for array, volts in pairs)
        slope = _transfer(replace(mapped, arrays=arrays))
        largest = int(np.argmax(np.abs(x)))
        if x[largest] != 0:
            with NodalEngine().program_bank(mapped.crossbars) as bank:
                y = mapped.products(bank.read(drives, "rows"), column, "rows")[:, 0]
            slope[:, largest] -= (slope @ x - y) / x[largest]
        return slope


def _transfer(mapped: MappedMatrix) -> FloatArray:
    """(m, n) effective matrix of arrays with linear cells."""
    inputs = np.eye(mapped.shape[1])
    with NodalEngine().program_bank(mapped.crossbars) as bank:
        return mapped.products(bank.read(mapped.drives(inputs, "rows"), "rows"), inputs, "rows")


def _small_signal(crossbar: Crossbar, drive: FloatArray) -> Crossbar:
    """The array of the differential conductances at an operating point."""
    voltages = solve_array(crossbar, drive).cell_voltages if drive.any() else np.zeros(crossbar.shape)
    slopes = crossbar.device.differential_conductance(crossbar.conductance, voltages)
    return replace(crossbar, conductance=slopes, device=Ohmic())


@final
class CircuitField(Field):
    """B relu(A z) on arrays: evaluated by reads, differentiated by the exact derivative of those reads.

    The gradients of a run of this field are those of the analog loss. Its parameters are, besides "A" and "B" (a
    digital matrix added to the array's, which for linear cells is the effective matrix), the devices: "A devices" and
    "B devices", (devices, inputs, outputs) per siemens, for nonlinear cells; for linear ones they follow from "A" and
    "B".

    Args:
        A: programmed m x n matrix.
        B: programmed n x m matrix.
    """

    def __init__(self, A: AnalogMatrix, B: AnalogMatrix) -> None:
        self._reads = ReluField(A, B)
        self.of_A = ReadDerivative(A.mapped)
        self.of_B = ReadDerivative(B.mapped)

    @property
    def states(self) -> int:
        return self._reads.states

    @property
    def hidden_units(self) -> int:
        return self._reads.hidden_units

    def evaluate(self, z: FloatArray) -> Evaluation:
        return self._reads.evaluate(z)

    def jvp(self, evaluation: Evaluation, direction: FloatArray) -> FloatArray:
        return self._reads.jvp(evaluation, direction)

    def pull_hidden(self, evaluation: Evaluation, cotangent: FloatArray) -> FloatArray:
        return evaluation.slope * self.of_B.pull(evaluation.hidden, cotangent)

    def pull_state(self, evaluation: Evaluation, hidden_cotangent: FloatArray) -> FloatArray:
        return self.of_A.pull(evaluation.z, hidden_cotangent)

    def parameter_gradients(
        self, evaluation: Evaluation, cotangent: FloatArray, hidden_cotangent: FloatArray
    ) -> Parameters:
        matrices = self._reads.parameter_gradients(evaluation, cotangent, hidden_cotangent)
        if self.of_A.linear:
            return matrices
        return {
            **matrices,
            "A devices": self.of_A.device_gradient(evaluation.z, hidden_cotangent),
            "B devices": self.of_B.device_gradient(evaluation.hidden, cotangent),
        }

    def parameter_jvp(self, evaluation: Evaluation, direction: Parameters) -> FloatArray:
        return self._reads.parameter_jvp(evaluation, direction)


@final
class Spliced(LinearOperator):
    """Forward products of one operator, transposed products of another one."""

    def __init__(self, forward: LinearOperator, transposed: LinearOperator) -> None:
        self._by_mv, self._by_transpose = forward, transposed

    @property
    def shape(self) -> tuple[int, int]:
        return self._by_mv.shape

    def _forward(self, x: FloatArray) -> FloatArray:
        return self._by_mv.mv(x)

    def _transposed(self, y: FloatArray) -> FloatArray:
        return self._by_transpose.T.mv(y)


def hybrid_field(A: AnalogMatrix, B: AnalogMatrix) -> ReluField:
    """B relu(A z) read forwards from arrays and backwards from the weights as they were meant: straight-through."""
    return ReluField(*(Spliced(matrix, DenseOperator(matrix.weights)) for matrix in (A, B)))
