"""Co-simulation: what the record says, checked against the pieces it is made of."""

import json
from dataclasses import replace

import numpy as np
import pytest
from support import engine_or_skip
from support.solver_table import PREPARED

from xbar_spice.cosim import Problem, SolverOptions, compare, cosimulate, program_model
from xbar_spice.errors import InvalidInputError, StabilityWarning
from xbar_spice.hardware.converters import Converters
from xbar_spice.hardware.read_noise import ReadNoise
from xbar_spice.hardware.variation import Variation
from xbar_spice.mapping.design import Design
from xbar_spice.mapping.trace import ReadTrace
from xbar_spice.report.quantities import columns_of
from xbar_spice.solve.adjoint.discrete import gradients
from xbar_spice.solve.fields.field import ReluField
from xbar_spice.solve.integrators.integration import integrate
from xbar_spice.solve.linear_solvers.krylov import KrylovOptions
from xbar_spice.solve.newton.newton import NewtonOptions
from xbar_spice.train.losses import CrossEntropy, SquaredDistance
from xbar_spice.weights import Classifier, Kernels, Model

DESIGN = Design(tile=8, r_word=2.0, r_bit=2.0, r_driver=20.0)


@pytest.fixture
def problem(rng):
    kernels = Kernels(0.5 * rng.standard_normal(9), 0.5 * rng.standard_normal(9), (4, 4))
    classifier = Classifier(rng.standard_normal((3, 16)), np.zeros(3))
    model = Model.from_kernels(kernels, h=0.25, steps=3, classifier=classifier)
    return Problem(model, rng.random((16, 5)), CrossEntropy(classifier, np.array([0, 1, 2, 1, 0])))


def test_ideal_arrays_change_nothing(problem):
    record = cosimulate(problem, DESIGN, engine="ideal").record
    assert record["state"]["relative_error"] < 1e-12
    assert record["loss"]["relative_error"] < 1e-12
    for found in record["gradients"].values():
        assert found["relative_error"] < 1e-7  # both runs solve to the tolerance of SolverOptions
        assert found["cosine"] == pytest.approx(1.0)
        assert found["sign_agreement"] == 1.0


@pytest.mark.parametrize("name", ["nodal", "ngspice"])
def test_record_is_what_the_pieces_give(problem, name):
    engine = engine_or_skip(name)
    result = cosimulate(problem, DESIGN, engine=engine)
    A, B = program_model(problem.model, DESIGN, "nodal")
    runs = {}
    for kind, operators in {"analog": (A, B), "digital": (problem.model.A, problem.model.B)}.items():
        trajectory = integrate(ReluField(*operators), problem.z0, h=0.25, steps=3)
        score = problem.objective.evaluate(trajectory.z[-1])
        runs[kind] = (trajectory.z[-1], score.loss, gradients(trajectory, score.cotangent))
    (z, loss, found), (z_digital, loss_digital, wanted) = runs["analog"], runs["digital"]

    def relative(analog, digital):
        return pytest.approx(np.linalg.norm(analog - digital) / np.linalg.norm(digital), rel=1e-5)

    record = result.record
    assert record["state"]["relative_error"] == relative(z, z_digital)
    assert record["loss"]["analog"] == pytest.approx(loss, rel=1e-7)
    assert record["loss"]["digital"] == pytest.approx(loss_digital, rel=1e-7)
    assert record["gradients"]["A"]["relative_error"] == relative(found.A, wanted.A)
    assert record["gradients"]["z0"]["relative_error"] == relative(found.z0, wanted.z0)
    kernels = problem.model.kernels
    assert record["gradients"]["a"]["relative_error"] == relative(
        kernels.gradient_a(found.A), kernels.gradient_a(wanted.A)
    )
    assert record["convergence"]["analog"]["converged"]
    spent = record["convergence"]["digital"]
    assert spent["evaluations"] == trajectory.evaluations.max(axis=1).tolist()  # of the last run, the digital one
    assert spent["adjoint_evaluations"] > 0
    columns = columns_of(json.loads(json.dumps(record)))
    assert columns["nfe.digital"] == sum(spent["evaluations"])
    assert columns["adjoint_nfe.digital"] == spent["adjoint_evaluations"]


def test_every_product_is_a_recorded_read(problem):
    result = cosimulate(problem, DESIGN, engine="nodal")
    phases = {record.phase for record in result.trace}
    assert phases == {"newton", "krylov", "adjoint"}
    assert all(
        record.direction == ("transposed" if record.phase == "adjoint" else "forward") for record in result.trace
    )
    assert sum(result.record["reads"].values()) == len(result.trace)
    assert {record.step for record in result.trace} == {0, 1, 2}
    assert all(record.krylov is not None for record in result.trace if record.phase == "krylov")
    assert 0 < result.record["worst_read_error"] < 0.2


def test_a_trace_of_two_runs_counts_each_in_its_own_record(problem):
    trace = ReadTrace()
    first, second = (cosimulate(problem, DESIGN, engine="nodal", trace=trace) for _ in range(2))
    assert first.record["reads"] == second.record["reads"]
    assert len(first.trace) == len(second.trace) == sum(second.record["reads"].values())
    assert list(trace) == [*first.trace, *second.trace]
    assert second.record["read_seconds"] == sum(read.seconds for read in second.trace)
    seen = []
    observed = cosimulate(problem, DESIGN, engine="nodal", trace=ReadTrace(seen.append))
    assert seen == list(observed.trace)


def test_one_seed_is_one_chip(problem):
    noisy = Design(variation=Variation(programming=0.1))
    errors = [
        cosimulate(problem, noisy, engine="ideal", seed=seed).record["state"]["relative_error"] for seed in (1, 1, 2)
    ]
    assert errors[0] == errors[1] != errors[2]


