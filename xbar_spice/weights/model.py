"""A trained neural ODE as a frozen value: named matrices and how they act, the time grid, and what stands around it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self, final

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import Text
from xbar_spice.errors import WeightsError
from xbar_spice.linear.convolution import Convolution
from xbar_spice.linear.operator import DenseOperator, FloatArray, LinearOperator
from xbar_spice.solve.fields.field import Field, ReluField
from xbar_spice.solve.fields.timed import TimedField
from xbar_spice.solve.integrators.layers import Layers, fields_of
from xbar_spice.weights.chains import Chain, as_encoder, require_fitting
from xbar_spice.weights.end import End, named_below
from xbar_spice.weights.ends import Classifier, Encoder
from xbar_spice.weights.fields import kernel_name
from xbar_spice.weights.kernels import Kernels
from xbar_spice.weights.tensors import brief, names_of, range_of, real, step_count, step_length
from xbar_spice.weights.written import FORMS, written_field, written_matrices

__all__ = ["Model", "matrix_of"]

_OTHERS = ("encoder", "classifier", "pooling", *FORMS)
_LAYER = re.compile(r"(.+)\[(\d+)\]")


@final
@dataclass(frozen=True, eq=False, init=False)
class Model:
    """A trained neural ODE, solved from 0 to `h * steps`: dz/dt = B relu(A z), or any other field.

    With h < 0, or a grid that falls, it is solved back in time; times at which a loss looks are counted along the run.

    Args:
        A: (m, n), of a field B relu(A z); or in place of the A of `field`.
        B: (n, m), likewise.
        h: Step length, not 0.
        steps: Number of steps, >= 1.
        method: Name of the integrator.
        kernels: The kernels that A and B are built from; None for dense matrices.
        classifier: What makes classes of final states; None if there is none.
        source: Where the weights come from, in words.
        weight_range: The largest |weight| of each matrix, in their order, that the chip holds which they are meant for;
            None leaves it to the weights.
        trained_on: Name of the data set whose samples are its states, such as "digits"; empty if nobody has said so.
        field: The right-hand side over digital matrices, in place of A and B: a `Field`, one of the user's own too, or
            `Layers` of fields, for weights that change in time.
        encoder: What makes initial states of inputs; None if the inputs are the states. Neural ODEs may be layers of
            it, each a `Stage`, and a `Pool`; see `staged`.
        grid: (steps + 1,) growing, or falling, times from 0, in place of h and steps.
        on_arrays: What lives on arrays beside the matrices of the field: "bias" (one more word line, driven by a
            constant), "encoder", "classifier"; the rest is digital. "difference" has an array of K - K^T in place of
            one of K that is read from both sides, "transpose" one of K^T beside it. "fourier" has the Fourier form of
            each circular convolution, "pooling" an array for each `Pool` of means.
        frozen: Names of parameters that training leaves as they are.

    Raises:
        WeightsError: A shape, dtype or value that does not fit.

    Example:
        >>> Model([[1.0, 0.0]], [[0.0], [1.0]], h=0.25, steps=4).states
        2
        >>> from xbar_spice.solve.fields import LayerField
        >>> sorted(Model(field=LayerField([[0.0, 1.0], [-1.0, 0.0]], [1.0, 2.0]), h=0.25, steps=4).tensors)
        ['K', 'bias']
    """

    field: Field | Layers
    h: float
    steps: int
    method: str
    classifier: Classifier | Chain | None
    source: str
    weight_range: tuple[float, ...] | None
    trained_on: str
    encoder: Encoder | Chain | None
    grid: FloatArray | None
    on_arrays: tuple[str, ...]
    frozen: tuple[str, ...]

    def __init__(  # noqa: PLR0913, PLR0917 - all that a model is
        self,
        A: ArrayLike | None = None,
        B: ArrayLike | None = None,
        h: float | None = None,
        steps: int | None = None,
        method: str = "implicit_euler",
        kernels: Kernels | None = None,
        classifier: Classifier | Chain | None = None,
        source: str = "",
        weight_range: Sequence[float] | None = None,
        trained_on: str = "",
        *,
        field: Field | Layers | None = None,
        encoder: End | None = None,
        grid: ArrayLike | None = None,
        on_arrays: Sequence[str] = (),
        frozen: Sequence[str] = (),
    ) -> None:
        first = as_encoder(encoder)
        for name, value, kind in (
            ("kernels", kernels, Kernels),
            ("classifier", classifier, Classifier | Chain),
            ("encoder", first, Encoder | Chain),
            ("field", field, Field | Layers),
        ):
            if value is not None and not isinstance(value, kind):
                shown = value.__name__ if isinstance(value, type) else type(value).__name__
                raise WeightsError(f"'{name}': expected a value of {name} or None, got {shown}")
        made: dict[str, Any] = {"field": _field(field, A, B, kernels), "classifier": classifier, "encoder": first}
        if f"{method}" == "":
            raise WeightsError("'method': expected the name of an integrator, got an empty text")
        made |= {"method": Text()("method", method, WeightsError)}
        for name, text in (("source", source), ("trained_on", trained_on)):
            made[name] = Text(empty=True)(name, text, WeightsError)
        made |= _times(h, steps, grid)
        made |= {name: names_of(name, held) for name, held in (("on_arrays", on_arrays), ("frozen", frozen))}
        made["weight_range"] = None
        for name, value in made.items():
            object.__setattr__(self, name, value)
        require_fitting(self.states, first, classifier, self.on_arrays)
        if weight_range is not None:
            object.__setattr__(self, "weight_range", range_of(weight_range, len(self.written)))
        for name, allowed in (("on_arrays", _OTHERS), ("frozen", tuple(self.tensors))):
            if unknown := set(getattr(self, name)) - set(allowed):
                raise WeightsError(
                    f"'{name}': expected names of {', '.join(allowed)}, got {', '.join(sorted(unknown))}"
                )

    @classmethod
    def from_kernels(cls, kernels: Kernels, **others: Any) -> Self:
        """The model whose A and B are the convolutions of some kernels; `others` as for `Model`."""
        return cls(kernels=kernels, **others)

    @property
    def operators(self) -> Mapping[str, LinearOperator]:
        """The matrices of the field by name; of layers "K[0]", "K[1]" and so on."""
        return self.field.operators

    @cached_property
    def deployed(self) -> Field | Layers:
        """The field as its matrices are written to arrays: with the biases in them that shall be there.

        Raises:
            InvalidInputError: The field has no such form.
        """
        return written_field(self.field, self.on_arrays)

    @cached_property
    def written(self) -> Mapping[str, LinearOperator]:
        """The matrices of the field that are written to arrays, by name; of a Fourier form "A.rows" and so on."""
        return written_matrices(self.deployed)

    @cached_property
    def matrices(self) -> Mapping[str, FloatArray]:
        """The matrices of the field by name, (m, n); nobody can write to them."""
        return {name: matrix_of(operator) for name, operator in self.operators.items()}

    @property
    def A(self) -> FloatArray:  # noqa: N802 - the matrix of the formula
        """(m, n) of B sig(A z)."""
        return self._matrix_named("A")

    @property
    def B(self) -> FloatArray:  # noqa: N802
        """(n, m) of B sig(A z)."""
        return self._matrix_named("B")

    @property
    def kernels(self) -> Kernels | None:
        """The kernels of A and B, if both are convolutions of one image; None if they are not."""
        found = [self.operators.get(name) for name in "AB"]
        a, b = (one if isinstance(one, Convolution) and one.stride == 1 and not one.time else None for one in found)
        if a is None or b is None or (a.image_shape, a.padding) != (b.image_shape, b.padding):
            return None
        return Kernels(a.kernel, b.kernel, a.image_shape, a.padding)

    @cached_property
    def tensors(self) -> Mapping[str, FloatArray]:
        """All that is trained, by name: matrices or their kernels, biases, and those of encoder and classifier.

        Weights that change in time have the steps of the field's layers as their leading axis.
        """
        found: dict[str, Any] = {}
        layers = fields_of(self.field)
        for field in layers:
            one = {_tensor_name(name, operator): _tensor(operator) for name, operator in field.operators.items()}
            for name, value in {**one, **field.vectors}.items():
                found.setdefault(name, []).append(value)
        stacked = {name: np.stack(parts) if len(layers) > 1 else parts[0] for name, parts in found.items()}
        for kind, end in (("encoder", self.encoder), ("classifier", self.classifier)):
            if end is not None:
                stacked |= {f"{kind}.{name}": value for name, value in end.tensors.items()}
        return stacked

    def with_tensors(self, values: Mapping[str, ArrayLike]) -> Self:
        """The same model with other tensors of these names, as `tensors` has them; a matrix takes a kernel's place.

        Raises:
            WeightsError: It has no tensor of this name, or a shape, dtype or value does not fit.
        """
        changed: dict[str, Any] = {}
        layers = [dict[str, Any]() for _ in fields_of(self.field)]
        for name, value in values.items():
            part, _, of = name.partition(".")
            if part in ("encoder", "classifier") and getattr(self, part) is not None:
                changed[part] = changed.get(part, getattr(self, part)).replaced({of: value})
                continue
            parts = real(name, value)
            for number, field in enumerate(fields_of(self.field)):
                kind, held = _place(name, field, self.tensors)
                one = parts[number] if len(layers) > 1 else parts
                layers[number][kind] = held(one)
        if any(layers):
            fields = [field.replaced(one) for field, one in zip(fields_of(self.field), layers, strict=True)]
            changed["field"] = Layers(fields) if len(fields) > 1 else fields[0]
        return replace(self, **changed)

    @property
    def states(self) -> int:
        """Length n of the state, without the time of a field that depends on it."""
        return self.field.states - self._timed

    @property
    def _timed(self) -> bool:
        return any(isinstance(field, TimedField) for field in fields_of(self.field))

    @property
    def stages(self) -> dict[str, Model]:
        """The neural ODEs in front of this one, by their names, such as "encoder.1.field"."""
        return {} if self.encoder is None else {f"encoder.{name}": one for name, one in self.encoder.stages.items()}

    def with_stages(self, stages: Mapping[str, Model]) -> Self:
        """The same model with others of these names in front of it."""
        if self.encoder is None or not stages:
            return self
        return replace(self, encoder=self.encoder.with_stages(named_below(stages, "encoder")))

    @property
    def inputs(self) -> int:
        """Length of an input: that of the encoder, or of the state without one."""
        return self.states if self.encoder is None else (self.encoder.inputs or self.states)

    @property
    def times(self) -> dict[str, Any]:
        """The grid as `integrate` takes it: h and steps, or the grid."""
        return {"h": self.h, "steps": self.steps} if self.grid is None else {"grid": self.grid}

    @property
    def hidden(self) -> int:
        """Number m of hidden units."""
        return max(field.hidden_units for field in fields_of(self.field))

    def started(self, z0: FloatArray) -> FloatArray:
        """Initial states, (n, samples), with the time below them if the field depends on it."""
        return np.vstack([z0, np.zeros((1, z0.shape[1]))]) if self._timed else z0

    def ended(self, z: FloatArray) -> FloatArray:
        """States of a run, (..., n, samples), without the time."""
        return z[..., : self.states, :]

    def initial(self, x: FloatArray) -> FloatArray:
        """(n, samples) initial states of inputs, (inputs, samples)."""
        return x if self.encoder is None else self.encoder.encoded(x)

    def require_runnable(self, samples: int) -> None:
        """Raise if a run would not end in sensible time and memory: it keeps the state of every step.

        Args:
            samples: Number of initial states that are solved together.

        Raises:
            WeightsError: There are too many steps, or too many numbers in all states.
        """
        for stage in self.stages.values():
            stage.require_runnable(samples)
        numbers = (self.steps + 1) * self.states * samples
        if self.steps > _MOST_STEPS_OF_A_RUN or numbers > _MOST_NUMBERS_OF_A_RUN:
            raise WeightsError(
                f"{self.steps} steps of {self.states} states and {samples} samples are {numbers:.3g} numbers to keep; "
                f"a run has at most {_MOST_STEPS_OF_A_RUN} steps and {_MOST_NUMBERS_OF_A_RUN} numbers: correct 'steps' "
                "of the model, or take fewer samples"
            )

    def matrix(self, name: str) -> FloatArray:
        """(m, n) one matrix of the field, which nobody can write to."""
        return matrix_of(self.operators[name])

    def largest(self, name: str) -> float:
        """The largest |weight| of a matrix of the field."""
        operator = self.written[name]
        if isinstance(operator, Convolution):  # a time drives the sums of taps
            return float(np.abs(operator.sparse.data if operator.time else operator.kernel).max())
        return float(np.abs(matrix_of(operator)).max())

    def _matrix_named(self, name: str) -> FloatArray:
        if name not in self.operators:
            raise WeightsError(f"this model has no matrix {name}; it has {', '.join(self.operators)}")
        return self.matrix(name)


_MOST_STEPS_OF_A_RUN = 10**6
_MOST_NUMBERS_OF_A_RUN = 2**28  # 2 GiB


def _field(
    field: Field | Layers | None, A: ArrayLike | None, B: ArrayLike | None, kernels: Kernels | None
) -> Field | Layers:
    """The field of a model, whichever way it is given."""
    if kernels is not None:
        a, b = kernels.operator("a"), kernels.operator("b")
        given = [real(name, W, "(m, n)") for name, W in (("A", A), ("B", B)) if W is not None]
        if given and not all(map(np.array_equal, given, kernels.matrices())):
            raise WeightsError("tensors 'A', 'B': expected the matrices of the kernels, see Model.from_kernels")
        return ReluField(a, b) if field is None else field.replaced({"A": a, "B": b})
    if field is not None:
        changed = {name: DenseOperator(real(name, W, "(m, n)")) for name, W in (("A", A), ("B", B)) if W is not None}
        if not field.operators:
            raise WeightsError(
                f"'field': {type(field).__name__} has no matrices; keep each as an attribute that is an operator, as "
                "in self.K = as_operator(K), or say which they are by the property `operators`"
            )
        return field.replaced(changed) if changed else field
    if A is None or B is None:
        missing = "A" if A is None else "B"
        raise WeightsError(
            f"tensor {missing!r} is missing; give A and B, or a field: Model(field=..., h=..., steps=...)"
        )
    first, second = real("A", A, "(m, n)"), real("B", B, "(n, m)")
    if second.shape != first.shape[::-1]:
        raise WeightsError(
            f"tensor 'B': expected shape {first.shape[::-1]} for an A of shape {first.shape}, got {second.shape}"
        )
    return ReluField(first, second)


def _place(name: str, field: Field, known: Mapping[str, FloatArray]) -> tuple[str, Callable[[FloatArray], Any]]:
    """What a field calls a tensor, and what it makes of one."""
    for matrix, operator in field.operators.items():
        if isinstance(operator, Convolution) and name == kernel_name(matrix):
            return matrix, operator.with_kernel
        if name == matrix:
            return matrix, lambda value: DenseOperator(value, name)
    if name not in field.vectors:
        raise WeightsError(f"tensor '{name}': expected one of {', '.join(known)}")
    shape = field.vectors[name].shape
    return name, lambda value: _of_shape(name, value, shape)


def _of_shape(name: str, value: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    if value.shape != shape:
        raise WeightsError(f"tensor '{name}': expected shape {shape}, got {value.shape}")
    return value


def matrix_of(operator: LinearOperator) -> FloatArray:
    """(m, n) of an operator; nobody can write to it."""
    if isinstance(operator, DenseOperator | Convolution):
        return operator.matrix
    matrix = operator.to_dense()
    matrix.setflags(write=False)
    return matrix


def _tensor(operator: LinearOperator) -> FloatArray:
    return operator.kernel if isinstance(operator, Convolution) else matrix_of(operator)


def _tensor_name(name: str, operator: LinearOperator) -> str:
    return kernel_name(name) if isinstance(operator, Convolution) else name


def _times(h: Any, steps: Any, grid: Any) -> dict[str, Any]:
    """Step length, steps and grid, of which one says the others."""
    if grid is None:
        for name, value in (("h", h), ("steps", steps)):
            if value is None:
                raise WeightsError(f"tensor '{name}' is missing; give h and steps, or a grid")
        return {"h": step_length(h), "steps": step_count(steps), "grid": None}
    times = real("grid", grid, "(steps + 1,)")
    if times.size < 2 or times[0] != 0 or not (np.diff(times) * np.sign(times[-1]) > 0).all():
        raise WeightsError(
            f"tensor 'grid': expected (steps + 1,) growing, or falling, times from 0, got {brief(times)}"
        )
    count = times.size - 1
    if (steps is not None and steps != count) or (h is not None and h != times[-1] / count):
        raise WeightsError("tensor 'grid': a grid says steps and their lengths: leave h and steps out, or grid=None")
    return {"h": float(times[-1]) / count, "steps": count, "grid": times}
