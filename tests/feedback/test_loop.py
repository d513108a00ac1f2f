"""The loop of A and B: what it solves, in both engines, when it settles, and what it says when it does not."""

import json
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from support import engine_or_skip, relative

from xbar_spice.cli.app import app
from xbar_spice.errors import InvalidInputError, StabilityError
from xbar_spice.feedback import FeedbackLoop, OpAmp
from xbar_spice.feedback.stability import two_pole_margin
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.crossbar import Terminations
from xbar_spice.hardware.variation import Variation
from xbar_spice.mapping.analog_matrix import program
from xbar_spice.mapping.design import Design
from xbar_spice.weights import Model, save_model

WIRED = Design(r_word=2.0, r_bit=1.0, r_driver=20.0, r_sense=7.0, tile=3, variation=Variation(programming=0.05))
N, M, BATCH, C = 4, 6, 3, 0.3
by_hand = pytest.mark.skipif(shutil.which("ngspice") is None, reason="the ngspice command is not installed")


def weights(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(M, N)), rng.normal(size=(N, M)) / 2


def programmed(design, seed=0):
    """A and B, the same devices at each call."""
    return tuple(program(W, design, rng=np.random.default_rng(k)) for k, W in enumerate(weights(seed)))


def questions(seed=1):
    """Slopes and right-hand sides."""
    rng = np.random.default_rng(seed)
    return rng.random((M, BATCH)) < 0.6, rng.normal(size=(N, BATCH))


def exact(A, B, slopes, rhs, c=C):
    systems = [np.eye(len(rhs)) - c * B @ np.diag(column.astype(float)) @ A for column in slopes.T]
    return np.stack([np.linalg.solve(system, r) for system, r in zip(systems, rhs.T, strict=True)], axis=1)


def effective(A, B, transposed):
    """What the loop should hold: the products that reads return, in its direction."""
    return (B.T.to_dense(), A.T.to_dense()) if transposed else (A.to_dense(), B.to_dense())


@pytest.mark.parametrize("mapping", ["differential", "interleaved"])
@pytest.mark.parametrize("drive", ["single", "double"])
@pytest.mark.parametrize("ends", ["same_ends", "swapped_ends", "far_ends"])
@pytest.mark.parametrize("transposed", [False, True])
def test_with_ideal_op_amps_it_solves_the_system_of_the_reads_whatever_the_wires(mapping, drive, ends, transposed):
    A, B = programmed(replace(WIRED, mapping=mapping, terminations=Terminations(drive, ends)))
    slopes, rhs = questions()
    with FeedbackLoop(A, B, opamp=OpAmp(np.inf), r_switch=0.0) as loop:
        found = loop.solve(slopes, C, rhs, transposed=transposed)
    assert relative(found, exact(*effective(A, B, transposed), slopes, rhs)) < 1e-10


@pytest.mark.ngspice
@pytest.mark.parametrize("mapping", ["differential", "interleaved"])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("r_switch", "slopes"), [(150.0, "bits"), (0.0, "numbers")])
def test_engines_agree(mapping, transposed, r_switch, slopes):
    A, B = programmed(replace(WIRED, mapping=mapping))
    bits, rhs = questions()
    given = bits if slopes == "bits" else 0.7 * bits + 0.1
    opamp, engine = OpAmp(500.0), engine_or_skip("ngspice")
    with (
        FeedbackLoop(A, B, opamp=opamp, r_switch=r_switch) as nodal,
        FeedbackLoop(A, B, opamp=opamp, r_switch=r_switch, engine=engine) as simulated,
    ):
        wanted = nodal.solve(given, C, rhs, transposed=transposed)
        assert relative(simulated.solve(given, C, rhs, transposed=transposed), wanted) < 1e-9
        again = simulated.solve(given[:, ::-1], C, rhs[:, ::-1], transposed=transposed)  # the same resident circuit
        assert relative(again[:, ::-1], wanted) < 1e-9
    assert relative(wanted, exact(*effective(A, B, transposed), given, rhs)) > 1e-3


