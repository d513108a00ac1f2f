"""Training on all samples at once by L-BFGS, and multilevel training on finer and finer grids in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from scipy.optimize import OptimizeResult, minimize

from xbar_spice.checks import Real, Whole, checked
from xbar_spice.data import Data
from xbar_spice.linear.operator import FloatArray
from xbar_spice.linear.threads import one_thread
from xbar_spice.train.descent import Pulled, final_states, loss_and_gradients, pulled_loss
from xbar_spice.train.optimise import fit_classifier
from xbar_spice.train.processor import Processor
from xbar_spice.train.regulariser import Regulariser
from xbar_spice.train.samples import Samples, as_samples
from xbar_spice.train.tasks import MOST_LEVELS
from xbar_spice.weights import Classifier, Model, Prolongation, prolong

__all__ = ["Fitted", "cascade", "fit", "refitted"]

_TOLERANCE = 1e-8
_CLASSIFIER_DECAY = 1e-4  # of a classifier that is fitted alone between two levels, whose problem it makes convex


@final
@dataclass(frozen=True, eq=False)
class Fitted:
    """A model that was trained on one level.

    Attributes:
        model: After training.
        prolonged: Loss with the weights of the coarser level, before any fit; on the first that of its start.
        refitted: Loss after the classifier alone was fitted anew.
        history: Loss with penalty after each iteration.
        evaluations: How many losses and gradients were asked for.
        steps: Forward and transposed steps that they took, of each sample.
        nfe: With each entry of `history`, evaluations of f and of J^T w that its loss and gradient took of a sample, in
            the mean.
    """

    model: Model
    prolonged: float
    refitted: float
    history: tuple[float, ...]
    evaluations: int
    steps: int
    nfe: tuple[tuple[float, float], ...] = ()

    @property
    def loss(self) -> float:
        """In the end, with penalty; where no iteration found less, without it that of `refitted`."""
        return self.history[-1] if self.history else self.refitted


@checked()
def fit(
    model: Model,
    data: Samples,
    regulariser: Regulariser | None = None,
    *,
    iterations: int = 100,
    tolerance: float = _TOLERANCE,
    processor: Processor | None = None,
    progress: Callable[[Model, Pulled], None] | None = None,
) -> Fitted:
    """Train a model on all samples at once, by L-BFGS on the mean loss and a penalty.

    Args:
        model: With a classifier, if the samples have labels.
        data: What it is trained with.
        regulariser: The penalty; none when left out.
        iterations: Of L-BFGS, >= 1.
        tolerance: As for `Schedule`.
        processor: Who runs the model; digital matrices when left out.
        progress: Called after every iteration with the model, its loss and gradient, without the penalty.
    """
    penalty = regulariser or Regulariser()
    moved = {name: value for name, value in model.tensors.items() if name not in model.frozen}
    ends = np.cumsum([value.size for value in moved.values()])[:-1]
    asked, history = 0, list[float]()
    last, nfe = list[Pulled](), list[tuple[float, float]]()

    def unpacked(vector: FloatArray) -> Model:
        parts = np.split(vector, ends)
        return model.with_tensors(
            {name: part.reshape(value.shape) for part, (name, value) in zip(parts, moved.items(), strict=True)}
        )

    def objective(vector: FloatArray) -> tuple[float, FloatArray]:
        nonlocal asked
        asked += 1
        now = unpacked(vector)
        found = pulled_loss(now, data, tolerance=tolerance, processor=processor, occasion=f"fit {asked}")
        last[:] = [found]
        pulled = penalty.gradients(now)
        slope = np.concatenate([(found.slopes[name] + pulled[name]).ravel() for name in moved])
        return found.score.loss + penalty.value(now), slope

    def note(intermediate_result: OptimizeResult) -> None:
        history.append(float(intermediate_result.fun))
        nfe.append((last[0].evaluations, last[0].adjoint_evaluations))
        if progress is not None:  # a line search ends with what it has asked for last
            progress(unpacked(intermediate_result.x), last[0])

    with one_thread():
        before = loss_and_gradients(model, data, tolerance=tolerance, processor=processor, matrices=False)[0].loss
        start: FloatArray = np.concatenate([value.ravel() for value in moved.values()])
        rounds = Whole(1, 10**6)("iterations", iterations)
        found = minimize(
            objective,
            start,
            jac=True,
            method="L-BFGS-B",
            callback=note,
            options={"maxiter": rounds, "maxfun": 10 * rounds, "maxcor": 20},
        )
    return Fitted(unpacked(found.x), before, before, tuple(history), asked, 2 * asked * model.steps, tuple(nfe))


@checked()
def cascade(
    model: Model,
    data: Samples | Data,
    levels: int,
    how: Prolongation = "linear",
    regulariser: Regulariser | None = None,
    *,
    iterations: int = 100,
    classifier_decay: float = _CLASSIFIER_DECAY,
    processor: Processor | None = None,
    progress: Callable[[Fitted], None] | None = None,
) -> tuple[Fitted, ...]:
    """Train a model on its own steps, then on twice as many, and so on; the last level has `steps * 2^(levels - 1)`.

    Args:
        model: The coarsest, with a linear classifier if the samples have labels; `Layers` with weights for each step.
        data: What it is trained with, labels or targets.
        levels: How many, >= 1.
        how: What the weights between those of a coarser level are, as for `prolong`.
        regulariser: As for `fit`.
        iterations: Of L-BFGS on each level, >= 1.
        classifier_decay: With which the classifier is fitted anew before a level is trained.
        processor: As for `fit`.
        progress: Called after every level.

    Returns:
        What each level made of the model, the finest one last.
    """
    samples, done = as_samples(data), list[Fitted]()
    decay = Real(above=0)("classifier_decay", classifier_decay)
    for level in range(Whole(1, MOST_LEVELS)("levels", levels)):
        if level:
            model = prolong(model, how)
        before = loss_and_gradients(model, samples, processor=processor, matrices=False)[0].loss
        model = refitted(model, samples, decay, processor, f"level {level}")
        found = fit(model, samples, regulariser, iterations=iterations, processor=processor)
        done.append(replace(found, prolonged=before))
        model = found.model
        if progress is not None:
            progress(done[-1])
    return tuple(done)


def refitted(
    model: Model, samples: Samples, decay: float, processor: Processor | None = None, occasion: str = ""
) -> Model:
    """The model with the linear classifier that its last states need; as it is where it has none that is trained.

    Args:
        model: What runs.
        samples: What it runs on.
        decay: Of the classifier's weight, > 0, which makes its problem convex.
        processor: Who runs the model; digital matrices when left out.
        occasion: Which draw of the processor's noise it sees.
    """
    head = model.classifier
    held = "classifier.weight" in model.frozen
    if samples.labels is None or not isinstance(head, Classifier) or not head.plain or held:
        return model
    z = final_states(model, samples.x, _TOLERANCE, processor, occasion)
    return replace(model, classifier=fit_classifier(z, samples.classes, head.classes, weight_decay=decay))
