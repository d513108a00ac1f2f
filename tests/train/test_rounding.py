"""Training in numbers of a fixed point, and on devices whose pulses round in the same way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import xbar_spice as xs
from xbar_spice.errors import InvalidInputError
from xbar_spice.train.named import NamedTask
from xbar_spice.train.optimise import Descent
from xbar_spice.train.rounding import FixedPoint
from xbar_spice.train.training import train

TASK = NamedTask(
    "two_moons(samples=80)", states=3, hidden=4, steps=2, method="forward_euler",
    schedule=xs.Schedule(3, batch=20, jitter=0.0, learning_rate=0.02),
)  # fmt: skip


def on_grid(values: np.ndarray, bits: int) -> bool:
    return bool((values * 2**bits == np.round(values * 2**bits)).all())


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_all_that_training_holds_is_on_the_grid(rounding: str) -> None:
    form = FixedPoint(4, 6, rounding, seed=3)
    model = train(TASK, processor=form).model
    fitted = ("classifier.weight", "classifier.bias")  # anew, behind the last epoch
    assert all(on_grid(value, 6) for name, value in model.tensors.items() if name not in fitted)
    with form.programmed(model, "a") as programmed:
        z = np.random.default_rng(0).normal(size=(3, 5))
        assert on_grid(programmed.field.evaluate(z).value, 6)
    assert np.any(train(TASK, processor=form).model.tensors["A"] != train(TASK).model.tensors["A"])


def test_nearest_rounding_loses_what_stochastic_rounding_keeps_in_the_mean() -> None:
    model = TASK.initial(np.random.default_rng(0))
    start = FixedPoint(4, 4).prepared(model)
    wanted = start.with_tensors(start.tensors | {"A": start.tensors["A"] + 0.01})
    np.testing.assert_array_equal(FixedPoint(4, 4).rewritten(start, wanted, "a").tensors["A"], start.tensors["A"])
    moved = [FixedPoint(4, 4, "stochastic").rewritten(start, wanted, f"{k}").tensors["A"] for k in range(150)]
    assert np.mean(moved - start.tensors["A"]) == pytest.approx(0.01, rel=0.15)


def test_pulses_of_an_even_device_are_stochastic_rounding_of_its_weights() -> None:
    """Both are w + dw floor(change / dw + u), up to what u is for a step down."""
    steps, largest = 64, 2.0
    even = xs.PulseUpdate(tuple(np.arange(steps + 1.0)), tuple(np.arange(steps, -1.0, -1.0)))
    w = np.repeat([[0.5, -1.25]], 20_000, axis=0)
    wanted = w + np.array([0.04, -0.1])
    pulsed = even.moved(w, wanted, largest, np.random.default_rng(0))
    rounded = xs.fixed_point(wanted, 3, 4, "stochastic", np.random.default_rng(1))  # dw = 2 largest / steps = 2^-4
    for one, other in zip(pulsed.T, rounded.T, strict=True):
        np.testing.assert_allclose(np.unique(one.round(12)), np.unique(other))
        assert one.mean() == pytest.approx(other.mean(), abs=2e-3)
        assert one.var() == pytest.approx(other.var(), rel=0.1)


def test_rounded_products_of_a_chip_need_reads_of_both_sides() -> None:
    chip = xs.Chip(xs.Design(r_word=1.0), engine="ideal", gradient="true")
    model = FixedPoint(4, 8, on=chip).prepared(TASK.initial(np.random.default_rng(0)))
    with FixedPoint(4, 8, parts=("weights",), on=chip).programmed(model) as programmed:
        assert programmed.of_tensors is not None
    with (
        pytest.raises(InvalidInputError, match='take gradient="hardware"'),
        FixedPoint(4, 8, on=chip).programmed(model),
    ):
        pass


def test_descent_with_momentum() -> None:
    mover, w = Descent(0.5), {"w": np.array([1.0])}
    for wanted in (0.9, 0.75, 0.575):  # moves of 0.1, 0.15, 0.175 by a gradient of 1
        w = mover.step(w, {"w": np.array([1.0])}, 0.1)
        assert w["w"] == pytest.approx(wanted)
    task = replace(TASK, schedule=replace(TASK.schedule, optimiser="descent", momentum=0.9, batch=7, learning_rate=0.1))
    history = train(task).history
    assert history[-1].loss < history[0].loss
    with pytest.raises(InvalidInputError, match="momentum is of"):
        xs.Schedule(momentum=0.9)