def test_the_transposed_loop_is_the_transpose_for_ideal_op_amps():
    A, B = programmed(WIRED)
    slopes = np.repeat(questions()[0][:, :1], N, axis=1)
    with FeedbackLoop(A, B, opamp=OpAmp(np.inf), r_switch=0.0) as loop:
        forward, back = (loop.solve(slopes, C, np.eye(N), transposed=transposed) for transposed in (False, True))
    assert relative(back, forward.T) < 1e-11


@pytest.mark.parametrize("cause", ["wires", "gain", "switches"])
def test_each_error_falls_linearly_with_its_cause(cause):
    slopes, rhs = questions()
    wanted = exact(*weights(), slopes, rhs)
    errors = []
    for part in (1e-2, 1e-3, 1e-4):
        r, gain, ohm = {"wires": (part, np.inf, 0), "gain": (0, 1e2 / part, 0), "switches": (0, np.inf, part)}[cause]
        A, B = programmed(Design(r_word=r, r_bit=r, r_driver=r))
        with FeedbackLoop(A, B, opamp=OpAmp(gain), r_switch=ohm) as loop:
            errors.append(relative(loop.solve(slopes, C, rhs), wanted))
    assert errors[0] > 1e-9
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.15)
    assert errors[1] / errors[2] == pytest.approx(10, rel=0.02)


def test_a_record_holds_the_error_against_both_systems():
    A, B = programmed(WIRED)
    slopes, rhs = questions()
    records = []
    with FeedbackLoop(A, B, opamp=OpAmp(1e3), trace=records) as loop:
        x = loop.solve(slopes, C, rhs)
        slowest = min(loop.rates(column, C)[0].real for column in slopes.T)
    (record,) = records
    for found, (first, second) in (
        (record.error, effective(A, B, False)),
        (record.digital_error, weights()),
    ):
        wanted = exact(first, second, slopes, rhs)
        ratios = np.linalg.norm(x - wanted, axis=0) / np.linalg.norm(wanted, axis=0)
        assert found == pytest.approx(ratios.max(), rel=1e-6)
    assert (record.direction, record.batch) == ("forward", BATCH)
    assert record.time_constant == pytest.approx(1 / slowest)


def test_columns_that_are_not_finite_leave_the_others_alone():
    A, B = programmed(Design())
    slopes, rhs = questions()
    with FeedbackLoop(A, B) as loop:
        wanted = loop.solve(slopes, C, rhs)
        rhs[0, 1] = np.inf
        found = loop.solve(slopes, C, rhs)
        assert np.isnan(loop.solve(slopes[:, 1:2], C, rhs[:, 1:2])).all()
    assert np.isnan(found[:, 1]).all()
    np.testing.assert_array_equal(found[:, [0, 2]], wanted[:, [0, 2]])


def growing():
    """B D A = A^T A with D = 1: symmetric, so that the loop is unstable from c |A|^2 of about 1 on, without turning."""
    A = weights()[0]
    return A, A.T, float(np.linalg.norm(A, 2)) ** 2


def test_stability_flips_where_an_eigenvalue_of_the_system_reaches_zero():
    A, B, size = growing()
    lowest = []
    with FeedbackLoop(program(A), program(B), opamp=OpAmp(np.inf), r_switch=0.0) as loop:
        for part in (0.5, 0.9, 0.999, 1.001, 1.1, 2.0):
            lowest.append(loop.rates(np.ones(M, bool), part / size)[0].real)
        loop.solve(np.ones((M, 1), bool), 0.999 / size, np.ones((N, 1)))
        with pytest.raises(
            StabilityError, match=r"loop of right-hand side 0, c = .*, is unstable: .* smaller time steps"
        ):
            loop.solve(np.ones((M, 1), bool), 1.001 / size, np.ones((N, 1)))
        mixed = np.array([[False, True]] * M)
        with pytest.raises(StabilityError, match="the transposed feedback loop of right-hand side 1"):
            loop.solve(mixed, 1.1 / size, np.ones((N, 2)), transposed=True)
    np.testing.assert_array_equal(np.array(lowest) > 0, [True] * 3 + [False] * 3)


