"""The feedback loop as the linear solver of Newton's method and of the adjoint."""

import numpy as np
import pytest
from support import engine_or_skip, relative

from xbar_spice.errors import InvalidInputError, StabilityError
from xbar_spice.feedback import FeedbackLoop, OpAmp
from xbar_spice.hardware.variation import Variation
from xbar_spice.linear.operator import DenseOperator
from xbar_spice.mapping.analog_matrix import program
from xbar_spice.mapping.design import Design
from xbar_spice.mapping.trace import ReadTrace
from xbar_spice.solve.adjoint.discrete import gradients
from xbar_spice.solve.fields.field import ActivationField, ReluField
from xbar_spice.solve.integrators.integration import integrate
from xbar_spice.solve.linear_solvers.krylov import KrylovOptions
from xbar_spice.solve.newton.newton import NewtonOptions

N, M, BATCH, STEPS = 6, 9, 3, 3
WIRED = Design(r_word=2.0, r_bit=1.0, r_driver=30.0, r_sense=10.0, tile=5, variation=Variation(programming=0.05))


def problem():
    rng = np.random.default_rng(4)
    A, B, z0 = rng.normal(size=(M, N)), rng.normal(size=(N, M)), rng.normal(size=(N, BATCH))
    return A, B, z0, 1.0 / float(np.linalg.norm(A, 2) * np.linalg.norm(B, 2))


def run(krylov_method, *, opamp=None, engine="nodal", activation="relu", design=WIRED, method="implicit_euler"):
    """A run, its gradients, and what they cost: reads of A and B per sample, and records of the circuit's solves."""
    A, B, z0, h = problem()
    reads, solves = ReadTrace(), []
    with (
        program(A, design, rng=np.random.default_rng(1), trace=reads) as A_hw,
        program(B, design, rng=np.random.default_rng(2), trace=reads) as B_hw,
        FeedbackLoop(A_hw, B_hw, opamp=opamp, engine=engine, trace=solves) as loop,
    ):
        field = ReluField(A_hw, B_hw) if activation == "relu" else ActivationField(A_hw, B_hw, activation)
        field.circuit = loop
        options = {"newton": NewtonOptions(rtol=1e-10), "krylov": KrylovOptions(rtol=1e-10, method=krylov_method)}
        trajectory = integrate(field, z0, method, h=h, steps=STEPS, **options)
        gradient = gradients(trajectory, trajectory.z[-1])
    assert trajectory.converged_all
    assert gradient.converged_all
    return trajectory, gradient, sum(read.batch for read in reads) / BATCH, solves


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("method", ["implicit_euler", "am3"])
def test_it_finds_what_gmres_finds_with_fewer_reads(activation, method):
    by_gmres, wanted, reads, none = run("gmres", activation=activation, method=method)
    found, gradient, fewer, solves = run("feedback", activation=activation, method=method)
    assert relative(found.z, by_gmres.z) < 1e-8
    assert relative(gradient.A, wanted.A) < 1e-8
    assert relative(gradient.B, wanted.B) < 1e-8
    assert fewer < 0.8 * reads
    assert not none
    assert found.krylov_iterations.sum() == 0  # within Newton's method no product at all
    forward = [record for record in solves if record.direction == "forward"]
    assert {record.phase for record in forward} == {"krylov"}
    assert sum(record.batch for record in forward) == found.newton_iterations.sum()
    back = [record for record in solves if record.direction == "transposed"]
    assert {record.phase for record in back} == {"adjoint"}
    assert sum(record.batch for record in back) == gradient.krylov_iterations.sum()


