"""Losses of final states, with the cotangents from which the adjoint starts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xbar_spice.checks import Array, given, settle
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray, LinearOperator
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.integrators.integration import Trajectory
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.train.observed import Beside, looks_of
from xbar_spice.weights import Chain, Classifier, Model

__all__ = [
    "CrossEntropy",
    "CrossEntropyScore",
    "Decoded",
    "Objective",
    "Score",
    "SquaredDistance",
    "SquaredDistances",
    "objective_of",
    "softmax_cross_entropy",
]


@dataclass(frozen=True, eq=False)
class Score:
    """A loss and what its gradient needs.

    Attributes:
        loss: mean over the samples.
        accuracy: share of the samples that are classified correctly, those without finite scores not among them; None
            where nothing is classified.
        cotangent: dL/dz, (n, batch), of the mean.
        tensors: gradients of everything in the classifier that is trained, by the names of the model's tensors.
        sums: the cotangent of each W x + bias of a classifier on its way, by the name of the weight.
    """

    loss: float
    accuracy: float | None
    cotangent: FloatArray
    tensors: Mapping[str, FloatArray] = field(default_factory=dict, kw_only=True)
    sums: Mapping[str, FloatArray] = field(default_factory=dict, kw_only=True)


@final
@dataclass(frozen=True, eq=False)
class CrossEntropyScore(Score):
    """A `Score` that also has the gradients of the classifier.

    Attributes:
        accuracy: share of the samples that are classified correctly.
        weight: dL/d(weight), (classes, n); of the last layer if there are several.
        bias: dL/d(bias), (classes,).
    """

    accuracy: float
    weight: FloatArray
    bias: FloatArray

    def __post_init__(self) -> None:
        if not self.tensors:
            object.__setattr__(self, "tensors", {"classifier.weight": self.weight, "classifier.bias": self.bias})


class Objective(ABC):
    """A loss of the final states of a fixed set of samples.

    A loss of one's own subclasses this and goes where `CrossEntropy` goes, as the third part of a `Problem`.

    Attributes:
        times: (times,) when a loss looks at the states, if not at the end of the run alone; then `evaluate_path` is
            asked in place of `evaluate`.
        whole_run: Whether the loss is made of all steps of a run, as `beside` has it.
    """

    times: FloatArray | None = None
    whole_run: bool = False

    def followed(self, field: Field | Layers) -> Field | Layers:
        """What is integrated in place of a field, for a run that keeps what `beside` needs."""
        return field

    def beside(self, trajectory: Trajectory, *, derivatives: bool = True) -> Beside | None:
        """What a run of `followed` adds to the loss of its states; None for nothing."""
        return None

    @abstractmethod
    def evaluate(self, z: FloatArray) -> Score:
        """Score the final states z, (n, batch)."""

    def evaluate_path(self, z: FloatArray) -> Score:
        """Score the states at `times`, (times, n, batch); the cotangent has their shape."""
        score = self.evaluate(z[-1])
        return replace(score, cotangent=score.cotangent[np.newaxis])

    def read_by(self, operator: LinearOperator | Mapping[str, LinearOperator]) -> Objective:
        """The same loss, with the classifier's weight on arrays.

        Args:
            operator: What multiplies with it; by the names of its weights if it has several layers.

        Raises:
            InvalidInputError: This loss has no classifier.
        """
        raise InvalidInputError(
            f"a classifier on arrays needs a loss that has one, such as CrossEntropy, got {type(self).__name__}; leave "
            "'classifier' out of Model.on_arrays"
        )

    def curvature(self, z: FloatArray) -> FloatArray:
        """Roots of the second derivative at z: (k, n, batch) vectors v of which the sum of v v^T is a sample's Hessian.

        The Gauss-Newton approximation of the Hessian with respect to any parameters is the sum of the squares of their
        gradients, taken with each v as cotangent, sample by sample. Only `sensitivity_map` needs it.

        Raises:
            InvalidInputError: This loss does not say.
        """
        raise InvalidInputError(
            f"sensitivity_map needs the second derivative of the loss, and {type(self).__name__} has none: give it a "
            "method curvature, as SquaredDistance has it"
        )


@final
@dataclass(frozen=True, eq=False)
class CrossEntropy(Objective):
    """Mean softmax cross-entropy of a classifier.

    Args:
        classifier: makes scores of states.
        labels: (batch,) true class of each sample, from 0.
        operator: what multiplies with the classifier's weight; digital when left out.
    """

    classifier: Classifier | Chain
    labels: NDArray[np.int64]
    operator: LinearOperator | None = None

    def __post_init__(self) -> None:
        settle(self)
        if Array()("labels", self.labels).ndim != 1 or np.asarray(self.labels).dtype.kind not in "iu":
            raise InvalidInputError(f"labels must be whole numbers of shape (batch,), got {given(self.labels)}")

    def read_by(self, operator: LinearOperator | Mapping[str, LinearOperator]) -> CrossEntropy:
        if isinstance(operator, LinearOperator):
            return replace(self, operator=operator)
        return replace(self, classifier=self.classifier.reading(operator))

    def evaluate(self, z: FloatArray) -> CrossEntropyScore:
        classifier = self._read
        if isinstance(classifier, Classifier) and classifier.plain:
            return softmax_cross_entropy(classifier.weight, classifier.bias, z, self.labels)
        with np.errstate(invalid="ignore", over="ignore"):  # states that are not finite make NaN of everything
            scored = classifier.passed(z, "classifier.")
            scores = scored.value
            found = softmax_cross_entropy(np.eye(len(scores)), np.zeros(len(scores)), scores, self.labels)
            pulled = scored.pull(found.cotangent)
        last = next(iter(pulled.sums)).removesuffix("weight")
        return CrossEntropyScore(
            found.loss,
            found.accuracy,
            pulled.inputs,
            pulled.gradients[f"{last}weight"],
            pulled.gradients[f"{last}bias"],
            tensors=pulled.gradients,
            sums=pulled.sums,
        )

    def curvature(self, z: FloatArray) -> FloatArray:
        # diag(p) - p p^T is the sum over the classes of p_c (e_c - p) (e_c - p)^T.
        scored = self._read.passed(z)
        scores = scored.value
        p = np.exp(scores - scores.max(axis=0))
        p /= p.sum(axis=0)
        away = np.eye(len(p))[:, :, np.newaxis] - p
        if isinstance(self._read, Classifier) and self._read.plain:
            towards = np.einsum("cn,kcb->knb", self._read.weight, away)
        else:
            towards = np.stack([scored.pull(one).inputs for one in away])
        return np.asarray(np.sqrt(p / z.shape[1])[:, np.newaxis] * towards, dtype=float)

    @property
    def _read(self) -> Classifier | Chain:
        return self.classifier if self.operator is None else self.classifier.reading({"weight": self.operator})


@final
@dataclass(frozen=True, eq=False)
class SquaredDistance(Objective):
    """Mean of |z - target|^2 / 2, for models without a classifier.

    Args:
        target: (n, batch).
    """

    target: FloatArray

    def __post_init__(self) -> None:
        settle(self, target=Array())
        if self.target.ndim != 2 or not self.target.size:
            raise InvalidInputError(f"target must have shape (n, batch), got {self.target.shape}")

    def evaluate(self, z: FloatArray) -> Score:
        if np.shape(z) != self.target.shape:
            raise InvalidInputError(f"states must have the shape of the target, {self.target.shape}, got {np.shape(z)}")
        difference = z - self.target
        batch = z.shape[1]
        return Score(0.5 * float(np.vdot(difference, difference)) / batch, None, difference / batch)

    def curvature(self, z: FloatArray) -> FloatArray:
        n, batch = z.shape
        return np.asarray(np.repeat(np.eye(n)[:, :, np.newaxis], batch, axis=2) / np.sqrt(batch))


@final
@dataclass(frozen=True, eq=False)
class SquaredDistances(Objective):
    """Mean over the samples of the sum over the times of |z(t) - target(t)|^2 / 2.

    Args:
        target: (times, n, batch).
        times: (times,), rising from 0 or later on.
    """

    target: FloatArray
    times: FloatArray

    def __post_init__(self) -> None:
        settle(self, target=Array(), times=Array())
        if self.times.ndim != 1 or self.target.ndim != 3 or len(self.target) != self.times.size or not self.target.size:
            raise InvalidInputError(
                f"target must have shape (times, n, batch) for times (times,), got {self.target.shape} and "
                f"{self.times.shape}"
            )
        if self.times[0] < 0 or not (np.diff(self.times) > 0).all():
            raise InvalidInputError(f"times must rise, from 0 or later on, got {given(self.times)}")

    def evaluate(self, z: FloatArray) -> Score:
        raise InvalidInputError(f"this loss looks at {self.times.size} times, not at the last state alone")

    def evaluate_path(self, z: FloatArray) -> Score:
        difference, batch = z - self.target, self.target.shape[2]
        return Score(0.5 * float(np.vdot(difference, difference)) / batch, None, difference / batch)


@final
@dataclass(frozen=True, eq=False)
class Decoded(Objective):
    """A loss of what a classifier makes of states, where that is no class but a value: a decoder.

    Args:
        decoder: makes outputs of states.
        objective: the loss of outputs, such as `SquaredDistances`.
    """

    decoder: Classifier | Chain
    objective: SquaredDistance | SquaredDistances

    def __post_init__(self) -> None:
        settle(self)
        object.__setattr__(self, "times", getattr(self.objective, "times", None))

    def read_by(self, operator: LinearOperator | Mapping[str, LinearOperator]) -> Decoded:
        on = {"weight": operator} if isinstance(operator, LinearOperator) else operator
        return replace(self, decoder=self.decoder.reading(on))

    def evaluate(self, z: FloatArray) -> Score:
        score = self.evaluate_path(z[np.newaxis])
        return replace(score, cotangent=score.cotangent[0])

    def evaluate_path(self, z: FloatArray) -> Score:
        times, n, batch = z.shape
        together = np.moveaxis(z, 0, 1).reshape(n, -1)  # (n, times of all samples), so that all are read at once
        decoded = self.decoder.passed(together, "classifier.")
        found = self.objective.evaluate_path(np.moveaxis(decoded.value.reshape(-1, times, batch), 1, 0))
        pulled = decoded.pull(np.moveaxis(found.cotangent, 0, 1).reshape(-1, times * batch))
        cotangent = np.moveaxis(pulled.inputs.reshape(n, times, batch), 1, 0)
        return Score(found.loss, None, cotangent, tensors=pulled.gradients, sums=pulled.sums)


def objective_of(
    model: Model,
    labels: NDArray[np.int64] | None,
    targets: FloatArray | None,
    times: FloatArray | None = None,
    said: str = "samples",
) -> Objective:
    """The loss of samples: cross-entropy of labels, else the squared distance of states, or what is decoded of them.

    Args:
        model: What runs on them.
        labels: (samples,) classes; None for none.
        targets: (samples, n), or (samples, times, n): of as many entries as the model has states, or else outputs of
            its classifier; None for none.
        times: (times,), when targets were observed; None for the end of the run.
        said: What the samples are, for errors.

    Raises:
        InvalidInputError: The model does not fit them.
    """
    head, states = model.classifier, model.states
    if labels is not None and head is not None:
        if labels.max(initial=0) >= head.classes:
            raise InvalidInputError(
                f"{said}: labels go up to {labels.max()}, and the model's classifier has {head.classes} classes, "
                "counted from 0"
            )
        return CrossEntropy(head, labels)
    if targets is None:
        raise InvalidInputError(
            f"{said}: labels need a model with a classifier, and the model has no classifier; give targets"
            if labels is not None
            else f"{said}: neither labels nor targets, of which one is needed"
        )
    values = targets
    decoder = head if head is not None and values.shape[-1] != states and values.shape[-1] == head.classes else None
    if decoder is None and values.shape[-1] != states:
        outputs = "" if head is None else f", or its classifier outputs, {head.classes}"
        raise InvalidInputError(f"{said}: targets need as many entries as the model has states, {states}{outputs}")
    objective: SquaredDistance | SquaredDistances
    if times is not None:
        looks_of(model, times)  # says which time the run does not have
        objective = SquaredDistances(np.ascontiguousarray(np.moveaxis(values, 0, 2)), times)
    else:
        objective = SquaredDistance(np.ascontiguousarray(values.T))
    return objective if decoder is None else Decoded(decoder, objective)


def softmax_cross_entropy(weight: FloatArray, bias: FloatArray, z: FloatArray, labels: ArrayLike) -> CrossEntropyScore:
    """Mean cross-entropy of softmax(weight z + bias), and its gradients.

    With p = softmax(weight z + bias) and e the indicator of the true class, the gradient with respect to the scores
    is p - e; those of weight, bias and z are its products with z^T, 1 and weight^T.

    Args:
        weight: (classes, n).
        bias: (classes,).
        z: States, (n, batch).
        labels: True class of each sample, (batch,), from 0.

    Returns:
        Loss, accuracy and the gradients of the mean.

    Raises:
        InvalidInputError: The shapes do not belong together, or a label is not a class.

    Example:
        >>> score = softmax_cross_entropy(np.eye(2), np.zeros(2), np.array([[0.0], [0.0]]), [1])
        >>> score.loss, score.cotangent.ravel()
        (0.693147, array([ 0.5, -0.5]))
    """
    truth = _checked_labels(weight, z, labels)
    samples = np.arange(z.shape[1])
    with np.errstate(invalid="ignore", over="ignore"):  # states that are not finite make NaN of loss and gradients
        scores = weight @ z + bias[:, np.newaxis]
        shifted = scores - scores.max(axis=0)  # softmax does not change, and exp cannot overflow
    scored = np.isfinite(scores).all(axis=0)  # a sample that ran away belongs to no class
    logarithm = shifted - np.log(np.exp(shifted).sum(axis=0))
    error = np.exp(logarithm)
    error[truth, samples] -= 1.0
    error /= samples.size
    return CrossEntropyScore(
        loss=-float(logarithm[truth, samples].mean()),
        accuracy=float(((scores.argmax(axis=0) == truth) & scored).mean()),
        cotangent=weight.T @ error,
        weight=error @ z.T,
        bias=error.sum(axis=1),
    )


def _checked_labels(weight: FloatArray, z: FloatArray, labels: ArrayLike) -> NDArray[np.int64]:
    truth = np.asarray(labels)
    classes, n = weight.shape
    if z.ndim != 2 or z.shape[0] != n or truth.shape != z.shape[1:]:
        raise InvalidInputError(
            f"a classifier of shape {weight.shape} takes states ({n}, batch) and labels (batch,), "
            f"got {z.shape} and {truth.shape}"
        )
    if not truth.size:
        raise InvalidInputError("a loss needs at least one sample, got none")
    if not np.issubdtype(truth.dtype, np.integer) or truth.min() < 0 or truth.max() >= classes:
        raise InvalidInputError(f"labels must be whole numbers from 0 to {classes - 1}, got {np.unique(truth)[:12]}")
    return truth.astype(np.int64)
