"""What a schedule asks for: any optimiser on any model, on digital matrices and on a chip, level after level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import relative

import xbar_spice as xs
from xbar_spice.errors import InvalidInputError
from xbar_spice.solve.integrators.integration import integrate
from xbar_spice.train.gauss_newton import gauss_newton_product
from xbar_spice.train.samples import Samples, Split
from xbar_spice.weights import unroll

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 40))
CLASSES = (X[0] * X[1] > 0).astype(np.int64)
LABELLED = Samples(X, CLASSES)
TARGETED = Samples(X, None, np.tanh(X[::-1]).T)
CHIP = xs.Chip(xs.Design(headroom=3.0, variation=xs.Variation(programming=0.02)), engine="ideal")


def model_of(**others: Any) -> xs.Model:
    rng = np.random.default_rng(1)
    field = xs.ActivationField(rng.normal(size=(4, 2)), 0.5 * rng.normal(size=(2, 4)), "tanh", bias=np.zeros(4))
    return xs.Model(field=field, h=0.5, steps=2, method="forward_euler", **others)


CLASSIFYING = model_of(classifier=xs.Classifier(0.1 * RNG.normal(size=(2, 2)), np.zeros(2)))


@pytest.mark.parametrize("processor", [None, CHIP], ids=["digital", "chip"])
@pytest.mark.parametrize("optimiser", ["adam", "lbfgs", "gauss-newton"])
@pytest.mark.parametrize(
    ("model", "data"), [(CLASSIFYING, LABELLED), (model_of(), TARGETED)], ids=["labels", "targets"]
)
def test_every_optimiser_trains_every_model_on_levels(
    model: xs.Model, data: Samples, optimiser: Any, processor: xs.Chip | None
) -> None:
    schedule = xs.Schedule(
        epochs=2, batch=40, jitter=0.0, learning_rate=0.1, optimiser=optimiser, levels=2, smoothness=1e-4, unroll=True
    )
    seen: list[int] = []
    split = Split(data, data)
    done = xs.tune(model, schedule, processor=processor, digits=split, progress=lambda epoch: seen.append(epoch.number))
    assert (done.model.h, done.model.steps, len(done.model.field.fields)) == (0.25, 4, 4)
    assert seen == [epoch.number for epoch in done.history] == [1, 2, 3, 4]
    assert {epoch.of for epoch in done.history} == {4}
    assert done.history[-1].test.loss < 0.9 * done.before.loss
    assert (done.history[-1].accuracy is None) == (data.labels is None)


def test_all_samples_at_once_beat_minibatches_by_far() -> None:
    losses = {
        optimiser: xs.tune(
            model_of(),
            xs.Schedule(epochs=12, batch=40, jitter=0.0, optimiser=optimiser),
            digits=Split(TARGETED, TARGETED),
        )
        .history[-1]
        .loss
        for optimiser in ("adam", "lbfgs", "gauss-newton")
    }
    assert max(losses["lbfgs"], losses["gauss-newton"]) < 0.3 * losses["adam"]


def test_the_gauss_newton_product_of_kernels_is_that_of_differences() -> None:
    """J of the kernels of a convolution, by central differences of the last states."""
    rng = np.random.default_rng(2)
    A, B = (xs.Convolution(rng.normal(size=9) / 3, (3, 3)) for _ in range(2))
    field = xs.ActivationField(A, B, "tanh", bias=np.zeros(9))
    model = xs.Model(field=field, h=0.5, steps=2, method="forward_euler")
    z0, v = rng.normal(size=(9, 5)), {name: rng.normal(size=value.shape) for name, value in model.tensors.items()}

    def last(by: float) -> np.ndarray:
        moved = model.with_tensors({name: value + by * v[name] for name, value in model.tensors.items()})
        return integrate(moved.field, z0, "forward_euler", h=0.5, steps=2).z[-1]

    run = integrate(model.field, z0, "forward_euler", h=0.5, steps=2)
    product = gauss_newton_product(model, run, v)
    along = (last(1e-5) - last(-1e-5)) / 2e-5
    curvature = sum(float(np.vdot(product[name], v[name])) for name in v)
    assert curvature == pytest.approx(float(np.vdot(along, along)) / 5, rel=1e-7)


def test_unrolled_weights_are_the_same_model() -> None:
    held = CHIP.prepared(model_of())
    found = unroll(held)
    assert found.weight_range == 2 * held.weight_range
    assert found.tensors["A"].shape == (2, 4, 2)
    states = [integrate(m.field, X, m.method, **m.times).z for m in (held, found)]
    assert relative(states[1], states[0]) < 1e-15
    assert unroll(found) is found


@pytest.mark.parametrize(
    ("schedule", "processor", "text"),
    [
        (xs.Schedule(smoothness=0.1), None, "weights of its own by unroll"),
        (xs.Schedule(optimiser="lbfgs"), xs.Dropout(0.1), "leave out dropout"),
        (xs.Schedule(optimiser="gauss-newton"), xs.FixedPoint(3, 4), "leave out dropout"),
    ],
)
def test_what_would_have_no_effect_is_refused(schedule: xs.Schedule, processor: Any, text: str) -> None:
    with pytest.raises(InvalidInputError, match=text):
        xs.tune(CLASSIFYING, schedule, processor=processor, digits=Split(LABELLED, LABELLED))


def test_schedules_refuse_what_is_no_level() -> None:
    with pytest.raises(InvalidInputError, match="levels must be a whole number from 1 to 30"):
        xs.Schedule(levels=0)
    with pytest.raises(InvalidInputError, match="trained="):
        xs.Schedule(optimiser="lbfgs", trained="classifier")
