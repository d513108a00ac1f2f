"""Read noise: its variance against devices that fluctuate one by one, its draws, and solvers that stop at it."""

import numpy as np
import pytest
from support import engine_or_skip, relative, truth

from xbar_spice.cosim import Problem, cosimulate, program_model, three_gradients
from xbar_spice.cosim.run.cosimulation import SolverOptions
from xbar_spice.cosim.run.programming import expected_noise
from xbar_spice.engines.nodal.sensitivity import Sensitivity
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.cells import Ohmic, OneTransistorOneResistor, Polynomial, Sinh
from xbar_spice.hardware.converters import Converters
from xbar_spice.hardware.crossbar import Crossbar, Terminations
from xbar_spice.hardware.read_noise import ReadNoise, cmo_read_noise, pcm_read_noise, thermal_noise
from xbar_spice.hardware.variation import Variation
from xbar_spice.mapping.analog_matrix import program
from xbar_spice.mapping.design import Design
from xbar_spice.mapping.trace import ReadTrace
from xbar_spice.solve.fields.field import ReluField
from xbar_spice.solve.linear_solvers.krylov import KrylovOptions
from xbar_spice.solve.newton.noise import measured_noise
from xbar_spice.train.losses import SquaredDistance
from xbar_spice.weights import Model

G_MAX = 1e-4
READS = 4000


@pytest.fixture
def weights(rng):
    return rng.standard_normal((5, 7))


@pytest.fixture
def problem(rng):
    A, B = rng.standard_normal((16, 12)) / 3, rng.standard_normal((12, 16)) / 3
    return Problem(Model(A, B, h=0.25, steps=3), rng.standard_normal((12, 4)), SquaredDistance(np.zeros((12, 4))))


@pytest.mark.parametrize("device", [Ohmic(), Sinh(0.2), Polynomial(), OneTransistorOneResistor()], ids=repr)
@pytest.mark.parametrize("law", ["constant", "pcm"])
def test_variance_is_that_of_devices_that_fluctuate_one_by_one(device, law, rng):
    """Monte Carlo over conductances of an array without parasitics; 4000 reads of 20 lines give 0.3 %."""
    conductance = 10 ** rng.uniform(-4.25, -4, (6, 20))  # where all laws are smooth
    volts = rng.uniform(-0.2, 0.2, 6)
    noise = ReadNoise(device=0.01, law=law)
    sigma = noise.conductance_deviation(conductance, G_MAX)
    drawn = conductance + sigma * rng.standard_normal((READS, *conductance.shape))
    sampled = device.current(drawn, volts[:, np.newaxis]).sum(axis=1).std(axis=0)
    expected = noise.current_deviation(conductance, volts[:, np.newaxis], device, G_MAX)[:, 0]
    ratio = sampled / expected
    assert ratio.mean() == pytest.approx(1.0, abs=0.01)
    assert np.abs(ratio - 1).max() < 0.06


@pytest.mark.parametrize(("terminal", "over"), [(0.0, 0.03), (50.0, 0.13)])
def test_with_wires_the_noise_is_overestimated_by_no_more_than_they_take_off_the_currents(terminal, over, rng):
    """Against var I_j = sum (dI_j/dG)^2 sigma^2 with the exact sensitivities of the array."""
    conductance, volts = 10 ** rng.uniform(-6, -4, (32, 32)), rng.uniform(-0.2, 0.2, 32)
    xbar = Crossbar(conductance, r_word=1.0, r_bit=1.0, r_driver=terminal, r_sense=terminal)
    sensitivity = Sensitivity(xbar, volts)
    noise = ReadNoise(device=0.02)
    sigma = noise.conductance_deviation(conductance, G_MAX)
    exact = np.array([np.linalg.norm(sensitivity.vjp(line).conductance * sigma) for line in np.eye(32)])
    ratio = noise.current_deviation(conductance, volts[:, np.newaxis], Ohmic(), G_MAX)[:, 0] / exact
    taken_off = relative(conductance.T @ volts, sensitivity.currents[:, 0])
    assert ratio.min() > 1.0
    assert ratio.max() < 1.0 + over
    assert ratio.mean() - 1.0 == pytest.approx(taken_off, rel=0.5)


