"""The verb `show`: one array of a model under a read, under biases, and as a pulse."""

import re

import numpy as np
import pytest
from click.testing import CliRunner

import xbar_spice as xs
from xbar_spice.cli.app import app


@pytest.fixture
def weights(tmp_path, rng):
    model = xs.Model(rng.standard_normal((4, 3)), rng.standard_normal((3, 4)), h=0.1, steps=2)
    xs.save_model(tmp_path / "small.npz", model)
    return tmp_path / "small.npz"


def shown(weights, *options, verb="array", code=0):
    arguments = ["show", verb, str(weights), "--output", str(weights.parent / "shown"), "--r-word", "5", *options]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


@pytest.mark.parametrize(
    ("options", "connected"),
    [
        ((), ["left", "bottom"]),
        (("--side", "cols"), ["left", "bottom"]),
        (("--drive", "double", "--r-driver", "20"), ["left", "right", "bottom"]),
        (("--left", "0.2", "--top", "0,open,0,open", "--r-top", "50"), ["left", "top"]),
        (("--select", "1,2", "--scheme", "floating", "--volts", "1.2"), ["left", "bottom"]),
        (
            ("--left", "0.2", "--bottom", "0.1", "--amplified", "bottom", "--r-feedback", "1e4", "--gain", "1e7"),
            ["left", "bottom"],
        ),
    ],
    ids=["read", "transposed", "double", "biases", "scheme", "amplifiers"],
)
def test_show_array_prints_what_solve_array_finds(weights, options, connected):
    said = shown(weights, "--name", "A.t0_0p", *options)
    for edge in ("left", "right", "top", "bottom"):
        assert bool(re.search(rf"^│ {edge} ", said, re.M)) == (edge in connected)
    sums = [float(row) for row in re.findall(r"(-?\d\S*) │$", said.split("into the terminals")[1], re.M)]
    assert abs(sum(sums)) < 1e-5 * max(map(abs, sums))
    assert (weights.parent / "shown" / "array_A_t0_0p.png").exists()


def test_both_halves_of_a_pair_are_shown(weights):
    said = shown(weights, "--name", "B.t0_0")
    assert "B.t0_0p: 4 word lines x 3 bit lines" in said
    assert "B.t0_0m: 4 word lines x 3 bit lines" in said


def test_numbers_are_those_of_the_array(weights):
    model = xs.load_model(weights)
    (array,) = [x for x in xs.map_weights(model.A, xs.Design(r_word=5.0)).arrays if x.name == "t0_0p"]
    solution = xs.solve_array(array.crossbar, np.full(3, 0.2))
    said = shown(weights, "--name", "A.t0_0p")
    row, col = solution.worst_cell
    assert re.search(rf"│ {row}, {col} .* {solution.cell_currents[row, col]:.4g} │", said)
    assert f"{solution.currents.bottom.sum():.6g}" in said


def test_show_pulse_says_settling_and_energy(weights):
    said = shown(weights, "--name", "A.t0_0p", "--width", "1e-8", verb="pulse")
    assert re.search(r"within 1 % +after \S+ s", said)
    assert re.search(r"energy +\S+ J: cells \S+ J, wires \S+ J, periphery", said)
    assert (weights.parent / "shown" / "pulse_A_t0_0p.svg").exists()


def test_show_pulse_takes_biases_and_gates(weights):
    said = shown(weights, "--name", "A.t0_0p", "--select", "1,2", "--scheme", "V/3", "--volts", "0.9", verb="pulse")
    assert re.search(r"energy +\S+ J", said)
    gated = ("--name", "A.t0_0p", "--device", "neurosim_1t1r", "--left", "0.2", "--bottom", "0")
    off = shown(weights, *gated, "--gates", "0")
    assert re.search(r"power +-?0 W", off)
    assert not re.search(r"power +-?0 W", shown(weights, *gated, "--gates", "1.2,0,0"))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--name", "C.t0_0"), "--name is a matrix, a dot and an array"),
        (("--name", "A.t7_0"), "there is no array 'A.t7_0'; the arrays of this design are A.t0_0p, A.t0_0m"),
        (("--left", "0.1,much"), "--left is a number, or numbers and 'open' between commas"),
        (("--select", "1"), "--select is a row and a column, such as 3,4"),
        (("--select", "1,2", "--left", "0.1"), "--select sets all voltages"),
        (("--gates", "1.2"), "--gates of a read: give --select"),
    ],
)
def test_what_cannot_be_shown_is_refused(weights, options, text):
    assert text in " ".join(shown(weights, *options, code=2).split())
