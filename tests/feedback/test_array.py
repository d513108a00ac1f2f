"""The feedback array of Sun et al.: closed form, engines, stability, wires."""

from dataclasses import replace

import numpy as np
import pytest
from support import engine_or_skip, relative

from xbar_spice.engines.ngspice.supervised_circuit import ResidentProcess
from xbar_spice.errors import InvalidInputError, StabilityError
from xbar_spice.feedback import FeedbackSolver, OpAmp
from xbar_spice.hardware.cells import Sinh
from xbar_spice.hardware.crossbar import Terminations
from xbar_spice.mapping.analog_matrix import program
from xbar_spice.mapping.design import Design
from xbar_spice.mapping.matrix import map_weights
from xbar_spice.spice.device_models import load_device

WIRED = Design(r_word=2.0, r_bit=1.0, r_driver=20.0, r_sense=7.0, tile=4)


def matrix(symmetric, size=6):
    rng = np.random.default_rng(3)
    W = 2.5 * np.eye(size) + 0.5 * rng.normal(size=(size, size))
    return (W + W.T) / 2 if symmetric else W


def solved(mapped, b, gain=1e4, **options):
    with FeedbackSolver(mapped, opamp=OpAmp(gain), **options) as solver:
        return solver.solve(b)


@pytest.mark.parametrize("name", ["nodal", "ngspice"])
@pytest.mark.parametrize("gain", [50.0, 1e4])
@pytest.mark.parametrize("symmetric", [True, False])
def test_closed_form_with_finite_gain(name, gain, symmetric, rng):
    """(G + D / a) v = -G0 f, the minus devices behind inverters of the same op-amps."""
    W, b = matrix(symmetric), rng.normal(size=(6, 3))
    mapped = map_weights(W)
    k, G0 = mapped.siemens_per_weight, 3e-5
    plus, minus = (array.crossbar.conductance.T for array in mapped.arrays)
    G = plus - minus / (1 + 2 / gain)
    D = np.diag((plus + minus).sum(axis=1) + G0)
    wanted = np.linalg.solve(G + D / gain, k * b)
    found = solved(mapped, b, gain, engine=engine_or_skip(name), input_conductance=G0)
    assert relative(found, wanted) < 1e-9


@pytest.mark.parametrize("symmetric", [True, False])
def test_closed_form_of_an_array_of_plus_devices(symmetric, rng):
    """As published, without inverters."""
    W, b = np.abs(matrix(symmetric)), rng.normal(size=6)
    mapped = map_weights(W, Design(g_min=0.0))
    alone = replace(mapped, arrays=mapped.arrays[:1])
    G, gain = mapped.siemens_per_weight * W, 300.0
    D = np.diag(G.sum(axis=1) + mapped.siemens_per_weight)
    wanted = np.linalg.solve(G + D / gain, mapped.siemens_per_weight * b)
    with FeedbackSolver(alone, opamp=OpAmp(gain)) as solver:
        assert relative(solver.solve(b), wanted) < 1e-12
        rates = np.linalg.eigvals(np.linalg.solve(D, G) + np.eye(6) / gain) * OpAmp(gain).speed
        assert relative(np.sort_complex(solver.rates), np.sort_complex(rates)) < 1e-12


@pytest.mark.ngspice
@pytest.mark.parametrize("mapping", ["differential", "interleaved"])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("ends", ["same_ends", "far_ends"])
def test_ideal_op_amps_solve_the_arrays_own_matrix_and_engines_agree_on_others(mapping, transposed, ends, rng):
    design = replace(WIRED, mapping=mapping, terminations=Terminations(transposed=ends))
    W, b = matrix(symmetric=False), rng.normal(size=(6, 2))
    with program(W, design) as analog:
        effective = (analog.T if transposed else analog).to_dense()
    mapped = map_weights(W, design)
    assert relative(solved(mapped, b, np.inf, transposed=transposed), np.linalg.solve(effective, b)) < 1e-10
    found = solved(mapped, b, 200.0, transposed=transposed)
    assert relative(found, np.linalg.solve(effective, b)) > 1e-3
    engine = engine_or_skip("ngspice")
    assert relative(solved(mapped, b, 200.0, transposed=transposed, engine=engine), found) < 1e-9


def test_errors_fall_linearly_with_wire_resistance_and_with_the_inverse_gain(rng):
    W, b = matrix(symmetric=False), rng.normal(size=6)
    exact = np.linalg.solve(W, b)
    by_wire = [relative(solved(map_weights(W, Design(r_word=r, r_bit=r)), b, np.inf), exact) for r in (1, 0.1, 0.01)]
    by_gain = [relative(solved(map_weights(W), b, gain), exact) for gain in (1e4, 1e5, 1e6)]
    for errors in (by_wire, by_gain):
        assert errors[0] / errors[1] == pytest.approx(10, rel=0.05)
        assert errors[1] / errors[2] == pytest.approx(10, rel=0.01)