def test_a_turning_loop_needs_more_than_eigenvalues_of_the_system_in_the_right_half_plane():
    """Eigenvalues of c B D A are +-i t: those of the system are 1 -+ i t, but two equal poles allow t < 2 only."""
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    stable = {}
    with FeedbackLoop(program(turn), program(np.eye(2)), opamp=OpAmp(np.inf), r_switch=0.0) as loop:
        for t in (0.5, 1.0, 1.9, 3.0, 10.0):
            stable[t] = loop.rates(np.ones(2, bool), t)[0].real > 0
            margin = two_pole_margin(np.array([1j * t, -1j * t]))
            assert margin == pytest.approx(1 - t**2 / 4)
            if margin < 0:
                assert not stable[t]
    assert stable[0.5]
    assert not stable[3.0]


@pytest.mark.parametrize("ratio", [0.1, 1.0, 7.0])
def test_the_closed_form_of_two_poles_is_that_of_the_companion_system(ratio, rng):
    """[[b, b h], [a g, a]] with g h of the eigenvalue mu."""
    for _ in range(200):
        mu = complex(*rng.normal(size=2)) * 2
        companion = np.array([[1.0, mu], [ratio, ratio]])
        assert (np.linalg.eigvals(companion).real.min() > 0) == (two_pole_margin(np.array([mu]), ratio) > 0)


@pytest.mark.ngspice
@by_hand
@pytest.mark.parametrize("part", [0.5, 1.5])
def test_ngspice_sees_the_loop_settle_or_run_away_at_the_computed_rate(part, tmp_path):
    A, B, size = growing()
    rhs = np.random.default_rng(5).normal(size=N)
    slopes, c = np.ones(M, bool), part / size
    with FeedbackLoop(program(A, Design()), program(B, Design()), opamp=OpAmp(1e4, 1e6), check_stability=False) as loop:
        rate = loop.rates(slopes, c)[0]
        assert rate.imag == 0
        end = (15 if part < 1 else 12) / abs(rate.real)
        times, volts = transient(loop.deck(slopes, c, rhs, tran=(end / 600, end)).text, tmp_path)
        resting = loop.solve(slopes[:, np.newaxis], c, rhs[:, np.newaxis])[:, 0]
        resting *= loop.volts_per_unit(rhs[:, np.newaxis])
    if part < 1:
        assert relative(volts[-1], resting) < 1e-4
        away = np.abs(volts - resting).max(axis=1)
        assert 1e-5 < np.interp(6 / rate.real, times, away) / away[0] < 1e-1
    else:
        first, last = np.searchsorted(times, [0.6 * end, 0.95 * end])
        growth = np.log(np.abs(volts[last] / volts[first])) / (times[last] - times[first])
        assert growth == pytest.approx(-rate.real, rel=0.02)


def transient(deck, folder):
    """Times and node voltages that `ngspice -b` prints for a deck."""
    path = folder / "loop.cir"
    path.write_text(deck)
    done = subprocess.run(["ngspice", "-b", str(path)], capture_output=True, text=True, check=True, timeout=300)
    rows = np.array(re.findall(r"^\d+\t(\S+)\t(\S+)\s*$", done.stdout, re.M), dtype=float)
    tables = rows.reshape(N, -1, 2)
    return tables[0, :, 0], tables[:, :, 1].T


