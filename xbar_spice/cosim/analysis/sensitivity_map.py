"""Which devices' variation costs the loss most: the loss expanded around the chip as it was wanted, device by device.

With G the conductances that a chip ends up with, T the wanted ones and d = G - T,

    L(G) = L(T) + sum_i g_i d_i + 1/2 sum_ij H_ij d_i d_j + ...,    g = dL/dG,  H = d2L/dG2,

devices being drawn independently, with the mean d_i and the standard deviation s_i of the design's variation:

    standard deviation of L, to first order     (sum_i (g_i s_i)^2)^(1/2)
    expected increase of L, to second order     sum_i g_i d_i + 1/2 sum_i H_ii s_i^2 + 1/2 d^T H d

H is taken as Gauss-Newton's: sums of products of the derivatives of the final states, without the curvature of the
states themselves. All derivatives are those through the circuit, down to each device.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Literal, final

import numpy as np

from xbar_spice.checks import checked
from xbar_spice.cosim.analysis.chip_loss import allowed_options
from xbar_spice.cosim.gradients.circuit_field import TapedReads
from xbar_spice.cosim.gradients.true_gradient import device_run, with_devices
from xbar_spice.cosim.run.convergence import Convergence, failed_runs, warn_of_failures
from xbar_spice.cosim.run.cosimulation import Problem, SolverOptions
from xbar_spice.cosim.run.programming import program_model
from xbar_spice.engines.base import Engine
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.variation import Variation
from xbar_spice.linear.operator import FloatArray
from xbar_spice.linear.threads import one_thread
from xbar_spice.mapping.analog_matrix import AnalogMatrix
from xbar_spice.mapping.design import Design
from xbar_spice.mapping.matrix import MappedMatrix
from xbar_spice.solve.adjoint.discrete import gradients
from xbar_spice.solve.fields.evaluation import BoolArray

__all__ = ["DeviceMap", "RankedDevice", "SensitivityMap", "sensitivity_map"]


@final
@dataclass(frozen=True)
class RankedDevice:
    """One device and what its variation does.

    Attributes:
        matrix: Name of the matrix.
        array: name of the array.
        row: word line of the array, from 0; the driver is at its left end.
        col: bit line of the array, from 0; the sense terminal is at its bottom end.
        weight: of which the device is a half.
        sign: 1 for a plus device, -1 for a minus device.
        conductance: wanted, siemens.
        loss_std: standard deviation of the loss if this device alone varied.
        loss_increase: expected increase of the loss if this device alone varied.
    """

    matrix: str
    array: str
    row: int
    col: int
    weight: float
    sign: int
    conductance: float
    loss_std: float
    loss_increase: float


@final
@dataclass(frozen=True, eq=False)
class DeviceMap:
    """The devices of one matrix; every array is (2, inputs, outputs), plus and minus devices.

    Attributes:
        weights: W, (outputs, inputs).
        mapped: its arrays, without variation.
        conductance: as wanted, siemens.
        mean: expected change of the conductance by variation, siemens.
        std: standard deviation of the conductance, siemens.
        slope: dL/dG, per siemens.
        curvature: the diagonal of the Gauss-Newton Hessian, per siemens squared.
        present: which devices there are: tiles that `skip_empty` left out have none, and all is 0 in their place.
    """

    weights: FloatArray
    mapped: MappedMatrix
    conductance: FloatArray
    mean: FloatArray
    std: FloatArray
    slope: FloatArray
    curvature: FloatArray
    present: BoolArray

    @property
    def loss_std(self) -> FloatArray:
        """Standard deviation of the loss by each device alone, to first order."""
        return np.abs(self.slope) * self.std

    @property
    def loss_increase(self) -> FloatArray:
        """Expected increase of the loss by each device alone, to second order."""
        return self.slope * self.mean + 0.5 * self.curvature * (self.std**2 + self.mean**2)

    def stuck(self, conductance: float) -> FloatArray:
        """Increase of the loss if one device is stuck at this conductance (siemens), to second order."""
        change = conductance - self.conductance
        return np.asarray(self.slope * change + 0.5 * self.curvature * change**2)

    def by_array(self, values: FloatArray) -> dict[str, FloatArray]:
        """(2, inputs, outputs) values as they lie on the chip: (rows, cols) by the name of the array."""
        return {array.name: values[array.devices] for array in self.mapped.arrays}


@final
@dataclass(frozen=True, eq=False)
class SensitivityMap:
    """What the variation of each device does to the loss.

    Attributes:
        loss: of the chip as it was wanted.
        matrices: the devices of each matrix.
        drift: expected increase of the loss by the means alone: what stuck devices do on average, all together.
        convergence: by the name of the run ("chip") or of the derivatives of the states ("states 0", ...), whether it
            converged and for which samples not.
    """

    loss: float
    matrices: Mapping[str, DeviceMap]
    drift: float
    convergence: Convergence

    @property
    def converged(self) -> bool:
        """Whether the run and all derivatives did."""
        return not failed_runs(self.convergence)

    @property
    def devices(self) -> int:
        """Number of devices on the chip."""
        return sum(int(part.present.sum()) for part in self.matrices.values())

    @property
    def loss_std(self) -> float:
        """Standard deviation of the loss over chips, to first order."""
        return float(np.sqrt(sum((part.loss_std**2).sum() for part in self.matrices.values())))

    @property
    def loss_increase(self) -> float:
        """Expected increase of the loss over chips, to second order."""
        return self.drift + sum(float((0.5 * part.curvature * part.std**2).sum()) for part in self.matrices.values())

    def variance_share(self, part: float) -> float:
        """Share of the variance of the loss that the most sensitive devices hold, `part` (0 to 1) of all devices."""
        if not 0 <= part <= 1:
            raise InvalidInputError(f"part must be between 0 and 1, got {part}")
        shares = self.variance_shares
        return float(shares[: round(part * shares.size)].sum())

    @property
    def variance_shares(self) -> FloatArray:
        """(devices,) shares of the variance of the loss, the largest first."""
        variances = np.concatenate([part.loss_std[part.present] ** 2 for part in self.matrices.values()])
        return np.asarray(np.sort(variances)[::-1] / max(variances.sum(), np.finfo(float).tiny))

    def variance_by_place(self, parts: int) -> FloatArray:
        """(parts, parts) shares of the variance of the loss by the place on an array, summed over all arrays.

        Row 0 has the word lines that are farthest from the sense terminals, column 0 the bit lines that are nearest to
        the drivers.
        """
        total = np.zeros((parts, parts))
        for part in self.matrices.values():
            for values in part.by_array(part.loss_std**2).values():
                for row, words in enumerate(np.array_split(values, parts, axis=0)):
                    total[row] += [cells.sum() for cells in np.array_split(words, parts, axis=1)]
        return total / max(float(total.sum()), np.finfo(float).tiny)

    def ranked(self, count: int, by: Literal["loss_std", "loss_increase"] = "loss_std") -> list[RankedDevice]:
        """The devices that cost most, the first one most of all."""
        found: list[RankedDevice] = []
        for name, part in self.matrices.items():
            for array in part.mapped.arrays:
                values = getattr(part, by)[array.devices]
                for flat in np.argsort(values, axis=None)[::-1][:count]:
                    row, col = np.unravel_index(flat, values.shape)
                    found.append(_ranked(name, part, array.name, int(row), int(col)))
        return sorted(found, key=lambda device: -float(getattr(device, by)))[:count]


@checked()
def sensitivity_map(
    problem: Problem, design: Design, *, engine: str | Engine = "nodal", solver: SolverOptions | None = None
) -> SensitivityMap:
    """Find what the variation of each device does to the analog loss.

    A run that did not converge is named in the map, and a `ConvergenceWarning` is given.

    Args:
        problem: model, samples and loss.
        design: how the arrays are built; its variation is what devices do, its wires are those of the chip.
        engine: who answers the reads; derivatives always come from the nodal engine.
        solver: tolerances.

    Raises:
        SimulationError: the simulator behind the engine failed.
        EngineUnavailableError: the engine needs something that this machine lacks.
    """
    if design.rewritten:
        raise InvalidInputError(
            "a sensitivity map takes every device for one of its own, and those of rewritten arrays are the same in all"
            " steps; take rewritten=False"
        )
    if design.cycle.random or design.after or design.conductances is not None:
        raise InvalidInputError(
            "a sensitivity map is one of the variation alone; leave cycle, drift and measured conductances out of the "
            "design"
        )
    options = (solver or SolverOptions()).iterative
    with one_thread(), ExitStack() as opened:
        for matrix in (matrices := program_model(problem.model, replace(design, variation=Variation()), engine)):
            opened.enter_context(matrix)
        reads = [TapedReads(matrix) for matrix in matrices]
        run, slopes = device_run(problem, reads, allowed_options(options, problem, matrices))
        roots = problem.objective.curvature(run.final)
        pulled = [
            gradients(run.trajectory, problem.model.started(root), by="sample", nonconvergence="ignore")
            for root in roots
        ]
        stacked = {name: np.stack([part.parameters[name] for part in pulled]) for name in pulled[0].parameters}
        states = with_devices(reads, stacked).devices  # (k, samples, devices, inputs, outputs)
    convergence = {"chip": run.convergence} | {
        f"states {number}": _adjoint_convergence(part.converged) for number, part in enumerate(pulled)
    }
    warn_of_failures("sensitivity map", convergence)
    maps = {
        matrix.name: _device_map(matrix, design, slopes[matrix.name], states[matrix.name])
        for matrix in matrices
        if matrix.name in problem.model.written
    }
    means = {name: part.mean for name, part in maps.items()}
    moved = np.sum([np.tensordot(states[name], mean, axes=3) for name, mean in means.items()], axis=0)
    drift = sum(float(np.vdot(slopes[name], mean)) for name, mean in means.items()) + 0.5 * float(np.vdot(moved, moved))
    return SensitivityMap(run.loss, maps, drift, convergence)


def _adjoint_convergence(converged: BoolArray) -> dict[str, Any]:
    """Of the (steps, samples) linear solves of one adjoint run, as `Run.convergence` has it."""
    return {"converged": bool(converged.all()), "failed_samples": np.flatnonzero(~converged.all(axis=0)).tolist()}


def _device_map(matrix: AnalogMatrix, design: Design, slope: FloatArray, states: FloatArray) -> DeviceMap:
    wanted = np.zeros_like(slope)
    present = matrix.mapped.present
    for array in matrix.mapped.arrays:
        wanted[array.devices] = array.crossbar.conductance
    mean, std = design.variation.moments(wanted, design.g_min, design.g_max)
    # Derivatives reach into tiles that were left out, as if they had been built; there is nothing that varies there.
    change, spread, slope, curvature = (
        np.where(present, values, 0.0) for values in (mean - wanted, std, slope, (states**2).sum(axis=(0, 1)))
    )
    return DeviceMap(matrix.weights, matrix.mapped, wanted, change, spread, slope, curvature, present)


def _ranked(name: str, part: DeviceMap, array_name: str, row: int, col: int) -> RankedDevice:
    array = next(array for array in part.mapped.arrays if array.name == array_name)
    device = np.broadcast_to(array.device, array.crossbar.shape)[row, col]
    place = int(device), int(array.inputs[row]), int(array.outputs[col])
    return RankedDevice(
        matrix=name,
        array=array_name,
        row=row,
        col=col,
        weight=float(part.weights[place[2], place[1]]),
        sign=int(array.signs[col]),
        conductance=float(part.conductance[place]),
        loss_std=float(part.loss_std[place]),
        loss_increase=float(part.loss_increase[place]),
    )
