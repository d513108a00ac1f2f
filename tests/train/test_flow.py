"""Training of flows by likelihood, on digital matrices and on a chip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from support import relative

import xbar_spice as xs
from xbar_spice.train.descent import loss_and_gradients
from xbar_spice.train.flow import FlowTask, likelihood, train_flow
from xbar_spice.train.training import train

TASK = FlowTask("two_moons(samples=200, scaled=True)", hidden=8, h=0.5, steps=4)
TASK = replace(TASK, schedule=replace(TASK.schedule, epochs=30, batch=50, learning_rate=0.05))
CHIP = xs.Chip(xs.Design(r_word=1.0, r_bit=1.0, headroom=3.0, variation=xs.Variation(programming=0.05)), seed=1)


def test_a_flow_learns_a_density_that_no_normal_distribution_has() -> None:
    result = train(TASK, seed=0)
    assert [epoch.number for epoch in result.history] == [*range(1, 31)]
    assert result.test_loss < result.normal_loss
    assert result.test_loss == result.history[-1].test.loss
    assert {(epoch.evaluations, epoch.adjoint_evaluations) for epoch in result.history} == {(4.0, 4.0)}
    again = likelihood(result.model, TASK.data().test.x)
    np.testing.assert_allclose(-again.mean(), result.test_loss)
    assert set(result.model.tensors) == {"A", "B", "bias"}


def test_a_flow_is_trained_on_a_chip_by_the_gradient_of_its_arrays() -> None:
    model, some = TASK.initial(np.random.default_rng(0)), TASK.data().train.take(slice(5))
    held = CHIP.prepared(model)
    with CHIP.programmed(held, "a") as programmed:
        effective = [{name: op.to_dense() for name, op in one.operators.items()} for one in programmed.field.fields]
    found, slopes = loss_and_gradients(held, some, processor=CHIP, occasion="a")
    made = model.with_tensors(model.tensors | {name: np.stack([one[name] for one in effective]) for name in ("A", "B")})
    wanted, same = loss_and_gradients(made, some)
    np.testing.assert_allclose(found.loss, wanted.loss, rtol=1e-9)
    for name, slope in same.items():
        assert relative(slopes[name], slope) < 1e-8
    short = replace(TASK, schedule=replace(TASK.schedule, epochs=1))
    before = -likelihood(held, TASK.data().test.x, CHIP).mean()
    assert train_flow(short, start=model, processor=CHIP).test_loss < before - 0.1