@pytest.mark.ngspice
@by_hand
def test_exported_decks_run_by_hand_and_hold_what_their_manifests_say(tmp_path):
    A, B = weights()
    save_model(tmp_path / "small.npz", Model(A, B, h=0.2, steps=2))
    options = ["--feedback", "--tile", "3", "--r-word", "1", "--r-driver", "20", "--programming", "0.05"]
    done = CliRunner().invoke(
        app, ["netlist", str(tmp_path / "small.npz"), "--output", str(tmp_path), *options], catch_exceptions=False
    )
    for name in ("loop.forward", "loop.transposed", "feedback"):
        assert f"{name}.cir" in done.output
        manifest = json.loads((tmp_path / f"{name}.json").read_text())
        deck = tmp_path / manifest["deck"]
        assert "weights: small.npz" in deck.read_text()
        printed = subprocess.run(["ngspice", "-b", str(deck)], capture_output=True, text=True, check=True, timeout=300)
        volts = dict(re.findall(r"^\s+(\S+)\s+(\S+)$", printed.stdout, re.M))
        found = np.array([float(volts[node]) for node in manifest["nodes"]]) / manifest["volts_per_solution"]
        assert relative(found, manifest["solution"]) < 2e-4  # batch mode prints six digits
        assert manifest["slowest_rate"] > 0
    solution, rhs = np.array(manifest["solution"]), np.array(manifest["rhs"])
    slopes = np.array(json.loads((tmp_path / "loop.forward.json").read_text())["slopes"])
    system = np.eye(N) - 0.2 * B @ np.diag(slopes) @ A
    assert relative(solution, np.linalg.solve(system, rhs)) < 0.2  # its devices are 5 % off


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (
            lambda A, B: FeedbackLoop(A, A),
            r"needs A \(m, n\) and B \(n, m\), without a bias, got \(6, 4\) and \(6, 4\)",
        ),
        (lambda A, B: FeedbackLoop(A, B, r_switch=-1.0), "r_switch must be finite and >= 0 ohm, got -1.0"),
        (lambda A, B: FeedbackLoop(A, B, engine="ideal"), "'nodal' or 'ngspice', got 'ideal'"),
        (lambda A, B: FeedbackLoop(A, B).solve(np.ones((M, 1)), 0.0, np.ones((N, 1))), "c must be finite and > 0"),
        (lambda A, B: FeedbackLoop(A, B).solve(np.ones((M, 2)), C, np.ones((N, 1))), r"takes slopes \(6, batch\)"),
        (lambda A, B: FeedbackLoop(A, B, opamp=OpAmp(np.inf)).deck(np.ones(M), C, np.ones(N)), "a finite gain"),
        (lambda A, B: two_pole_margin(np.ones(1), 0.0), "ratio of two feedback factors must be > 0, got 0.0"),
    ],
)
def test_errors_say_what_is_allowed(ask, message):
    with pytest.raises(InvalidInputError, match=message):
        ask(*programmed(Design()))


def test_op_amps_of_the_loop_stand_where_reads_have_amplifiers():
    slopes, rhs = questions()
    amplified = replace(WIRED, amplifier=Amplifier(r_feedback=1e4, gain=300.0))
    found, records = [], []
    for design in (WIRED, amplified):
        with FeedbackLoop(*programmed(design), opamp=OpAmp(1e6), r_switch=0.0, trace=records) as loop:
            found.append(loop.solve(slopes, C, rhs))
    np.testing.assert_array_equal(*found)
    assert records[1].error > 100 * records[0].error  # reads with poor amplifiers return another matrix


def test_solves_are_recorded_where_reads_have_amplifiers_that_saturate():
    """Such reads multiply by no matrix; the loop has op-amps of its own in their place."""
    slopes, rhs = questions()
    errors = []
    for amplifier in (Amplifier(), Amplifier(r_feedback=1e3, saturation=0.2)):
        trace = []
        A, B = programmed(replace(WIRED, amplifier=amplifier))
        with A, B, FeedbackLoop(A, B, trace=trace) as loop:
            loop.solve(slopes, C, rhs)
        errors.append(trace[0].error)
    assert 0 < errors[0] == errors[1] < 0.05
