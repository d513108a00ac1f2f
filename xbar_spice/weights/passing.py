"""A batch on its way through the steps of an encoder or a classifier, and the way back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.adjoint.discrete import Gradients
from xbar_spice.solve.integrators.integration import Trajectory
from xbar_spice.solve.integrators.method import SolveOptions

__all__ = ["Function", "Passed", "Pulled", "Step", "Went", "passed"]


class Step(ABC):
    """One part of the way of a batch, and the way back."""

    @abstractmethod
    def forward(self, x: FloatArray, options: SolveOptions) -> tuple[FloatArray, Trajectory | None]:
        """(outputs, batch) of x, (inputs, batch), and the run that made them, if one did.

        Args:
            x: What goes in.
            options: How a run solves its equations.
        """

    @abstractmethod
    def back(self, went: Went, cotangent: FloatArray, *, to_inputs: bool = True) -> Pulled:
        """The way back.

        Args:
            went: What went in and what came out of `forward`.
            cotangent: Of what came out, (outputs, batch).
            to_inputs: Whether that of what went in is wanted, too.
        """

    trained: bool = False
    """Whether there may be something in it that is trained."""

    @abstractmethod
    def __str__(self) -> str:
        """What it is, in words."""


class Function(Step):
    """One function of a batch, and its derivative."""

    @abstractmethod
    def value(self, x: FloatArray) -> FloatArray:
        """(outputs, batch) of x, (inputs, batch)."""

    @abstractmethod
    def pull(self, x: FloatArray, y: FloatArray, cotangent: FloatArray) -> FloatArray:
        """The cotangent of x from that of y = value(x)."""

    def gradients(self, x: FloatArray, cotangent: FloatArray) -> dict[str, FloatArray]:
        """The gradients of sum(cotangent * value(x)) with respect to what is trained, by name."""
        return {}

    read: str = ""
    """The name of what multiplies in it; empty where nothing does."""

    def forward(self, x: FloatArray, options: SolveOptions) -> tuple[FloatArray, None]:
        return self.value(x), None

    def back(self, went: Went, cotangent: FloatArray, *, to_inputs: bool = True) -> Pulled:
        pulled = self.pull(went.x, went.y, cotangent) if to_inputs else np.zeros_like(went.x)
        sums = {self.read: cotangent} if self.read else {}
        return Pulled(pulled, self.gradients(went.x, cotangent), sums)


@final
@dataclass(frozen=True, eq=False)
class Went:
    """A batch before and after a step.

    Attributes:
        x: What went in, (inputs, batch).
        y: What came out, (outputs, batch).
        run: The run that made it, of a step that is one.
    """

    x: FloatArray
    y: FloatArray
    run: Trajectory | None = None


@final
@dataclass(frozen=True, eq=False)
class Passed:
    """A batch on its way through some steps.

    Attributes:
        steps: One after the other.
        inputs: What went into the first of them, (inputs, batch).
        ways: Through each of them.
    """

    steps: Sequence[Step]
    inputs: FloatArray
    ways: Sequence[Went]

    @property
    def value(self) -> FloatArray:
        """(outputs, batch) what came out of the last step."""
        return self.ways[-1].y if self.ways else self.inputs

    @property
    def runs(self) -> tuple[Trajectory, ...]:
        """Those of the neural ODEs among the steps."""
        return tuple(went.run for went in self.ways if went.run is not None)

    def pull(self, cotangent: FloatArray, *, to_inputs: bool = True) -> Pulled:
        """The way back.

        Args:
            cotangent: Of what came out, (outputs, batch).
            to_inputs: Whether that of what went in is wanted, too: it takes a product more with the first weight.
        """
        gradients: dict[str, FloatArray] = {}
        sums: dict[str, FloatArray] = {}
        runs: tuple[Gradients, ...] = ()
        trained = [k for k, step in enumerate(self.steps) if step.trained]
        first = 0 if to_inputs or not trained else trained[0]
        for k in reversed(range(first, len(self.steps))):
            pulled = self.steps[k].back(self.ways[k], cotangent, to_inputs=k > first or to_inputs)
            gradients, sums, runs = {**pulled.gradients, **gradients}, {**sums, **pulled.sums}, (*pulled.runs, *runs)
            cotangent = pulled.inputs
        return Pulled(cotangent, gradients, sums, runs)


@final
@dataclass(frozen=True, eq=False)
class Pulled:
    """What came back.

    Attributes:
        inputs: The cotangent of what went in, (inputs, batch), where it was asked for.
        gradients: Of everything that is trained, by name.
        sums: The cotangent of each W x + bias, (outputs, batch), by the name of the weight; of a field that says more
            of its reads, what it says, by the names that it has for it.
        runs: What the adjoints of the neural ODEs among the steps returned, the first one in front.
    """

    inputs: FloatArray
    gradients: Mapping[str, FloatArray]
    sums: Mapping[str, FloatArray]
    runs: tuple[Gradients, ...] = ()


def passed(steps: Sequence[Step], x: FloatArray, options: SolveOptions | None = None) -> Passed:
    """Send a batch through some steps.

    Args:
        steps: One after the other.
        x: (inputs, batch).
        options: How runs solve their equations; as `integrate` does by default.
    """
    solved, ways, inputs = options or SolveOptions(), [], x
    for step in steps:
        y, run = step.forward(x, solved)
        ways.append(Went(x, y, run))
        x = y
    return Passed(steps, inputs, ways)