@pytest.mark.parametrize("mapping", ["differential", "interleaved"])
def test_stability_flips_where_an_eigenvalue_crosses(mapping):
    """A rotation plus s: with minus devices behind slow inverters some s is needed, and none at all is too little."""
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    lowest = []
    for shift in (-0.2, 0.0, 0.2, 0.5, 1.0):
        with FeedbackSolver(map_weights(turn + shift * np.eye(2), Design(mapping=mapping, g_min=0.0))) as solver:
            lowest.append(solver.rates[0].real)
            if lowest[-1] > 0:
                solver.solve([1.0, 1.0])
            else:
                with pytest.raises(StabilityError, match=r"feedback array is unstable: of the rates .* op-amps"):
                    solver.solve([1.0, 1.0])
    assert np.all(np.diff(lowest) > 0)
    assert lowest[1] < 0 < lowest[-1]


def test_a_negative_matrix_is_told_to_change_its_sign():
    with FeedbackSolver(map_weights(-matrix(symmetric=True))) as solver, pytest.raises(StabilityError) as caught:
        solver.solve(np.ones(6))
    assert "solve -W x = -b instead" in str(caught.value)


@pytest.mark.ngspice
def test_nonlinear_cells_are_for_ngspice():
    """Op-amps of high gain and sinh cells: at small voltages the circuit solves the matrix of the small signals."""
    W, b = matrix(symmetric=False), np.linspace(-1, 1, 6)
    mapped = map_weights(W, Design(device=Sinh(0.5), v_read=1e-3))
    with pytest.raises(InvalidInputError, match="use linear cells"):
        solved(mapped, b)
    found = solved(mapped, b, 1e6, engine=engine_or_skip("ngspice"), check_stability=False)
    assert relative(found, np.linalg.solve(W, b)) < 1e-4


@pytest.mark.ngspice
def test_the_deck_of_a_solve_is_what_the_solver_reads(rng):
    engine_or_skip("ngspice")
    b = rng.normal(size=6)
    with FeedbackSolver(map_weights(matrix(symmetric=False), WIRED)) as solver:
        deck = solver.deck(b, title="one; two\n.three")
        assert deck.text.startswith("* one; two .three\n")
        volts = -solver.volts_per_unit(b[:, np.newaxis]) * b
        with ResidentProcess(deck.text, deck.sources, nodes=deck.nodes) as process:
            found = process.read(volts[:, np.newaxis])[6:, 0]
        assert relative(found * solver.scale / solver.volts_per_unit(b[:, np.newaxis]), solver.solve(b)) < 1e-9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FeedbackSolver(map_weights(np.ones((2, 3)))), r"needs a square matrix, got \(2, 3\)"),
        (lambda: FeedbackSolver(map_weights(np.eye(2)), input_conductance=0.0), "input_conductance must be finite"),
        (lambda: FeedbackSolver(map_weights(np.eye(2)), engine="ideal"), "'nodal' or 'ngspice', got 'ideal'"),
        (lambda: FeedbackSolver(map_weights(np.eye(2))).solve([1.0]), r"of shape \(2,\) or \(2, batch\), got \(1,\)"),
        (lambda: FeedbackSolver(map_weights(np.eye(2))).solve([1.0, np.nan]), "b must be finite"),
        (lambda: FeedbackSolver(map_weights(np.eye(2)), opamp=OpAmp(np.inf)).deck([1.0, 1.0]), "a finite gain"),
        (lambda: OpAmp(gain=0.0), "gain of an op-amp must be > 0, got 0.0"),
        (lambda: OpAmp(bandwidth=np.inf), "bandwidth of an op-amp must be finite"),
    ],
)
def test_errors_say_what_is_allowed(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make()


@pytest.mark.ngspice
def test_cells_of_a_library_come_with_it():
    W, b = matrix(symmetric=False), np.linspace(-1, 1, 6)
    mapped = map_weights(W, Design(device=load_device("hfo2_polynomial"), v_read=1e-4))
    with FeedbackSolver(mapped, opamp=OpAmp(1e6), engine=engine_or_skip("ngspice"), check_stability=False) as solver:
        assert "library" in solver.deck(b).text
        assert relative(solver.solve(b), np.linalg.solve(W, b)) < 1e-2
