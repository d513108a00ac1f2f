"""Weights that pulses move along curves of their own."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

import xbar_spice as xs
from xbar_spice.cli.app import app
from xbar_spice.errors import InvalidInputError
from xbar_spice.train.samples import Samples, Split


def test_even_curves_give_what_was_wanted_but_for_their_steps(rng):
    even = xs.PulseUpdate(tuple(range(101)), tuple(range(100, -1, -1)))
    weights, wanted = rng.uniform(-1, 1, (2, 40, 40))
    found = even.moved(weights, wanted, 1.0, rng)
    assert np.abs(found - wanted).max() <= 0.02 * (1 + 1e-9)
    assert abs((found - wanted).mean()) < 0.002  # rests by chance leave no bias
    np.testing.assert_array_equal(even.moved(weights, weights, 1.0, rng), weights)


def test_soft_bounds_follow_their_closed_form(rng):
    step, pulses = 0.01, 30
    soft = xs.PulseUpdate.soft_bounds(step)
    mean = (soft.rise[-1] - soft.rise[0]) / (len(soft.rise) - 1)
    start = np.array(soft.rise[50])
    found = soft.moved(start, start + 1e-9 + pulses * mean / (0.5 * (soft.ends[1] - soft.ends[0])), 1.0, rng)
    closed = 1.0 - (1.0 - start) * (1.0 - step) ** pulses
    assert found == pytest.approx(closed, abs=step)
    up, down = (soft.moved(np.array(0.8), np.array(0.8 + sign * 0.1), 1.0, rng) - 0.8 for sign in (1, -1))
    assert up < 0.5 * -down  # near its upper end a device goes down more easily


def test_a_chip_is_tuned_in_steps_of_its_pulses(rng):
    classifier = xs.Classifier(rng.standard_normal((2, 3)), np.zeros(2))
    model = xs.Model(*(rng.standard_normal((2, 3, 3)) / 3), h=0.1, steps=1, classifier=classifier)
    samples = Samples(rng.standard_normal((3, 8)), np.arange(8) % 2)
    chip = xs.Chip(xs.Design(), engine="ideal", update=xs.PulseUpdate(tuple(range(101)), tuple(range(100, -1, -1))))
    schedule = xs.Schedule(epochs=1, batch=8, learning_rate=0.05, jitter=0.0)
    tuned = xs.tune(model, schedule, processor=chip, digits=Split(samples, samples)).model
    moved = (tuned.A - model.A) / (2 * np.abs(model.A).max() / 100)
    assert np.abs(moved).max() > 0.5
    inside = np.abs(tuned.A) < 0.999 * np.abs(model.A).max()
    np.testing.assert_allclose(moved[inside], np.round(moved[inside]), atol=1e-9)


def test_the_verb_tunes_along_measured_curves(tmp_path, rng):
    classifier = xs.Classifier(rng.standard_normal((2, 3)), np.zeros(2))
    model = xs.Model(*(rng.standard_normal((2, 3, 3)) / 3), h=0.1, steps=1, classifier=classifier)
    xs.save_model(tmp_path / "m.npz", model)
    rows = (f"{a},{b},{c},{label}" for label, (a, b, c) in zip(np.arange(16) % 2, rng.random((16, 3)), strict=True))
    (tmp_path / "data.csv").write_text("\n".join(["x0,x1,x2,label", *rows]))
    (tmp_path / "curves.csv").write_text("\n".join(["rise,fall", *(f"{k},{20 - k}" for k in range(21))]))
    options = ["--data", tmp_path / "data.csv", "--engine", "ideal", "--epochs", 1, "--learning-rate", 0.3]
    command = ["tune", tmp_path / "m.npz", "--output", tmp_path / "t.npz", *options]
    update = f"curves(file='{tmp_path / 'curves.csv'}')"
    done = CliRunner().invoke(app, [str(word) for word in (*command, "--update", update)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    tuned, largest = xs.load_model(tmp_path / "t.npz"), np.abs(model.A).max()
    moved, inside = (tuned.A - model.A) / (largest / 10), np.abs(tuned.A) < 0.999 * largest
    assert np.abs(moved).max() > 0.5
    np.testing.assert_allclose(moved[inside], np.round(moved[inside]), atol=1e-6)
    assert xs.Chip(xs.Design(), update=update) == xs.Chip(xs.Design(), update=xs.PulseUpdate(
        tuple(map(float, range(21))), tuple(map(float, range(20, -1, -1)))
    ))  # fmt: skip
    with pytest.raises(InvalidInputError, match="update"):
        xs.Chip(xs.Design(), update="staircase")


def test_curves_that_lead_nowhere_are_refused():
    with pytest.raises(InvalidInputError, match="rise must ascend"):
        xs.PulseUpdate((0.0, 1.0, 0.5), (1.0, 0.0))
    with pytest.raises(InvalidInputError, match="range in common"):
        xs.PulseUpdate((0.0, 1.0), (3.0, 2.0))
