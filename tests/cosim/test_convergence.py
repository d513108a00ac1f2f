"""What does not converge is named: in results, by warnings and errors, and by the verbs, which do not exit with 0.

z - h B relu(A z) = z_0 has no solution for z_0 > 0 where h B A = 5: z would have to be negative to be positive.
"""

import json
import warnings

import click
import numpy as np
import pytest
from click.testing import CliRunner

from xbar_spice.cli.app import app
from xbar_spice.cli.help import Verb
from xbar_spice.cosim import (
    Problem,
    attribute,
    chip_loss,
    chip_losses,
    circuit_gradients,
    cosimulate,
    program_model,
    sensitivity_map,
    sign_flips,
    three_gradients,
)
from xbar_spice.cosim.run.convergence import failed_runs
from xbar_spice.errors import ConvergenceError, ConvergenceWarning, InvalidInputError
from xbar_spice.hardware.variation import Variation
from xbar_spice.mapping.matrix import Design
from xbar_spice.train.losses import SquaredDistance
from xbar_spice.weights import Classifier, Model, save_model

WIRED = Design(r_word=1.0, r_bit=1.0, variation=Variation(programming=0.01))


def model(states, **changes):
    return Model(np.eye(states), 5.0 * np.eye(states), h=1.0, steps=1, **changes)


@pytest.fixture
def problem():
    """Sample 1 has no solution, samples 0 and 2 stay where the field is zero."""
    z0 = np.array([[-1.0, 1.0, -2.0], [-1.0, 0.5, -0.5], [-0.3, 0.2, -1.0]])
    return Problem(model(3), z0, SquaredDistance(np.zeros((3, 3))))


def test_cosimulation_names_its_samples(problem):
    found = cosimulate(problem, WIRED, engine="nodal").record["convergence"]
    assert failed_runs(found) == {"analog": [1], "digital": [1]}


def test_three_gradients_name_every_run_and_every_step(problem):
    with pytest.warns(ConvergenceWarning, match=r"three gradients: 8 of 8 runs .*hardware: samples 1"):
        found = three_gradients(problem, WIRED)
    kinds = ("digital", "hardware", "hybrid", "true")
    named = [*kinds, *(f"step against {kind}" for kind in kinds)]
    assert failed_runs(found.record["convergence"]) == {name: [1] for name in named}
    assert not found.converged
    json.dumps(found.record)


def test_gradients_through_the_circuit_say_so(problem):
    A, B = program_model(problem.model, WIRED, "nodal")
    with A, B:
        assert circuit_gradients(problem, (A, B)).convergence["failed_samples"] == [1]


@pytest.mark.parametrize(("split", "jobs"), [(True, 1), (False, 2)])
def test_attribution_names_its_combinations(problem, split, jobs):
    with pytest.warns(ConvergenceWarning, match="attribution: .*wires: analog: samples 1"):
        found = attribute(problem, WIRED, split=split, jobs=jobs)
    failed = failed_runs(found.record["convergence"])
    assert failed["none: analog"] == failed["wires, programming error: analog"] == [1]
    assert ("wires: true" in failed) == split
    assert not found.converged
    json.dumps(found.record)


def test_a_sensitivity_map_names_its_run(problem):
    with pytest.warns(ConvergenceWarning, match="sensitivity map: .*chip: samples 1"):
        assert failed_runs(sensitivity_map(problem, WIRED).convergence)["chip"] == [1]


def test_a_loss_alone_is_an_error(problem):
    with pytest.raises(ConvergenceError, match="chip of seed 3: samples 1 did not converge"):
        chip_losses(problem, WIRED, [3])
    with pytest.raises(ConvergenceError, match="samples 1 did not converge"):
        chip_loss(problem, WIRED, {})


def test_what_converges_is_quiet(problem):
    solved = Problem(problem.model, problem.z0[:, [0, 2]], SquaredDistance(np.zeros((3, 2))))
    assert three_gradients(solved, WIRED).converged
    assert attribute(solved, WIRED).converged
    assert sensitivity_map(solved, WIRED).converged
    assert np.isfinite(chip_losses(solved, WIRED, range(2))).all()


@pytest.mark.parametrize("lost", [np.nan, np.inf])
def test_signs_of_what_is_not_finite_are_not_compared(lost):
    wrong = np.array([1.0, lost])
    for pair in ((wrong, np.ones(2)), (np.ones(2), wrong)):
        with pytest.raises(InvalidInputError, match=r"finite.*1 of 2"):
            sign_flips(*pair)


VERBS = {
    "cosim": ["--engine", "nodal", "--samples", "2"],
    "gradients": ["--samples", "2"],
    "attribute": ["--samples", "2", "--programming", "0.01", "--jobs", "1"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_verbs_say_it_and_exit_with_1(tmp_path, rng, verb):
    """64 states and a classifier: images of digits have pixels > 0."""
    classifier = Classifier(rng.standard_normal((10, 64)) / 8, np.zeros(10))
    weights = tmp_path / "weights.npz"
    save_model(weights, model(64, classifier=classifier))
    said = CliRunner().invoke(
        app, [verb, str(weights), *VERBS[verb], "--data", "digits", "--output", str(tmp_path / "found")]
    )
    assert said.exit_code == 1, said.output
    assert isinstance(said.exception, SystemExit)
    assert "NOT CONVERGED" in said.output
    assert list((tmp_path / "found").iterdir())  # what there is is kept


@pytest.mark.parametrize("failures", [0, 1, 200])
def test_whatever_a_verb_does_its_warnings_of_convergence_are_its_last_words(failures):
    """Such as a training, which warns at every minibatch."""

    @click.command(cls=Verb)
    def verb():
        for number in range(failures):
            warnings.warn(f"run {number} of a training", ConvergenceWarning, stacklevel=2)
        click.echo("a table")

    said = CliRunner().invoke(verb)
    assert said.exit_code == bool(failures)
    named = [line for line in said.output.splitlines() if line.startswith("NOT CONVERGED")]
    assert len(named) == min(failures, 4)
    assert "200 times in all" in said.output or failures < 200
    assert said.output.startswith("a table")


def test_other_warnings_of_a_verb_stay_warnings():
    @click.command(cls=Verb)
    def verb():
        warnings.warn("a matter of its own", UserWarning, stacklevel=2)

    with pytest.warns(UserWarning, match="a matter of its own"):
        said = CliRunner().invoke(verb)
    assert said.exit_code == 0
