"""What a solve costs in reads, and the stage under which each read is made."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from support.doubles import Recorded

from xbar_spice.read_context import Stage, current_stage, stage
from xbar_spice.solve.adjoint.discrete import gradients
from xbar_spice.solve.fields.field import ReluField
from xbar_spice.solve.fields.systems import hamiltonian_field
from xbar_spice.solve.integrators.integration import integrate
from xbar_spice.solve.integrators.layers import Layers


def recorded_field(seed: int, n: int = 6, m: int = 8) -> tuple[ReluField, Recorded, Recorded]:
    rng = np.random.default_rng(seed)
    A, B = Recorded(rng.normal(size=(m, n))), Recorded(rng.normal(size=(n, m)))
    return ReluField(A, B), A, B


def test_stage_nests_and_is_restored() -> None:
    assert current_stage() == Stage()
    with stage(phase="newton", step=2) as outer:
        with stage(newton=1):
            assert current_stage() == Stage(phase="newton", step=2, newton=1)
        assert current_stage() == outer
        with pytest.raises(RuntimeError), stage(phase="krylov"):
            raise RuntimeError
        assert current_stage() == outer
    assert current_stage() == Stage()


def test_forward_euler_reads_once_per_step_each_way() -> None:
    field, A, B = recorded_field(0)
    trajectory = integrate(field, np.ones((6, 3)), "forward_euler", h=0.02, steps=5)
    for operator in (A, B):
        assert [(at.phase, at.step) for at, _, _ in operator.reads] == [("forward", k) for k in range(5)]
        operator.reads.clear()
    gradients(trajectory, np.ones((6, 3)))
    for operator in (A, B):
        assert [(at.phase, at.step, way) for at, way, _ in operator.reads] == [
            ("adjoint", k, "transposed") for k in range(4, -1, -1)
        ]


def test_implicit_euler_reads_what_its_iterations_need_and_no_more() -> None:
    """One residual at the start, one for each Newton step (the guess of later steps is known), one per product."""
    field, A, B = recorded_field(1)
    trajectory = integrate(field, np.random.default_rng(0).normal(size=6), h=0.02, steps=5)
    for operator in (A, B):
        assert operator.count("newton") == 1 + trajectory.newton_iterations.sum()
        assert operator.count("krylov") == trajectory.krylov_iterations.sum()
        assert len(operator.reads) == operator.count(direction="forward")
        operator.reads.clear()
    g = gradients(trajectory, np.ones(6))
    assert A.count("adjoint", "transposed") == len(A.reads) == g.krylov_iterations.sum() == g.evaluations
    # B^T (h lam) gives the parameters' gradients; A^T of it is lam_n - lam_{n+1} and not read.
    assert B.count("adjoint", "transposed") == len(B.reads) == g.krylov_iterations.sum() + 5


def test_stages_of_implicit_euler_count_up() -> None:
    field, A, _ = recorded_field(2)
    trajectory = integrate(field, np.random.default_rng(0).normal(size=6), h=0.05, steps=2)
    newton = [(at.step, at.newton) for at, _, _ in A.reads if at.phase == "newton"]
    first, second = trajectory.newton_iterations.tolist()
    assert newton == [(0, k) for k in range(first + 1)] + [(1, k) for k in range(1, second + 1)]
    krylov = [at.krylov for at, _, _ in A.reads if (at.phase, at.step, at.newton) == ("krylov", 0, 1)]
    assert krylov == list(range(1, len(krylov) + 1))
    A.reads.clear()
    g = gradients(trajectory, np.ones(6))
    counted = Counter((at.step, at.newton) for at, _, _ in A.reads)
    assert counted == {(k, None): int(g.krylov_iterations[k]) for k in range(2)}
    assert [at.krylov for at, _, _ in A.reads] == [k + 1 for s in (1, 0) for k in range(g.krylov_iterations[s])]


def test_converged_samples_cost_no_read() -> None:
    """Samples whose units are all off stay where they are: after the first residual nobody reads them."""
    rng = np.random.default_rng(3)
    A = Recorded(np.abs(rng.normal(size=(5, 4))))
    B = Recorded(rng.normal(size=(4, 5)))
    z0 = np.abs(rng.normal(size=(4, 6)))
    z0[:, [0, 2, 5]] *= -1.0
    trajectory = integrate(ReluField(A, B), z0, h=0.05, steps=1)
    np.testing.assert_array_equal(trajectory.newton_iterations[0, [0, 2, 5]], 0)
    np.testing.assert_array_equal(trajectory.z[1][:, [0, 2, 5]], z0[:, [0, 2, 5]])
    for operator in (A, B):
        assert operator.vectors("newton") == 6 + trajectory.newton_iterations.sum()
        assert operator.vectors("krylov") == trajectory.krylov_iterations.sum()
        assert max(vectors for at, _, vectors in operator.reads if at.phase == "krylov") == 3


def test_a_batch_shares_its_reads() -> None:
    field, A, _ = recorded_field(4)
    z0 = np.random.default_rng(0).normal(size=(6, 32))
    trajectory = integrate(field, z0, h=0.02, steps=3)
    assert A.count("krylov") <= 3 * (trajectory.krylov_iterations.max() + 6)
    assert A.vectors("krylov") == trajectory.krylov_iterations.sum()


@pytest.mark.parametrize(("method", "reads"), [("rk4", 4), ("ab3", 1)])
def test_explicit_methods_read_once_for_each_stage_and_way(method: str, reads: int) -> None:
    field, A, B = recorded_field(5)
    trajectory = integrate(field, np.ones((6, 3)), method, h=0.02, steps=5)
    for operator in (A, B):
        assert [(at.phase, at.step) for at, _, _ in operator.reads] == [
            ("forward", k) for k in range(5) for _ in range(reads)
        ]
        operator.reads.clear()
    found = gradients(trajectory, np.ones((6, 3)))
    np.testing.assert_array_equal(found.evaluations, 5 * reads)
    for operator in (A, B):
        assert len(operator.reads) == operator.count("adjoint", "transposed") == 5 * reads


def test_one_array_of_a_hamiltonian_is_read_from_both_sides_and_steps_are_counted_through_layers() -> None:
    arrays = [Recorded(np.random.default_rng(seed).normal(size=(3, 3))) for seed in range(2)]
    layers = Layers([hamiltonian_field(array) for array in arrays])
    trajectory = integrate(layers, np.ones((6, 2)), "verlet", h=0.1, steps=4)
    for layer, array in enumerate(arrays):
        assert [(at.step, way) for at, way, _ in array.reads] == [
            (2 * layer + k, way) for k in range(2) for way in ("forward", "transposed")
        ]
        array.reads.clear()
    gradients(trajectory, np.ones((6, 2)))
    for layer, array in enumerate(arrays):
        assert [(at.phase, at.step, way) for at, way, _ in array.reads] == [
            ("adjoint", 2 * layer + k, way) for k in (1, 0) for way in ("forward", "transposed")
        ]


def test_dopri5_reads_only_samples_on_their_way() -> None:
    field, A, _ = recorded_field(6)
    z0 = np.random.default_rng(0).normal(size=(6, 4)) * np.array([1.0, 1.0, 0.0, 1.0])
    trajectory = integrate(field, z0, "dopri5", h=0.3, steps=2)
    assert A.vectors("forward") == trajectory.evaluations.sum()
    assert trajectory.evaluations[:, 2].sum() < trajectory.evaluations[:, 0].sum()
    back = gradients(trajectory, np.ones((6, 4))).evaluations
    assert A.vectors("adjoint") == back.sum()
    # The last stage of a step is the first of the next one, and what was rejected is not pulled through.
    np.testing.assert_array_equal(back, trajectory.evaluations.sum(axis=0) - 1 - 6 * trajectory.rejected.sum(axis=0))
