"""A chip that learns: every new set of weights is written to the same devices, every product is a read of them.

A device keeps its programming factor, and stays stuck if it is, from step to step. What a weight of 1 takes in siemens
is set once, from the weights that training starts with and the headroom of the design; a weight that grows beyond the
range of its devices stays at `g_max`, while the trainer's copy of it moves on. Read noise is never the same twice in
a training: it is drawn by the seed and the occasion, which is the minibatch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Literal, final, get_args

import numpy as np

from xbar_spice.checks import SEED, settle
from xbar_spice.cosim.gradients.circuit_field import TapedReads
from xbar_spice.cosim.gradients.true_gradient import end_reads, taped_field, weight_gradients, with_devices
from xbar_spice.cosim.run.programming import ends_on, expected_noise, field_on, in_digital_numbers, program_model
from xbar_spice.engines.base import Engine
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.pulse_update import WeightUpdate
from xbar_spice.linear.operator import FloatArray
from xbar_spice.mapping.analog_matrix import AnalogMatrix
from xbar_spice.mapping.design import Design
from xbar_spice.parts import ENGINES, UPDATES
from xbar_spice.solve.adjoint.discrete import Gradients
from xbar_spice.streams import Streams
from xbar_spice.train.processor import Processor, Programmed
from xbar_spice.weights import Model, end_gradients, from_written, named_gradients

__all__ = ["Chip", "GradientKind", "programmed_on"]

GradientKind = Literal["hardware", "hybrid", "true"]


@final
@dataclass(frozen=True)
class Chip(Processor):
    """One chip, for `train` and `tune`.

    Attributes:
        design: how its arrays are built.
        engine: who answers the reads.
        seed: from which its devices are drawn, and the noise of its reads on every occasion.
        gradient: where the transposed products come from: "hardware" reads the other side of the same arrays, "hybrid"
            (straight-through) multiplies with the weights as they were meant, "true" differentiates the forward reads
            through the circuit down to every device.
        update: how pulses move the weights, along potentiation and depression curves: a `PulseUpdate`, or a text such
            as "curves(file='mine.csv')" or "soft_bounds(step=0.002)"; exactly as the optimiser asks when left out.

    Raises:
        InvalidInputError: an unknown gradient, or the true one of a compensated design.

    Example:
        >>> model = Model([[1.0, -0.5]], [[0.5], [1.0]], h=0.25, steps=1)
        >>> Chip(Design(r_word=1.0, headroom=1.5)).prepared(model).weight_range
        (1.5, 1.5)
    """

    design: Design
    engine: str | Engine = "nodal"
    seed: int = 0
    gradient: GradientKind = "hardware"
    update: WeightUpdate | None = None

    def __post_init__(self) -> None:
        if self.update is not None:  # a text, too
            object.__setattr__(self, "update", UPDATES.given("update", self.update))
        settle(self, seed=SEED)
        if isinstance(self.engine, str):
            ENGINES.parsed(self.engine)
        if self.gradient not in get_args(GradientKind):
            allowed = ", ".join(map(repr, get_args(GradientKind)))
            raise InvalidInputError(f"gradient must be one of {allowed}, got {self.gradient!r}")
        if self.design.conductances is not None:
            raise InvalidInputError(
                f"measured conductances ({self.design.conductances}) do not follow a training; leave them out, and "
                "give the programming error of the chip"
            )
        if self.gradient == "true" and self.design.compensated:
            raise InvalidInputError(
                "the true gradient of a compensated design is not known; try gradient='hardware' or compensated=False"
            )

    @property
    def exact(self) -> bool:
        return self.update is None

    def prepared(self, model: Model) -> Model:
        """The model with the range of weights that the chip will hold, which one that comes with a range keeps."""
        if model.weight_range is not None:
            return model
        largest = [model.largest(name) or 1.0 for name in model.written]
        model = model.with_stages({name: self.prepared(stage) for name, stage in model.stages.items()})
        return replace(model, weight_range=tuple(self.design.headroom * one for one in largest))

    def rewritten(self, model: Model, wanted: Model, occasion: str = "") -> Model:
        """The weights that the pulses of `update` leave of those that were asked for.

        Raises:
            InvalidInputError: a weight of the model is no device of its own, such as a kernel's.
        """
        if self.update is None:
            return wanted
        if model.stages:
            raise InvalidInputError(
                f"pulses move the matrices of one field, and this model has stages in front of it, "
                f"{', '.join(model.stages)}; leave update out"
            )
        moved, streams = {}, Streams(self.seed)
        if len(model.written) != len(model.matrices):
            raise InvalidInputError(
                f"pulses move the entries of matrices, and the arrays of this model, {', '.join(model.written)}, hold "
                "others; leave update out, or 'fourier' and 'transpose' out of on_arrays"
            )
        for (name, W), largest in zip(model.matrices.items(), model.weight_range or (), strict=True):
            if name not in wanted.tensors or wanted.tensors[name].shape != W.shape:
                raise InvalidInputError(
                    f"pulses move the entries of matrices, and {name} of this model is made of others, such as a "
                    "kernel's taps; leave update out, or tune a model of plain matrices"
                )
            moved[name] = self.update.moved(
                W, wanted.tensors[name], largest, streams.cycle(name, f"pulses, {occasion}")
            )
        return wanted.with_tensors(moved)

    @contextmanager
    def programmed(self, model: Model, occasion: str = "") -> Iterator[Programmed]:
        """The model on the arrays.

        Args:
            model: with a range of weights.
            occasion: which draw of the read noise it sees.

        Raises:
            InvalidInputError: the model has no range of weights; `prepared` gives it one.
            SimulationError: the simulator behind the engine failed.
        """
        if model.weight_range is None:
            raise InvalidInputError(
                "a chip needs the range of weights that it holds, got a model without one; "
                "take Chip.prepared(model), or set Model.weight_range"
            )
        with ExitStack() as opened:
            model = in_digital_numbers(model, self.design, self.seed, occasion)
            matrices = program_model(model, self.design, self.engine, seed=self.seed, occasion=occasion)
            for matrix in matrices:
                opened.enter_context(matrix)
            yield programmed_on(model, matrices, self.gradient)


def programmed_on(model: Model, matrices: Sequence[AnalogMatrix], gradient: GradientKind) -> Programmed:
    """A model on arrays that hold its matrices.

    Args:
        model: whose field is read.
        matrices: its matrices on arrays, by the names that the model gives them.
        gradient: where the transposed products come from, see `Chip`.
    """

    def noise(z0: FloatArray) -> float:
        return expected_noise(model, matrices, model.started(z0)[np.newaxis])

    if gradient == "hardware":
        return Programmed(field_on(model, matrices), noise=noise, ends=ends_on(model, matrices))
    reads = [TapedReads(matrix, exact=gradient == "true") for matrix in matrices]
    field, ends = taped_field(model, reads)
    if gradient == "hybrid":
        return Programmed(field, noise=noise, ends=ends)

    def of_tensors(found: Gradients, sums: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        parts = with_devices(reads, {**found.parameters, **end_reads(ends, sums)})
        by_matrix = weight_gradients(matrices, parts.devices)
        written = {**parts.effective, **from_written(model, by_matrix)}
        return named_gradients(model, written) | end_gradients(model, by_matrix)

    return Programmed(field, of_tensors, noise, ends)
