"""What one evaluation of a field leaves behind for its derivatives, and how its matrices depend on parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.linear.operator import FloatArray

__all__ = ["READS", "BoolArray", "Evaluation", "Form", "IndexArray", "Parameters", "Tie"]

READS = "@"
"""With which the names of gradients with respect to reads of arrays begin; no tensor has such a name."""

BoolArray = NDArray[np.bool_]
IndexArray = NDArray[np.intp]


@final
@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one evaluation of a field leaves behind: all that its derivatives need, so that nothing is read again.

    The slopes are stored, never derived again: a second, noisy read of s could fall on the other side of a kink.

    Attributes:
        z: State, (n, batch).
        value: f(z), (n, batch).
        slope: Derivative of the activation at each hidden unit, (m, batch); bits for relu.
        hidden: Activation of each hidden unit, (m, batch).
        inputs: What drove each read, (lines, batch), where a field keeps that, in the order of the reads; of reads of
            several vectors of each sample (lines, vectors of each sample * batch), the samples side by side.
    """

    z: FloatArray
    value: FloatArray
    slope: BoolArray | FloatArray
    hidden: FloatArray
    inputs: tuple[FloatArray, ...] = ()

    @property
    def batch(self) -> int:
        """Number of samples."""
        return int(self.z.shape[1])

    def columns(self, samples: IndexArray) -> Evaluation:
        """The evaluation of some samples, given by distinct ascending indices."""
        if samples.size == self.batch:
            return self
        return Evaluation(
            self.z[:, samples],
            self.value[:, samples],
            self.slope[:, samples],
            self.hidden[:, samples],
            tuple(_of_samples(x, self.batch, samples) for x in self.inputs),
        )

    def with_columns(self, samples: IndexArray, other: Evaluation) -> Evaluation:
        """This evaluation with the given samples replaced by the columns of another one."""
        if samples.size == self.batch:
            return other
        if not samples.size:
            return self
        inputs = tuple(x.copy() for x in self.inputs)
        merged = Evaluation(self.z.copy(), self.value.copy(), self.slope.copy(), self.hidden.copy(), inputs)
        for x, read in zip(inputs, other.inputs, strict=True):
            _of_reads(x, self.batch)[..., samples] = _of_reads(read, samples.size)
        merged.z[:, samples], merged.value[:, samples] = other.z, other.value
        merged.slope[:, samples], merged.hidden[:, samples] = other.slope, other.hidden
        return merged


def _of_reads(x: FloatArray, batch: int) -> FloatArray:
    """(lines, vectors of each sample, batch) what drove a read, as a view."""
    return x.reshape(len(x), -1, batch)


def _of_samples(x: FloatArray, batch: int, samples: IndexArray) -> FloatArray:
    found = _of_reads(x, batch)[..., samples]
    return found.reshape(len(x), found.shape[1] * samples.size)


Form = Literal["difference", "transpose"]
"""What stands on arrays in place of one matrix K that is read from both sides: K - K^T, or K^T beside K."""

Parameters = Mapping[str, FloatArray]
"""Arrays by the name of a parameter."""


def _same(values: Parameters) -> Parameters:
    return values


@final
@dataclass(frozen=True)
class Tie:
    """How the matrices of a field depend on its parameters: a linear map, and the map back for gradients.

    The two are adjoint: sum <collect(g), d> = sum <g, spread(d)> for gradients g of matrices and directions d.

    Attributes:
        spread: Changes of the parameters to changes of the matrices.
        collect: Gradients with respect to the matrices to those with respect to the parameters.
    """

    spread: Callable[[Parameters], Parameters] = _same
    collect: Callable[[Parameters], Parameters] = _same
