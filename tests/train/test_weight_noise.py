"""Noise on weights in training: what it draws, when, and that the gradient is that of the noisy run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support import relative

import xbar_spice as xs
from xbar_spice.errors import InvalidInputError
from xbar_spice.train.descent import loss_and_gradients
from xbar_spice.train.named import NamedTask

TASK = NamedTask("two_moons(samples=40)", states=3, hidden=4, steps=2, method="forward_euler")
ON = "epoch 1, minibatch 0"


def model() -> xs.Model:
    classifier = xs.Classifier([[1.0, 0.5, -1.0], [-0.5, 1.0, 0.5]], np.zeros(2))
    return replace(TASK.initial(np.random.default_rng(0)), classifier=classifier)


@pytest.mark.parametrize("relative_to", ["largest", "weight"])
def test_the_gradient_is_that_of_the_noisy_run(relative_to: str) -> None:
    """With the noise held: central differences of the loss of the minibatch over one weight, and over the bias."""
    clean, data = model(), TASK.data().train
    processor = xs.WeightNoise(0.3, relative_to, seed=1)
    found = loss_and_gradients(clean, data, processor=processor, occasion=ON)[1]
    for name, place in (("B", (1, 2)), ("bias", (1,))):
        losses = []
        for step in (1e-5, -1e-5):
            value = clean.tensors[name].copy()
            value[place] += step
            moved = clean.with_tensors({**clean.tensors, name: value})
            losses.append(loss_and_gradients(moved, data, processor=processor, occasion=ON)[0].loss)
        assert found[name][place] == pytest.approx((losses[0] - losses[1]) / 2e-5, rel=1e-5)


@pytest.mark.parametrize(("relative_to", "scale"), [("largest", 2.0), ("weight", [[2.0, -0.5]])])
def test_weights_of_minibatches_alone_are_off_by_the_size(relative_to: str, scale: object) -> None:
    clean = xs.Model(np.repeat([[2.0, -0.5]], 3000, axis=0), np.ones((2, 3000)), h=0.25, steps=1)
    processor = xs.WeightNoise(0.1, relative_to)
    with processor.programmed(clean, "epoch 1, test") as programmed:
        assert programmed.field is clean.field
    with processor.programmed(clean, ON) as one, processor.programmed(clean, "epoch 1, minibatch 1") as other:
        first, second = (run.field.operators["A"].to_dense() - clean.A for run in (one, other))
    assert relative(first.std(axis=0), 0.1 * np.abs(np.broadcast_to(scale, (1, 2)))[0]) < 0.05
    assert abs(np.corrcoef(first[:, 0], second[:, 0])[0, 1]) < 0.1


def test_it_goes_on_top_of_a_chip() -> None:
    chip = xs.Chip(xs.Design(r_word=1.0, r_bit=1.0))
    clean, data = chip.prepared(model()), TASK.data().train
    quiet, noisy = (
        loss_and_gradients(clean, data, processor=one, occasion=ON)[0].loss
        for one in (xs.WeightNoise(0.0, on=chip), xs.WeightNoise(0.2, on=chip))
    )
    assert quiet == loss_and_gradients(clean, data, processor=chip)[0].loss
    assert noisy != quiet
    with pytest.raises(InvalidInputError, match="relative_to"):
        xs.WeightNoise(0.1, "range")  # type: ignore[arg-type]
