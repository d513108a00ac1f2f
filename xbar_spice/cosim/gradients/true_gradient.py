"""The true gradient: of the analog loss, with respect to devices, programmed weights and kernels.

    dL/dG = the sum over all forward reads of (dI/dG)^T dL/dI,    dL/dw = k (dG+/dT+ dL/dG+)     for w > 0,
                                                                         -k (dG-/dT- dL/dG-)     for w < 0,

through the circuit sensitivities of the arrays. k, the siemens of a unit weight, is held fixed: the scale of a chip is
set once. A device that was programmed to the target T ends up at a conductance G; dG/dT is its programming factor, 0
if it is stuck. A weight of exactly 0 gets the mean of its two one-sided derivatives, in a tile that `skip_empty` left
out, too: they are those of the tile that such a weight would build. Clipping to `g_max` is passed straight through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, final

import numpy as np
from scipy.sparse import coo_array

from xbar_spice.cosim.gradients.circuit_field import TapedReads, circuit_field
from xbar_spice.cosim.gradients.read_derivative import ReadDerivative
from xbar_spice.cosim.run.cosimulation import Problem, Run, SolverOptions, solve_model
from xbar_spice.cosim.run.programming import ends_on, field_on
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.crossbar import SIDES
from xbar_spice.linear.convolution import Convolution
from xbar_spice.linear.operator import FloatArray, LinearOperator
from xbar_spice.mapping.analog_matrix import AnalogMatrix
from xbar_spice.mapping.matrix import MappedMatrix
from xbar_spice.mapping.tiled import TiledDevices, by_tile, weight_blocks
from xbar_spice.solve.fields.contributions import By, Split, split_axes, summed
from xbar_spice.solve.fields.evaluation import READS, Parameters
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.weights import Model
from xbar_spice.weights.end import Read

__all__ = [
    "CircuitGradients",
    "CircuitParts",
    "circuit_gradients",
    "device_run",
    "end_reads",
    "taped_field",
    "weight_gradient",
    "weight_gradients",
    "with_devices",
]


@final
@dataclass(frozen=True, eq=False)
class CircuitParts:
    """The gradients of `CircuitGradients`, split by step or by sample along a leading axis."""

    effective: Mapping[str, FloatArray]
    devices: Mapping[str, FloatArray]


@final
@dataclass(frozen=True, eq=False)
class CircuitGradients:
    """Gradients of the analog loss.

    Attributes:
        loss: the analog loss.
        z0: (n, samples).
        effective: those of the field, as its adjoint names them: of a digital matrix added to what the arrays do; for
            linear cells, of the effective matrices.
        devices: dL/dG of each matrix, (devices, inputs, outputs) per siemens; where `skip_empty` left a tile out, those
            of the tile as it would be built.
        parts: by "step" and "sample", as far as asked for, the same two with a leading axis.
        parameters: all of the run by the names of the model's tensors, split as asked for.
        convergence: of the run, as `Run.convergence` gives it.
    """

    loss: float
    z0: FloatArray
    effective: Mapping[str, FloatArray]
    devices: Mapping[str, FloatArray]
    parts: Mapping[By, CircuitParts]
    parameters: Mapping[str, FloatArray]
    convergence: Mapping[str, Any]


def circuit_gradients(
    problem: Problem, matrices: Sequence[AnalogMatrix], solver: SolverOptions | None = None, *, by: Split = ()
) -> CircuitGradients:
    """Solve a model on programmed arrays and differentiate the analog loss exactly.

    No transposed read is made but those that the field itself is made of: the derivatives of its reads come from the
    nodal engine. For linear cells that takes one forward solve per input and one adjoint solve per output of an array,
    whatever the parts of the gradient; for nonlinear cells the solves of the small-signal arrays at every operating
    point of the run.

    Args:
        problem: model, samples and loss.
        matrices: the programmed matrices of the model, as `program_model` returns them.
        solver: tolerances.
        by: what the gradients are split by in addition, as for `gradients`.

    Raises:
        SimulationError: the simulator behind the arrays failed.
        ConvergenceError: an array could not be solved.
        InvalidInputError: `by` is unknown.
    """
    axes, reads = split_axes(by), [TapedReads(matrix) for matrix in matrices]
    run, devices = device_run(problem, reads, (solver or SolverOptions()).iterative, axes)
    found = dict(run.gradients.parameters)
    effective = {name: summed(value, axes) for name, value in found.items() if not name.startswith(READS)}
    parts = {
        axis: with_devices(reads, {name: summed(value, axes, but=axis) for name, value in found.items()})
        for axis in axes
    }
    return CircuitGradients(run.loss, run.gradients.z0, effective, devices, parts, run.parameters, run.convergence)


def device_run(
    problem: Problem, reads: Sequence[TapedReads], options: SolverOptions, axes: tuple[By, ...] = ()
) -> tuple[Run, Mapping[str, FloatArray]]:
    """A run on arrays whose derivatives are exact, and dL/dG of each matrix, summed over what the run is split by."""
    field, ends = taped_field(problem.model, reads)
    run = solve_model(problem, field, options, axes, ends)
    whole = {name: summed(value, axes) for name, value in run.gradients.parameters.items()}
    return run, with_devices(reads, whole | end_reads(ends, run.sums)).devices


def taped_field(model: Model, reads: Sequence[TapedReads]) -> tuple[Field | Layers, dict[str, Read]]:
    """The field of a model over the reads of its matrices, and its encoder and classifier, as far as they are read."""
    taped, matrices = {one.matrix.name: one for one in reads}, [one.matrix for one in reads]
    field = field_on(model, matrices, lambda matrix: taped[matrix.name])
    ends = ends_on(model, matrices, lambda matrix: taped[matrix.name])
    for name, end in ends.items():
        if isinstance(end, TapedReads):
            ends[name] = _End(end)
        elif isinstance(end, Field | Layers):
            ends[name] = circuit_field(end, [one for of, one in taped.items() if of.startswith(f"{name}.")])
    return circuit_field(field, [taped[name] for name in model.written if name in taped]), ends


@final
class _End(LinearOperator):
    """A matrix of encoder or classifier: forward reads, and backwards the derivative at the last of them."""

    def __init__(self, reads: TapedReads) -> None:
        self.derivative = cast(ReadDerivative, reads.derivative("rows"))
        self.matrix = reads.matrix
        self.driven = np.zeros((0, 0))

    @property
    def shape(self) -> tuple[int, int]:
        return self.matrix.shape

    def _forward(self, x: FloatArray) -> FloatArray:
        self.driven = x
        return self.matrix.mv(x)

    def _transposed(self, y: FloatArray) -> FloatArray:
        return self.derivative.pull(self.driven, y)


def end_reads(ends: Mapping[str, Read], sums: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """The gradients with respect to the reads of encoder and classifier, named as those of a field's matrices.

    Args:
        ends: As `taped_field` returns them, after a run.
        sums: The cotangents of what they made in it, by name; and what the fields of stages say of their reads.
    """
    found = {name: value for name, value in sums.items() if name.startswith(READS)}
    for name, end in ends.items():
        if isinstance(end, _End):
            found[f"{READS}{name} rows"] = end.derivative.outer(sums[name], end.driven)
    return found


def with_devices(reads: Sequence[TapedReads], parameters: Parameters) -> CircuitParts:
    """The gradients with respect to devices beside those of the field's parameters, whatever their leading axes."""
    devices: dict[str, FloatArray] = {}
    for one in reads:
        name = one.matrix.name
        for side in SIDES:
            key = f"{READS}{name} {side}"
            of_reads = [value for found, value in parameters.items() if found == key or found.startswith(f"{key}[")]
            if not of_reads:
                continue
            gradient = of_reads[0] if len(of_reads) == 1 else np.sum(of_reads, axis=0)
            derivative = cast(ReadDerivative, one.derivative(side))
            found = derivative.devices_of(gradient) if derivative.linear else gradient
            devices[name] = devices[name] + found if name in devices else found
    effective = {name: value for name, value in parameters.items() if not name.startswith(READS)}
    return CircuitParts(effective, devices)


