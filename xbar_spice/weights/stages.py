"""Neural ODEs that follow each other in one model, with projections and pooling between them.

The last of them is the field of the model; those in front of it are layers of its encoder. So a network of several
resolutions is encoded, solved, pooled and solved again, and its classifier sees the states of the last stage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar, Self, final

import numpy as np

from xbar_spice.errors import ConvergenceError, WeightsError
from xbar_spice.linear.operator import FloatArray, LinearOperator
from xbar_spice.solve.adjoint.discrete import gradients
from xbar_spice.solve.fields.evaluation import READS
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.integrators.integration import Trajectory, integrate
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.solve.integrators.method import SolveOptions
from xbar_spice.weights.chains import Chain
from xbar_spice.weights.end import End, Read, named_below
from xbar_spice.weights.fields import formula_of
from xbar_spice.weights.gradients import from_written, named_gradients
from xbar_spice.weights.model import Model
from xbar_spice.weights.passing import Pulled, Step, Went

__all__ = ["Stage", "staged"]


@final
@dataclass(frozen=True)
class Evolved(Step):
    """The state at the end of the run of a neural ODE, from what goes in.

    Attributes:
        name: What stands in front of "field." in the names of gradients.
        model: Whose run it is.
        field: Its field, on whatever operators.
    """

    name: str
    model: Model
    field: Field | Layers

    trained = True

    def __str__(self) -> str:
        model = self.model
        return f"{model.steps} steps of {model.h:g} by {model.method} of dz/dt = {formula_of(model.field)}"

    def forward(self, x: FloatArray, options: SolveOptions) -> tuple[FloatArray, Trajectory]:
        model = self.model
        run = integrate(
            self.field,
            model.started(x),
            model.method,
            **model.times,
            newton=options.newton,
            krylov=options.krylov,
            adaptive=options.adaptive,
        )
        final = model.ended(run.z)[-1]
        if not np.isfinite(final).all():
            lost = np.flatnonzero(~np.isfinite(final).all(axis=0))
            raise ConvergenceError(
                f"the stage {self.name.removesuffix('.') or 'in front'} does not stay finite for {lost.size} of "
                f"{final.shape[1]} samples, so that the stage behind it has nothing to begin with: take smaller steps "
                f"or an implicit method, got {model.method} with h = {model.h:g}"
            )
        return final, run

    def back(self, went: Went, cotangent: FloatArray, *, to_inputs: bool = True) -> Pulled:
        assert went.run is not None  # `forward` has made it
        found = gradients(went.run, self.model.started(cotangent))
        named = named_gradients(self.model, found.parameters)
        return Pulled(
            self.model.ended(found.z0),
            {f"{self.name}field.{name}": value for name, value in named.items()},
            {name: value for name, value in found.parameters.items() if name.startswith(READS)},
            (found,),
        )


@final
@dataclass(frozen=True, eq=False)
class Stage(End):
    """A neural ODE as a layer of an encoder: what comes out is its state at the end of its run.

    Its matrices live on arrays wherever those of the model's field do, under names such as "encoder.1.field.K".

    Args:
        model: Field, time grid and method; without encoder and classifier, which are layers of their own. Names in
            `frozen` belong to the model that the stage is in.

    Raises:
        WeightsError: It has an encoder, a classifier, or names that are frozen.

    Example:
        >>> from xbar_spice.solve.fields.layer_field import LayerField
        >>> grown = Stage(Model(field=LayerField([[1.0]], activation="relu"), h=1.0, steps=2, method="forward_euler"))
        >>> grown.encoded([[1.0]])
        array([[4.]])
    """

    model: Model

    kind = "stage"
    _read_by: ClassVar[Field | Layers | None] = None

    def __post_init__(self) -> None:
        model = self.model
        if not isinstance(model, Model):
            raise WeightsError(f"model: expected a Model, of which a stage is made, got {model!r:.80}")
        for name in ("encoder", "classifier", "frozen"):
            if getattr(model, name):
                raise WeightsError(f"the model of a stage has no {name} of its own: see staged, which puts it in place")

    def steps(self, name: str = "") -> tuple[Step, ...]:
        return (Evolved(name, self.model, self.model.deployed if self._read_by is None else self._read_by),)

    @property
    def tensors(self) -> dict[str, FloatArray]:
        return {f"field.{name}": value for name, value in self.model.tensors.items()}

    def replaced(self, values: Mapping[str, Any]) -> Self:
        if unknown := sorted(values.keys() - self.tensors.keys()):
            raise WeightsError(f"tensor {unknown[0]!r}: a stage has {', '.join(self.tensors)}")
        return replace(self, model=self.model.with_tensors(named_below(values, "field"))) if values else self

    @property
    def operators(self) -> dict[str, LinearOperator]:
        return {f"field.{name}": operator for name, operator in self.model.written.items()}

    def on_arrays(self, kind: str, said: object) -> dict[str, LinearOperator]:
        return self.operators

    def reading(self, operators: Mapping[str, Read]) -> Self:
        made = copy(self)
        object.__setattr__(made, "_read_by", operators.get("field", self._read_by))
        return made

    def from_written(self, gradients: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        found = named_gradients(self.model, from_written(self.model, named_below(gradients, "field")))
        return {f"field.{name}": value for name, value in found.items()}

    @property
    def stages(self) -> dict[str, Model]:
        return {"field": self.model}

    def with_stages(self, stages: Mapping[str, Model]) -> Self:
        return replace(self, model=stages.get("field", self.model))

    @property
    def inputs(self) -> int:
        return self.model.states

    @property
    def outputs(self) -> int:
        return self.model.states

    def takes(self, length: int) -> bool:
        return length == self.inputs


def staged(models: Sequence[Model], **others: Any) -> Model:
    """The model of several that follow each other, each with what stands in front of it as its encoder.

    Args:
        models: One after the other; the last one may have a classifier.
        **others: What is said of the whole, as for `Model`, such as `on_arrays` and `frozen`, whose names are those of
            the whole model; the rest is as the last one has it.

    Returns:
        The last model, with all in front of it in its encoder: a `Stage` for each of the others. Their tensors and
        arrays are called "encoder.1.field.K" and so on, by the number of the layer.

    Raises:
        WeightsError: They do not fit together, or one of those in front has a classifier or frozen names.

    Example:
        >>> from xbar_spice.solve.fields.layer_field import LayerField
        >>> from xbar_spice.weights import Pool
        >>> fine = Model(field=LayerField(np.eye(4)), h=0.5, steps=2, method="rk4")
        >>> coarse = Model(field=LayerField([[1.0]]), h=0.5, steps=2, method="rk4", encoder=Pool("mean", (2, 2)))
        >>> list(staged([fine, coarse]).tensors)
        ['K', 'encoder.0.field.K']
    """
    given: Any = models
    if not isinstance(given, Sequence) or len(given) < 2 or not all(isinstance(one, Model) for one in given):
        raise WeightsError(f"staged takes two models at least, one after the other, got {models!r:.80}")
    layers: list[End] = []
    for number, model in enumerate(models):
        encoder = model.encoder
        layers += encoder.layers if isinstance(encoder, Chain) else [] if encoder is None else [encoder]
        if number == len(models) - 1:
            break
        if model.classifier is not None or set(model.on_arrays) & {"encoder", "classifier", "pooling"}:
            raise WeightsError(
                f"stage {number} has a classifier, or says that more than its field is on arrays: give the "
                "classifier to the last one, and on_arrays to staged"
            )
        layers.append(Stage(replace(model, encoder=None, source="", trained_on="")))
    for number, (first, second) in enumerate(pairwise(models)):
        if second.inputs != first.states:
            raise WeightsError(
                f"stage {number} ends with states of length {first.states}, and stage {number + 1} takes "
                f"{second.inputs}: give it an encoder in between, such as Pool or Encoder"
            )
    return replace(models[-1], encoder=Chain(layers), **others)
