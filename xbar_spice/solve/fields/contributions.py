"""Adding up what each evaluation of a run contributes to the gradients: all together, by time step, by sample.

The gradient of a loss with respect to the weights is a sum over the steps n and the samples s,

    dL/dW = sum_n sum_s (dL/dW)_{n,s},

where part (n, s) is the gradient with respect to weights of which step n of sample s alone would have its own copy. An
evaluation f(z_k) that serves several steps, as in a method of several steps, counts for each of them by its share of
the cotangent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Literal, final, get_args

import numpy as np
from numpy.typing import NDArray

from xbar_spice.checks import Many, Text
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.fields.evaluation import Evaluation, IndexArray, Parameters, Tie
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.fields.split import prefixed

__all__ = ["By", "Contributions", "Split", "split_axes", "summed"]

By = Literal["step", "sample"]
"""What a gradient may be split by."""

Split = By | Collection[By]


def split_axes(by: Split, *, batched: bool = True) -> tuple[By, ...]:
    """The leading axes of gradients that are split: steps first, then samples; a single z0 has no axis of samples.

    Raises:
        InvalidInputError: `by` names anything else.

    Example:
        >>> split_axes(("sample", "step"))
        ('step', 'sample')
    """
    wanted = {by} if isinstance(by, str) else set(Many(Text())("by", by))
    if unknown := wanted - set(get_args(By)):
        raise InvalidInputError(f"by must be one or several of {get_args(By)}, got {', '.join(map(repr, unknown))}")
    axes: tuple[By, ...] = ("step", "sample")
    return tuple(axis for axis in axes if axis in wanted and (batched or axis != "sample"))


def summed(values: FloatArray, axes: tuple[By, ...], *, but: By | None = None) -> FloatArray:
    """Split gradients with these leading axes, summed over all of them but one."""
    return np.asarray(values.sum(axis=tuple(index for index, axis in enumerate(axes) if axis != but)))


@final
class Contributions:
    """Sums of the parameter gradients of the evaluations of one layer.

    Args:
        axes: what to keep apart, of `split_axes`.
        batch: number of samples.

    Attributes:
        evaluations: (batch,) how many times J^T w was evaluated for each sample; (1,) where all had the same.
    """

    def __init__(self, axes: tuple[By, ...] = (), batch: int = 1) -> None:
        self._axes, self._batch = axes, batch
        self.evaluations: NDArray[np.int64] = np.zeros(batch, dtype=np.int64)
        self._steps = range(0)
        self._totals: dict[tuple[int, ...], dict[str, FloatArray]] = {}  # by step and sample, as far as kept apart

    def cover(self, steps: range) -> None:
        """Steps of which contributions will come; what none comes of is zero. Others that use the layer join them."""
        known = self._steps or steps
        self._steps = range(min(known.start, steps.start), max(known.stop, steps.stop))

    def pull(
        self,
        field: Field,
        evaluation: Evaluation,
        cotangents: Mapping[int, FloatArray],
        *,
        samples: IndexArray | None = None,
        part: str = "",
    ) -> FloatArray:
        """J(z)^T w, and on the way the gradients of w^T f with respect to the matrices.

        Steps that are kept apart take one transposed read each.

        Args:
            field: f.
            evaluation: where.
            cotangents: at least one w, (n, batch), by the step that used the evaluation; their sum counts.
            samples: which samples the columns are; all when left out.
            part: of a `SplitField`, "velocity" or "force".

        Returns:
            (n, batch).
        """
        hidden = []
        for step, cotangent in self._apart(cotangents):
            hidden.append(field.pull_hidden(evaluation, cotangent))
            self.add(field, evaluation, cotangent, hidden[-1], step=step, samples=samples, part=part)
        self.evaluations[slice(None) if samples is None else samples] += len(hidden)
        return field.pull_state(evaluation, sum(hidden[1:], hidden[0]))

    def add(
        self,
        field: Field,
        evaluation: Evaluation,
        cotangent: FloatArray,
        hidden: FloatArray,
        *,
        step: int,
        samples: IndexArray | None = None,
        part: str = "",
    ) -> None:
        """Add the gradients of w^T f with respect to the matrices, `hidden` being what `pull_hidden` made of w."""
        step_key = (step,) if "step" in self._axes else ()
        self.cover(range(step, step + 1))
        if "sample" not in self._axes:
            self._add(step_key, part, field.parameter_gradients(evaluation, cotangent, hidden))
            return
        columns = np.arange(evaluation.batch)
        for column, sample in zip(columns, columns if samples is None else samples, strict=True):
            one = np.array([column])
            gradients = field.parameter_gradients(evaluation.columns(one), cotangent[:, one], hidden[:, one])
            self._add((*step_key, int(sample)), part, gradients)

    def collect(self, tie: Tie) -> Parameters:
        """The gradients with respect to the parameters of the field, (steps, samples, ...) as far as kept apart."""
        if not self._totals:
            return tie.collect({})
        found = {key: tie.collect(total) for key, total in self._totals.items()}
        if not self._axes:
            return found[()]
        lengths = {"step": len(self._steps), "sample": self._batch}
        lead = tuple(lengths[axis] for axis in self._axes)
        starts = {"step": self._steps.start, "sample": 0}
        stacked = {name: np.zeros((*lead, *value.shape)) for name, value in next(iter(found.values())).items()}
        for key, parameters in found.items():
            place = tuple(index - starts[axis] for axis, index in zip(self._axes, key, strict=True))
            for name, value in parameters.items():
                stacked[name][place] = value
        return stacked

    def _apart(self, cotangents: Mapping[int, FloatArray]) -> Iterable[tuple[int, FloatArray]]:
        if "step" in self._axes:
            return cotangents.items()
        terms = list(cotangents.values())
        return [(next(iter(cotangents)), sum(terms[1:], terms[0]))]

    def _add(self, key: tuple[int, ...], part: str, gradients: Parameters) -> None:
        total = self._totals.setdefault(key, {})
        for name, gradient in (prefixed(part, gradients) if part else gradients).items():
            total[name] = total[name] + gradient if name in total else gradient
