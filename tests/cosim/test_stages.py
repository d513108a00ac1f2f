"""Models of several stages with pooling between them: gradients, reads of every stage, files, one stage as two."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import xbar_spice as xs
from xbar_spice.cli.app import app
from xbar_spice.cosim.run import SolverOptions, solve_model
from xbar_spice.cosim.run.made import fingerprint
from xbar_spice.errors import ConvergenceError, ConvergenceWarning, InvalidInputError, WeightsError
from xbar_spice.train.descent import evaluate, loss_and_gradients
from xbar_spice.train.samples import Samples

RNG = np.random.default_rng(0)
TIGHT = xs.SolverOptions(xs.NewtonOptions(rtol=1e-12), xs.KrylovOptions(rtol=1e-12))
WIRED = xs.Design(r_word=20.0, r_bit=20.0, headroom=2.0)
LABELS = np.array([0, 2])
IMAGES = RNG.standard_normal((16, 2))


def normal(*shape: int) -> Any:
    return RNG.standard_normal(shape) / 2


def layer(*shape: int) -> xs.LayerField:
    return xs.LayerField(normal(*shape), normal(shape[0]), "tanh")


def several() -> xs.Model:
    """Two channels of 4 x 4 pixels, their means on 2 x 2 with weights of each step, and three numbers of the maxima."""
    fine = xs.Model(
        field=xs.LayerField(xs.Convolution(normal(2, 2, 3, 3), (4, 4), "zero"), normal(2), "tanh"),
        h=0.25, steps=1, method="rk4", encoder=xs.Encoder(normal(2, 1, 3, 3), image_shape=(4, 4), activation="tanh"),
    )  # fmt: skip
    middle = xs.Model(
        field=xs.Layers([layer(8, 8), layer(8, 8)]), h=0.25, steps=2, method="ab3",
        encoder=xs.Pool("mean", (4, 4), channels=2), on_arrays=("bias",),
    )  # fmt: skip
    coarse = xs.Model(
        field=layer(3, 3), h=0.25, steps=1,
        encoder=xs.Encoder(normal(3, 2, 1, 1), image_shape=(2, 2), pooling="max"),
        classifier=xs.Classifier(normal(3, 3), normal(3)),
    )  # fmt: skip
    return xs.staged([fine, middle, coarse], on_arrays=("encoder", "pooling"))


MODEL = several()
HELD = xs.Chip(WIRED).prepared(MODEL)


def problem(model: xs.Model) -> xs.Problem:
    assert model.classifier is not None
    return xs.Problem(model, IMAGES, xs.CrossEntropy(model.classifier, LABELS))


def test_every_stage_has_arrays_and_reads_of_its_own_and_pooling_has_one() -> None:
    found = xs.cosimulate(problem(MODEL), WIRED, engine="nodal")
    reads = found.record.reads
    assert {name: reads[f"{name} forward"] for name in ("encoder.0.weight", "encoder.2.pool", "encoder.4.weight")} == {
        "encoder.0.weight": 1, "encoder.2.pool": 1, "encoder.4.weight": 1,
    }  # fmt: skip
    assert reads["encoder.1.field.K forward"] == reads["encoder.1.field.K transposed"] == 4  # of rk4
    assert reads["encoder.3.field.K[1] forward"] == reads["encoder.3.field.K[1] transposed"] == 1
    assert reads["K forward"] > 1
    assert "encoder.0.weight transposed" not in reads  # the cotangent of the inputs is nobody's
    assert len(found.record.convergence["analog"].newton_iterations) == 4
    assert found.gradients.keys() >= MODEL.tensors.keys()
    assert all(one.relative_error > 0 for one in found.record.gradients.values())
    without = xs.cosimulate(problem(replace(MODEL, on_arrays=())), WIRED, engine="nodal").record.reads
    assert without.keys() == {name for name in reads if "pool" not in name and ".weight" not in name}


def test_gradients_of_all_stages_are_those_of_the_loss() -> None:
    found = solve_model(problem(HELD), HELD.field, TIGHT).parameters
    draw = np.random.default_rng(7)
    for name, value in HELD.tensors.items():
        direction = draw.standard_normal(value.shape)
        up, down = (loss(HELD.with_tensors({name: value + side * 1e-5 * direction}), None) for side in (1, -1))
        assert np.vdot(found[name], direction) == pytest.approx((up - down) / 2e-5, rel=1e-6, abs=1e-9), name


def loss(model: xs.Model, chip: xs.Chip | None) -> float:
    return evaluate(model, Samples(IMAGES, LABELS), processor=chip, tolerance=1e-12).loss


def test_the_true_gradient_of_all_stages_is_that_of_the_loss_on_the_chip() -> None:
    """Along one direction of everything that is trained, and along one of the stages in front alone."""
    found = xs.three_gradients(problem(HELD), WIRED, solver=TIGHT, step=None).gradients
    draw = np.random.default_rng(7)
    for part in ("", "encoder."):
        way = {name: draw.standard_normal(one.shape) for name, one in HELD.tensors.items() if name.startswith(part)}
        for name, direction in way.items():
            value = np.abs(HELD.tensors[name])
            if name.endswith(".weight"):  # whose largest entry says what a weight of 1 is
                direction[value == value.max()] = 0.0
        moved = [{name: HELD.tensors[name] + side * 1e-5 * one for name, one in way.items()} for side in (1, -1)]
        up, down = (loss(HELD.with_tensors(one), xs.Chip(WIRED)) for one in moved)
        along = {kind: sum(np.vdot(found[kind][name], one) for name, one in way.items()) for kind in found}
        assert along["true"] == pytest.approx((up - down) / 2e-5, rel=1e-6)
        assert abs(along["hardware"] - along["true"]) > 1e-3 * abs(along["true"])


def test_training_on_a_chip_has_the_gradients_of_the_co_simulation() -> None:
    study = xs.three_gradients(problem(HELD), WIRED, solver=TIGHT, step=None).gradients
    for kind in ("hardware", "true"):
        chip = xs.Chip(WIRED, gradient=kind)  # type: ignore[arg-type]
        _, found = loss_and_gradients(HELD, Samples(IMAGES, LABELS), processor=chip, tolerance=1e-12)
        assert found.keys() == HELD.tensors.keys()
        for name, value in found.items():
            np.testing.assert_allclose(value, study[kind][name], rtol=1e-6, atol=1e-9)


def test_a_run_in_two_stages_is_one_run() -> None:
    field, z0 = xs.LayerField(normal(3, 3), normal(3), "tanh"), normal(3, 2)
    first, second, whole = (xs.Model(field=field, h=0.25, steps=k, method="rk4") for k in (2, 3, 5))
    loss = xs.SquaredDistance(np.zeros((3, 2)))
    parts, one = (
        solve_model(xs.Problem(model, z0, loss), field, SolverOptions())
        for model in (xs.staged([first, second]), whole)
    )
    np.testing.assert_array_equal(parts.final, one.final)
    assert parts.convergence["converged"]
    for name in ("K", "bias"):
        both = parts.parameters[name] + parts.parameters[f"encoder.0.field.{name}"]
        np.testing.assert_allclose(both, one.parameters[name], rtol=1e-12)
    finer = xs.prolong(xs.staged([first, second]))
    assert [finer.steps, *(stage.steps for stage in finer.stages.values())] == [6, 4]


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
def test_files_keep_stages(tmp_path: Path, suffix: str) -> None:
    held = replace(HELD, frozen=("encoder.1.field.k",))
    xs.save_model(tmp_path / f"net{suffix}", held)
    again = xs.load_model(tmp_path / f"net{suffix}")
    assert fingerprint(again) == fingerprint(held)
    assert (again.on_arrays, again.frozen) == (held.on_arrays, held.frozen)


def test_the_command_line_co_simulates_stages(tmp_path: Path) -> None:
    weights, samples = tmp_path / "net.npz", tmp_path / "images.npz"
    xs.save_model(weights, MODEL)
    np.savez(samples, x=IMAGES.T, labels=LABELS)
    words = ["cosim", str(weights), "--data", str(samples), "--engine", "ideal"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "encoder.3.field.K forward in" in done.output


def test_an_array_of_means_is_the_pooling() -> None:
    pool = xs.Pool("mean", (4, 4), channels=2)
    x = normal(32, 3)
    np.testing.assert_allclose(pool.operators["pool"].mv(x), pool.encoded(x), rtol=1e-14)
    assert not pool.tensors
    assert not xs.Pool("max", (4, 4)).operators


ONE = xs.Model(field=layer(4, 4), h=0.25, steps=1, method="rk4")
REFUSED: dict[str, tuple[Any, str]] = {
    "one stage": (lambda: xs.staged([ONE]), "two models at least"),
    "lengths": (lambda: xs.staged([MODEL, ONE]), "classifier to the last one"),
    "no pooling": (
        lambda: xs.staged([ONE, xs.Model(field=layer(3, 3), h=0.25, steps=1)]),
        "ends with states of length 4, and stage 1 takes 3: .* such as Pool",
    ),
    "its own encoder": (lambda: xs.Stage(MODEL), "no encoder of its own"),
    "in the classifier": (
        lambda: replace(ONE, classifier=xs.Chain([xs.Stage(ONE), xs.Classifier(np.eye(4))])),
        "put it into the encoder",
    ),
    "maxima on an array": (
        lambda: replace(ONE, encoder=xs.Pool("max", (4, 4)), on_arrays=("pooling",)), "needs a Pool of means",
    ),
    "large blocks": (lambda: xs.Pool("mean", (2, 2), block=3), "do not fit"),
    "weight noise": (lambda: xs.WeightNoise(0.1).prepared(MODEL), "stages in front, encoder.1.field, .*on a chip"),
    "pulses": (
        lambda: xs.Chip(WIRED, update="soft_bounds(step=0.002)").rewritten(HELD, HELD),
        "stages in front of it, .* leave update out",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_says_what_to_do(case: str) -> None:
    made, text = REFUSED[case]
    with pytest.raises((WeightsError, InvalidInputError), match=text):
        made()


def test_a_stage_that_runs_away_is_no_start_for_the_next_one() -> None:
    wild = xs.Model(field=xs.LayerField(1e200 * np.eye(4), activation="identity"), h=1.0, steps=3, method="rk4")
    not_finite = pytest.warns(ConvergenceWarning, match="did not converge")
    with (
        not_finite,
        pytest.raises(ConvergenceError, match=r"stage 0 does not stay finite for 1 of 1 samples.*smaller"),
    ):
        xs.Problem(xs.staged([wild, ONE]), np.ones((4, 1)), xs.SquaredDistance(np.zeros((4, 1))))
