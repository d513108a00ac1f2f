"""The training that a schedule asks for: any optimiser, on one grid in time or on finer and finer ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.train.cascade import fit, refitted
from xbar_spice.train.descent import Epoch, Pulled, epochs, judged
from xbar_spice.train.gauss_newton import BlockStep, block_coordinate_descent
from xbar_spice.train.losses import Score
from xbar_spice.train.processor import Digital, Processor
from xbar_spice.train.regulariser import Regulariser
from xbar_spice.train.samples import Split
from xbar_spice.train.tasks import Schedule
from xbar_spice.weights import Model, prolong, unroll

__all__ = ["trained"]


def trained(
    schedule: Schedule,
    model: Model,
    split: Split,
    rng: np.random.Generator,
    *,
    processor: Processor | None = None,
    deployed_on: Processor | None = None,
    progress: Callable[[Epoch], None] | None = None,
) -> tuple[Model, tuple[Epoch, ...]]:
    """Train a model on every level of a schedule.

    Args:
        schedule: How.
        model: Where to start, with a classifier if the samples have labels.
        split: What it is trained with and what is held back.
        rng: Of minibatches and their changes.
        processor: Who runs the model; digital matrices when left out.
        deployed_on: Who runs the samples held back; the same processor when left out.
        progress: Called after every epoch.

    Returns:
        The trained model, and every epoch of all levels.

    Raises:
        InvalidInputError: The schedule asks for what this model, its samples or the processor do not have.
    """
    _check(schedule, model, processor)
    history: list[Epoch] = []

    def keep(epoch: Epoch) -> None:
        history.append(epoch)
        if progress is not None:
            progress(epoch)

    if schedule.unroll:
        model = unroll(model)
    for level in range(schedule.levels):
        if level:
            model = prolong(model, schedule.prolongation)
            model = refitted(model, split.train, schedule.classifier_decay, processor, f"level {level}")
        if schedule.whole:
            on = deployed_on or processor
            model = _on_all_samples(schedule, model, split, processor, keep, level, on)
            continue
        for epoch, moved in epochs(
            schedule, model, split, rng, processor=processor, deployed_on=deployed_on, level=level
        ):
            model = moved
            keep(epoch)
    return model, tuple(history)


def _check(schedule: Schedule, model: Model, processor: Processor | None) -> None:
    """Refuse what would have no effect, or another one than it says."""
    layered = isinstance(model.field, Layers) or (schedule.unroll and model.steps > 1)
    if schedule.smoothness and not layered:
        raise InvalidInputError(
            f"smoothness is of weights that change in time, and this model has one set for all {model.steps} steps: "
            "give every step weights of its own by unroll=True (--unroll), or leave smoothness out"
        )
    if schedule.whole and not (processor or Digital()).exact:
        raise InvalidInputError(
            f"optimiser={schedule.optimiser!r} compares losses of the weights that it asks for, on all samples: leave "
            "out dropout, pulses that move weights, and weights of a fixed point, or take optimiser='adam'"
        )


def _on_all_samples(
    schedule: Schedule,
    model: Model,
    split: Split,
    processor: Processor | None,
    keep: Callable[[Epoch], None],
    level: int,
    judge: Processor | None,
) -> Model:
    """One level by L-BFGS or block coordinate descent."""
    number = level * schedule.epochs

    def note(now: Model, found: Pulled) -> None:
        nonlocal number
        number += 1
        keep(judged(schedule, number, now, split.test, found, judge))

    def note_round(step: BlockStep) -> None:
        score = Score(step.loss, step.accuracy, np.zeros(0))
        note(step.model, Pulled(score, {}, float(step.forward), float(step.transposed)))

    decay = schedule.weight_decay
    if schedule.optimiser == "gauss-newton":
        rounds = block_coordinate_descent(
            model,
            split.train,
            Regulariser(schedule.smoothness, decay or schedule.classifier_decay),
            rounds=schedule.epochs,
            processor=processor,
            progress=note_round,
        )
        return rounds[-1].model
    return fit(
        model,
        split.train,
        Regulariser(schedule.smoothness, decay),
        iterations=schedule.epochs,
        tolerance=schedule.tolerance,
        processor=processor,
        progress=note,
    ).model
