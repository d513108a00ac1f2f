"""Options of what moves weights, and of the numbers that they are kept in."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from click.testing import CliRunner

import xbar_spice as xs
from xbar_spice.cli.app import app


def test_train_takes_schedule_and_numbers_from_its_options(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}
    model = xs.Model([[1.0]], [[1.0]], h=0.1, steps=1)
    last = SimpleNamespace(evaluations=4.0, adjoint_evaluations=3.5, noise=0.25)
    done = SimpleNamespace(
        model=model, test_accuracy=None, test_loss=0.0, train_loss=0.0, seconds=0.0, history=(last, last)
    )
    monkeypatch.setattr("xbar_spice.train.training.train", lambda task, **given: asked.update(given) or done)
    words = "train wine --epochs 2 --batch 16 --optimiser descent --momentum 0.5 --fixed-point 4,8 --dropout 0.2"
    words += " --levels 3 --prolongation constant --unroll --smoothness 1e-4 --weight-decay 0.1"
    command = [
        *words.split(),
        "--rounding",
        "stochastic",
        "--adjoint",
        "augmented",
        "--output",
        str(tmp_path / "wine.npz"),
    ]
    found = CliRunner().invoke(app, command, catch_exceptions=False)
    assert found.exit_code == 0
    assert "4 and 3.5 back in the last; solves stop at the noise of reads, 2.5e-01 of a state" in found.output
    assert asked["schedule"].adjoint == "augmented"
    schedule, processor = asked["schedule"], asked["processor"]
    assert (schedule.epochs, schedule.batch, schedule.optimiser, schedule.momentum) == (2, 16, "descent", 0.5)
    assert (schedule.levels, schedule.prolongation, schedule.unroll) == (3, "constant", True)
    assert (schedule.smoothness, schedule.weight_decay) == (1e-4, 0.1)
    assert processor == xs.Dropout(0.2, on=xs.FixedPoint(4, 8, "stochastic", loss_scale=16.0, on=processor.on.on))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--rounding", "nearest"], "--rounding is of --fixed-point"),
        (["--fixed-point", "4"], "two numbers of bits"),
        (["--optimiser", "lbfgs", "--batch", "8"], "--batch is of minibatches"),
        (["--optimiser", "gauss-newton", "--learning-rate", "0.1"], "--learning-rate is of minibatches"),
        (["--prolongation", "constant"], "give --levels 2 or more"),
    ],
)
def test_what_has_no_effect_is_refused(words: list[str], text: str) -> None:
    found = CliRunner().invoke(app, ["train", "wine", *words])
    assert found.exit_code == 2
    assert text in found.output