@pytest.mark.parametrize("side", ["forward", "transposed"])
@pytest.mark.parametrize("mapping", ["differential", "interleaved"])
def test_products_scatter_about_the_exact_ones_as_the_formula_says(side, mapping, weights, rng):
    """y = (I+ - I-) / (k s): the variance of a product is sigma^2 sum_j (G+_ij^2 + G-_ij^2) V_j^2 / (k s)^2."""
    design = Design(mapping=mapping, tile=3, noise=ReadNoise(device=0.03, sense=2e-7))
    x = rng.standard_normal(7 if side == "forward" else 5)
    with program(weights, design, engine="ideal", noise_rng=np.random.default_rng(1)) as analog:
        operator = analog if side == "forward" else analog.T
        found = operator.mv(np.repeat(x[:, np.newaxis], READS, axis=1))
        mapped = analog.mapped
        k, scale = mapped.siemens_per_weight, mapped.volts_per_unit(x[:, np.newaxis])[0]
    exact, wanted = (weights @ x, weights) if side == "forward" else (weights.T @ x, weights.T)
    squares = sum((1e-6 + k * np.maximum(sign * wanted, 0.0)) ** 2 for sign in (1.0, -1.0))
    tiles = -(-x.size // 3)
    terminals = tiles * (1 if mapping == "interleaved" and side == "transposed" else 2)
    variance = (0.03**2 * squares @ (scale * x) ** 2 + terminals * 2e-7**2) / (k * scale) ** 2
    assert np.abs((found.mean(axis=1) - exact) / np.sqrt(variance / READS)).max() < 4
    assert found.std(axis=1) == pytest.approx(np.sqrt(variance), rel=0.05)
    assert np.abs(np.corrcoef(found) - np.eye(len(found))).max() < 0.08
    if side == "forward":
        assert analog.spread(x[:, np.newaxis])[:, 0] == pytest.approx(np.sqrt(variance))


@pytest.mark.parametrize("resistance", [0.0, 1.0])
@pytest.mark.parametrize("transposed", ["same_ends", "swapped_ends", "far_ends"])
def test_both_sense_terminals_of_a_row_add_their_noise(transposed, resistance, weights):
    """Under double drive a row has a terminal at each end, but an ideal one, whose ends are one node with one terminal.

    Two terminals make sqrt(2) of the noise of one, and the two arrays of a pair sqrt(2) again.
    """
    terminations = Terminations("double", transposed)
    noise, y = ReadNoise(sense=1e-9), np.ones((5, READS))
    with program(
        weights, r_word=resistance, terminations=terminations, noise=noise, noise_rng=np.random.default_rng(1)
    ) as analog:
        scale = analog.mapped.siemens_per_weight * analog.mapped.volts_per_unit(y)[0]
        found = analog.T.mv(y).std(axis=1) * scale
        terminals = 1 if transposed == "far_ends" or resistance == 0 else 2
        assert found == pytest.approx(np.sqrt(2 * terminals) * 1e-9, rel=0.05)
        forward = analog.spread(np.ones((7, 1))) * scale
        assert forward == pytest.approx(np.sqrt(2) * 1e-9)


@pytest.mark.parametrize("engine", ["ideal", "nodal"])
def test_a_vector_of_zeros_has_the_exact_product_zero(engine, weights):
    """The limit of ever smaller vectors, whose noise shrinks with them."""
    noise = ReadNoise(device=0.01, sense=1e-6)
    trace = ReadTrace()
    with program(weights, noise=noise, engine=engine, noise_rng=np.random.default_rng(1), trace=trace) as analog:
        assert (analog.mv(np.zeros(7)) == 0).all()
        assert (analog.T.mv(np.zeros((5, 3))) == 0).all()
        assert (analog.spread(np.zeros((7, 2))) == 0).all()
        assert np.abs(analog.mv(np.full(7, 1e-310))).max() < 1e-300
    assert max(record.worst_relative_error for record in trace) < 10
    assert trace.columns()["relative_error"][:2] == [0.0, 0.0]


def test_the_error_of_a_product_that_should_be_zero_has_a_size():
    trace = ReadTrace()
    with program([[1.0, -1.0]], noise=ReadNoise(sense=1e-8), noise_rng=np.random.default_rng(1), trace=trace) as analog:
        analog.mv([1.0, 1.0])
    error = trace.columns()["relative_error"][0]
    assert 0 < error < 1e-2
    assert trace.columns()["worst_relative_error"] == [error]


@pytest.mark.parametrize("unit", [2.0**-30, 2.0**20])
def test_the_unit_of_the_states_does_not_matter(unit):
    """Hidden units that all go off drive their array with zeros, which once made the noise absolute in that unit."""
    rng = np.random.default_rng(3)
    A, B = -np.abs(rng.standard_normal((8, 6))) / 4, rng.standard_normal((6, 8)) / 4
    A[0] = 0.3  # one unit that is on at first, and off where the states have become negative
    z0 = rng.uniform(-0.2, 1.0, (6, 5))
    design = Design(noise=ReadNoise(device=0.01, sense=3e-9), converters=Converters(dac_bits=8))

    def run(scale):
        task = Problem(Model(A, B, h=0.5, steps=3), scale * z0, SquaredDistance(np.zeros_like(z0)))
        return cosimulate(task, design, engine="nodal", seed=1)

    one, other = run(1.0), run(unit)
    assert (other.z == unit * one.z).all()
    assert other.record["convergence"] == one.record["convergence"]
    assert other.record["noise"] == one.record["noise"]
    assert other.record["worst_read_error"] == pytest.approx(one.record["worst_read_error"])
    assert one.record["worst_read_error"] < 1e3


def test_every_vector_of_a_batch_has_its_own_noise(weights):
    with program(weights, noise=ReadNoise(device=0.01), noise_rng=np.random.default_rng(0)) as analog:
        first, second = analog.mv(np.ones((7, 2))).T
        assert (first != second).all()


@pytest.mark.parametrize("name", ["ideal", "nodal", "ngspice"])
def test_one_seed_is_one_run_on_every_engine(name, problem):
    design = Design(tile=8, r_word=0.0, noise=ReadNoise(device=0.02, sense=1e-8))
    engine = engine_or_skip(name)
    states = [cosimulate(problem, design, engine=engine, seed=seed).z for seed in (3, 3, 4)]
    assert (states[0] == states[1]).all()
    assert (states[0] != states[2])[1:].any()
    assert relative(states[0], cosimulate(problem, design, engine="ideal", seed=3).z) < 1e-9


def test_switching_noise_on_does_not_move_the_devices(problem):
    quiet = Design(variation=Variation(programming=0.1, stuck_off=0.05))
    noisy = Design(variation=quiet.variation, noise=ReadNoise(device=0.1))
    chips = [program_model(problem.model, design, "ideal", seed=5)[0].mapped.crossbars for design in (quiet, noisy)]
    assert all((one.conductance == other.conductance).all() for one, other in zip(*chips, strict=True))


def test_pcm_noise_grows_towards_low_conductance_and_with_time():
    noise = pcm_read_noise(20.0)
    assert noise.device == pytest.approx(0.0088 * np.sqrt(np.log(20.00000025 / 500e-9)))
    sigma = noise.conductance_deviation(G_MAX * np.array([1.0, 0.5, 1e-3, 0.0]), G_MAX)
    growth = np.sqrt(np.log(20.00000025 / 500e-9))
    assert sigma == pytest.approx(G_MAX * growth * np.array([0.0088, 0.5 * 0.0088 / 0.5**0.65, 1e-3 * 0.2, 0.0]))
    assert pcm_read_noise(3600.0).device > noise.device
    with pytest.raises(InvalidInputError, match="from 250 ns on"):
        pcm_read_noise(1e-9)


def test_thermal_noise_is_johnson_s():
    """4 nV in the root of a hertz at 1 kohm and 300 K, the number every analog designer knows."""
    assert thermal_noise(1e-3, 1.0) * 1e3 == pytest.approx(4.07e-9, rel=1e-3)


@pytest.mark.parametrize("method", ["gmres", "bicgstab", "richardson"])
@pytest.mark.parametrize("sigma", [0.003, 0.03])
def test_solvers_stop_at_the_noise_and_call_that_solved(method, sigma, problem):
    """A noisy run spends fewer reads than an exact one, at a residual of the size of the noise."""
    solver = SolverOptions(krylov=KrylovOptions(rtol=1e-8, method=method))
    exact = cosimulate(problem, Design(), engine="ideal", solver=solver).record
    for seed in range(4):
        noisy = cosimulate(
            problem, Design(noise=ReadNoise(device=sigma)), engine="ideal", seed=seed, solver=solver
        ).record
        assert noisy["convergence"]["analog"]["converged"]
        assert noisy["convergence"]["digital"]["converged"]
        assert noisy["convergence"]["analog"]["worst_residual"] < 3 * noisy["noise"]
        assert sum(noisy["reads"].values()) < 0.75 * sum(exact["reads"].values())
    assert exact["noise"] == 0.0


def test_expected_noise_is_what_repeated_reads_measure(problem):
    A, B = program_model(problem.model, Design(tile=8, noise=ReadNoise(device=0.05)), "ideal")
    z = problem.z0[:, :1]
    field = ReluField(A, B)
    value = field.evaluate(z).value
    measured = measured_noise(field, z, repeats=2000) * np.linalg.norm(value) / np.linalg.norm(z) * problem.model.h
    assert expected_noise(problem.model, (A, B), z[np.newaxis]) == pytest.approx(measured, rel=0.05)


def test_error_of_a_run_grows_in_proportion_to_the_noise(problem):
    def error(sigma):
        design = Design(noise=ReadNoise(device=sigma))
        found = [cosimulate(problem, design, engine="ideal", seed=seed).record["state"] for seed in range(12)]
        return np.mean([state["relative_error"] for state in found])

    assert error(0.04) / error(0.01) == pytest.approx(4.0, rel=0.35)


def test_read_noise_shows_in_the_bias_of_the_hardware_gradient_only(problem):
    """At exact transposes without wires, hardware - true is what the reads of the two runs scatter."""

    def differences(sigma):
        record = three_gradients(problem, Design(noise=ReadNoise(device=sigma)), seed=1).record
        return record["differences"]["bias"]["A"]["relative_error"], record["adjoint_mismatch"]["A"]

    (quiet, matched), (low, some), (high, more) = map(differences, (0.0, 0.003, 0.03))
    assert quiet < 1e-6
    assert matched < 1e-12
    assert 1e-4 < low < 0.3 * high
    assert more / some == pytest.approx(10.0, rel=0.3)


@pytest.mark.parametrize("values", [{"device": -0.1}, {"device": np.inf}, {"sense": -1.0}, {"law": "pink"}])
def test_bad_noise_is_refused(values):
    with pytest.raises(InvalidInputError, match=next(iter(values))):
        ReadNoise(**values)


def test_noise_needs_a_generator_and_its_own_type(weights):
    with pytest.raises(InvalidInputError, match=r"pass noise_rng=numpy\.random\.default_rng"):
        program(weights, noise=ReadNoise(device=0.1))
    with pytest.raises(InvalidInputError, match="noise must be one of 'normal', an object of your own class of Noise"):
        Design(noise=0.1)


def test_published_read_noise_of_old_devices():
    """Against the reference values, which count from the programmed conductance and a verification after 20 s."""
    for case in truth("programming")["pcm"]:
        for at in case["after"]:
            noise, g = pcm_read_noise(at["t"] + 20.0), np.array(case["G"] * 1e-6)
            drifted = at["median_factor"] * g
            found = noise.conductance_deviation(drifted, 25e-6, g) / drifted
            assert float(found) == pytest.approx(at["read_sigma_rel"], rel=1e-6)
    for case in truth("programming")["cmo_hfox"]:
        found = cmo_read_noise(88e-6, case["t"]).conductance_deviation(np.array(case["G"] * 1e-6), 88e-6)
        assert float(found) == pytest.approx(1e-6 * case["sigma_read"], rel=1e-6)


def test_a_drifted_chip_has_the_noise_of_what_was_written():
    design = Design(drift="power_law(nu=0.1)", after=1e5, noise=pcm_read_noise(1e5 + 20), g_min=1e-6, g_max=25e-6)
    with program([[0.5, -1.0]], design, noise_rng=np.random.default_rng(0)) as matrix:
        mapped, x = matrix.mapped, np.array([[1.0], [-0.5]])
        sigma = design.noise.conductance_deviation(mapped.drawn, design.g_max, mapped.written)[:, :, 0]
        variance = (sigma**2 * (0.2 * x[:, 0]) ** 2).sum()
        expected = np.sqrt(variance) / (mapped.siemens_per_weight * 0.2)
        assert matrix.spread(x) == pytest.approx(np.array([[expected]]), rel=1e-9)
        assert (mapped.written > mapped.drawn).all()


def test_read_noise_of_cmo_is_known_above_a_microsiemens():
    with pytest.raises(InvalidInputError, match="its law is known above 1 uS"):
        cmo_read_noise(5e-7, 1.0)
    noise = ReadNoise(device=0.01, law="cmo_hfox")
    assert noise.conductance_deviation(np.array([0.0, 5e-7, 1e-4]), 1e-4).tolist() == pytest.approx([0.0, 0.0, 1e-6])