def test_ideal_op_amps_make_newtons_step_exact():
    """One solve for each step of Newton's method as the exact Jacobian has it, and one for each step of the adjoint."""
    A, B, z0, h = problem()
    with (
        program(A, WIRED, rng=np.random.default_rng(1)) as A_hw,
        program(B, WIRED, rng=np.random.default_rng(2)) as B_hw,
        FeedbackLoop(A_hw, B_hw, opamp=OpAmp(np.inf), r_switch=0.0) as loop,
    ):
        field = ReluField(A_hw, B_hw)
        field.circuit = loop
        counts = {
            method: integrate(
                field, z0, h=h, steps=STEPS, newton=NewtonOptions(rtol=1e-10), krylov=KrylovOptions(method=method)
            ).newton_iterations
            for method in ("feedback", "gmres")
        }
    np.testing.assert_array_equal(counts["feedback"], counts["gmres"])


@pytest.mark.parametrize("gain", [1e5, 100.0])
def test_gradients_stay_exact_however_wrong_the_circuit_is(gain):
    """The two identities of an exact gradient, with the effective matrices: the circuit's error costs iterations."""
    trajectory, gradient, _, solves = run("feedback", opamp=OpAmp(gain))
    assert max(record.error for record in solves) > (1e-3 if gain == 1e5 else 3e-2)
    A, B, z0, _ = problem()
    with (
        program(A, WIRED, rng=np.random.default_rng(1)) as A_hw,
        program(B, WIRED, rng=np.random.default_rng(2)) as B_hw,
    ):
        A_e, B_e = A_hw.to_dense(), B_hw.to_dense()
    by_A, by_B = (gradient.A * A_e).sum(axis=1), (gradient.B * B_e).sum(axis=0)
    assert relative(by_A, by_B) < 1e-8
    final = trajectory.z[-1]
    assert relative((z0 * gradient.z0).sum(axis=0), (final**2).sum(axis=0)) < 1e-8


@pytest.mark.ngspice
def test_ngspice_takes_the_same_steps():
    engine = engine_or_skip("ngspice")
    wanted, by_nodal, reads, _ = run("feedback")
    found, by_ngspice, as_many, _ = run("feedback", engine=engine)
    np.testing.assert_array_equal(found.newton_iterations, wanted.newton_iterations)
    assert relative(found.z, wanted.z) < 1e-10
    assert relative(by_ngspice.A, by_nodal.A) < 1e-9
    assert as_many == reads


def test_a_step_that_is_too_long_is_refused_by_name():
    A, _, z0, h = problem()
    with program(A) as A_hw, program(A.T) as B_hw, FeedbackLoop(A_hw, B_hw) as loop:
        field = ReluField(A_hw, B_hw)
        field.circuit = loop
        with pytest.raises(StabilityError, match=r"is unstable: .* smaller time steps, or solve this system by gmres"):
            integrate(field, z0, h=50 * h, steps=1, krylov=KrylovOptions(method="feedback"))


def test_without_a_circuit_the_error_says_how_to_set_one():
    A, B, z0, h = problem()
    field = ReluField(DenseOperator(A), DenseOperator(B))
    with pytest.raises(InvalidInputError, match=r"set field.circuit to the FeedbackLoop of A and B, or choose gmres"):
        integrate(field, z0, h=h, steps=1, krylov=KrylovOptions(method="feedback"))


@pytest.mark.ngspice
def test_circuits_of_many_step_sizes_take_turns_in_few_processes(monkeypatch):
    engine = engine_or_skip("ngspice")
    monkeypatch.setattr("xbar_spice.feedback.answer.RESIDENT", 1)
    A, B, z0, h = problem()
    slopes = np.ones((M, BATCH), bool)
    with (
        program(A) as A_hw,
        program(B) as B_hw,
        FeedbackLoop(A_hw, B_hw) as nodal,
        FeedbackLoop(A_hw, B_hw, engine=engine) as loop,
    ):
        for c in (h, h / 2, h):
            assert relative(loop.solve(slopes, c, z0), nodal.solve(slopes, c, z0)) < 1e-9
            (process,) = loop._circuits._resident.values()
            assert process.pid is not None
    assert process.pid is None