def weight_gradients(matrices: Sequence[AnalogMatrix], devices: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """dL/dW of each matrix, by name, with respect to the weights that were written to a chip.

    Args:
        matrices: the programmed matrices of the model.
        devices: dL/dG of each of them.

    Raises:
        InvalidInputError: the arrays are compensated.
    """
    return {
        matrix.name: weight_gradient(matrix.weights, matrix.mapped, devices[matrix.name])
        if (tiles := by_tile(devices[matrix.name])) is None
        else _kernel_gradient(matrix, tiles)
        for matrix in matrices
        if matrix.name in devices
    }


def _kernel_gradient(matrix: AnalogMatrix, devices: TiledDevices) -> FloatArray:
    """dL/d(kernel), (..., *kernel.shape), of a large convolution that was mapped tile by tile."""
    mapped, operator = matrix.mapped, cast(Convolution, matrix.digital)
    lead = next(iter(devices.blocks.values())).shape[:-3]
    found = np.zeros((int(np.prod(lead)), *operator.kernel.shape))
    weights = dict(weight_blocks(operator, devices.size))
    for number in range(len(found)):
        rows, cols, values = [], [], []
        for (top, left), block in devices.blocks.items():
            one = block.reshape(-1, *block.shape[-3:])[number]
            slopes = (mapped.design.mapping.slopes(weights[top, left]) * mapped.siemens_per_weight * one).sum(axis=0)
            inputs, outputs = np.indices(slopes.shape)
            rows.append((left + outputs).ravel())
            cols.append((top + inputs).ravel())
            values.append(slopes.ravel())
        places = np.concatenate(rows), np.concatenate(cols)
        found[number] = operator.sparse_gradient(
            coo_array((np.concatenate(values), places), shape=operator.shape).tocsr()
        )
    return found.reshape(*lead, *operator.kernel.shape)


def weight_gradient(weights: FloatArray, mapped: MappedMatrix, devices: FloatArray) -> FloatArray:
    """dL/dW from the gradient with respect to the devices that W was programmed into.

    Args:
        weights: W, (m, n).
        mapped: its arrays.
        devices: (..., devices, n, m) dL/dG.

    Returns:
        (..., m, n).

    Raises:
        InvalidInputError: the arrays are compensated: a device then depends on all weights of its array.
    """
    if mapped.design.compensated:
        raise InvalidInputError(
            "the true gradient of a compensated design is not known, since every device depends on all weights of its "
            "array; use the hardware gradient, which is near it for compensated arrays, or compensated=False"
        )
    return mapped.weight_gradient(weights, devices)