def test_a_sample_that_does_not_converge_is_named(rng):
    # z = z0 + h relu(3 z) has no solution for z0 > 0 at h = 1; z0 < 0 stays where it is.
    model = Model([[3.0]], [[1.0]], h=1.0, steps=2)
    problem = Problem(model, np.array([[-1.0, 1.0]]), SquaredDistance(np.zeros((1, 2))))
    record = cosimulate(problem, Design(), engine="ideal").record
    for run in record["convergence"].values():
        assert not run["converged"]
        assert run["failed_samples"] == [1]


def test_a_run_that_diverges_is_a_record_not_a_crash():
    model = Model([[1e100]], [[1e100]], h=1.0, steps=3, method="forward_euler")
    problem = Problem(model, np.array([[1.0, -1.0]]), SquaredDistance(np.zeros((1, 2))))
    record = cosimulate(problem, Design(), engine="ideal").record
    assert np.isnan(record["loss"]["analog"])
    assert record["convergence"]["analog"]["failed_samples"] == [0]


def test_looser_tolerances_cost_fewer_reads(problem):
    loose = SolverOptions(newton=NewtonOptions(rtol=1e-3))
    assert len(cosimulate(problem, DESIGN, engine="nodal", solver=loose).trace) < len(
        cosimulate(problem, DESIGN, engine="nodal").trace
    )


def test_comparison_of_known_arrays():
    found = compare(np.array([3.0, -1.0, 5.0]), np.array([4.0, 1.0, 0.0]))
    assert found.relative_error == pytest.approx(np.sqrt((1 + 4 + 25) / 17))
    assert found.cosine == pytest.approx(11 / np.sqrt(35 * 17))
    assert found.sign_agreement == 0.5
    assert np.isnan(compare(np.ones(2), np.zeros(2)).cosine)


def test_only_opposite_signs_of_entries_that_matter_disagree():
    digital = np.array([4.0, -1.0, 2.0, 1e-7, -3.0])
    assert compare(np.array([3.0, 0.0, 0.0, -1e-7, -3.0]), digital).sign_agreement == 1.0  # vanished, too small
    assert compare(np.array([3.0, 0.0, 0.0, -1e-7, 1e-9]), digital).sign_agreement == 0.75
    assert compare(np.zeros(5), digital).sign_agreement == 1.0


def test_a_sample_that_ends_in_nan_is_not_classified_correctly():
    """Zero bias and a label of class 0: states of zero in its place would have been right."""
    model = Model(np.array([[1.0]]), np.array([[1e200]]), h=1.0, steps=3, method="forward_euler",
                  classifier=Classifier(np.array([[0.0], [0.0]]), np.zeros(2)))  # fmt: skip
    problem = Problem(model, np.array([[1.0, -1.0]]), CrossEntropy(model.classifier, np.array([0, 0])))
    record = cosimulate(problem, Design(), engine="ideal").record
    assert np.isnan(record["loss"]["digital"])
    assert record["accuracy"] == {"analog": 0.5, "digital": 0.5}


@pytest.mark.parametrize(
    "circuit",
    [{"noise": ReadNoise(device=0.02)}, {"converters": Converters(dac_bits=8, adc_bits=8)}],
    ids=["noise", "converters"],
)
def test_an_adaptive_method_makes_no_steps_for_the_sake_of_noise(problem, circuit):
    """Without the floor the controller takes the noise for an error of its steps: ten thousands of reads, then NaN."""
    adaptive = replace(problem, model=replace(problem.model, method="dopri5"))
    exact = cosimulate(adaptive, Design(), engine="ideal")
    noisy = cosimulate(adaptive, Design(**circuit), engine="ideal")
    assert noisy.record["convergence"]["analog"]["converged"]
    assert len(noisy.trace) < 3 * len(exact.trace)
    assert noisy.record["state"]["relative_error"] < 0.1


def test_a_method_that_amplifies_what_is_damped_is_in_the_record():
    model = Model(np.array([[1.0], [-1.0]]), np.array([[-20.0, 20.0]]), h=1.0, steps=4, method="am3")
    with pytest.warns(StabilityWarning, match="am3 with h = 1 is unstable"):
        record = cosimulate(
            Problem(model, np.ones((1, 2)), SquaredDistance(np.zeros((1, 2)))), Design(), engine="ideal"
        )
    assert record.record["convergence"]["analog"]["unstable_samples"] == [0, 1]


def test_states_of_the_wrong_length_are_refused():
    with pytest.raises(InvalidInputError, match=r"shape \(1, samples\) for this model, got \(2, 3\)"):
        Problem(Model([[1.0]], [[1.0]], h=1.0, steps=1), np.zeros((2, 3)), SquaredDistance(np.zeros((2, 3))))


@pytest.mark.parametrize("method", PREPARED)
def test_other_linear_solvers_find_the_same_with_fewer_reads(problem, method):
    wanted = cosimulate(problem, DESIGN, engine="nodal").record
    solver = SolverOptions(krylov=KrylovOptions(rtol=1e-8, method=method))
    record = cosimulate(problem, DESIGN, engine="nodal", solver=solver).record
    assert record["convergence"]["analog"]["converged"]
    assert record["state"]["relative_error"] == pytest.approx(wanted["state"]["relative_error"], rel=1e-4)
    for name, found in record["gradients"].items():
        assert found["relative_error"] == pytest.approx(wanted["gradients"][name]["relative_error"], rel=1e-3)
    assert sum(record["reads"].values()) < 0.8 * sum(wanted["reads"].values())
    assert "feedback" not in wanted
    if method == "feedback":
        solves = record["feedback"]
        assert 0 < solves["worst_error"] < 0.1
        assert solves["solves"]["forward"] > 0 < solves["solves"]["transposed"]
        json.dumps(record)
