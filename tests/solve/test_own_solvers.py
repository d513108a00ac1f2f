"""A linear solver and an integrator of one's own, each one file outside the package: Python, study, command line."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from support import relative
from support.solver_table import FIELDS, changes, slope, start
from support.studies import cases_of, expanded

import xbar_spice as xs
from xbar_spice.cli.app import app
from xbar_spice.errors import InvalidInputError, WeightsError
from xbar_spice.parts import LINEAR_SOLVERS, METHODS
from xbar_spice.solve.integrators import RungeKutta, Tableau
from xbar_spice.solve.linear_solvers import get_linear_solver, solve_linear
from xbar_spice.study.study_file import parse_study
from xbar_spice.train.losses import Score

PARTS = Path(__file__).parents[1] / "parts"
SOLVER = f"{PARTS / 'minimal_residual.py'}:MinimalResidual"
METHOD = f"{PARTS / 'small_steps.py'}:SmallSteps"
HEUN = RungeKutta(Tableau(((), (1.0,)), (0.5, 0.5)))


def field(name: str = "tanh") -> Any:
    build, parameters = FIELDS[name]
    return build(parameters), parameters


@pytest.mark.parametrize("given", ["text", "object", "values"])
@pytest.mark.parametrize("method", ["implicit_euler", "am3"])
def test_a_linear_solver_of_ones_own_gives_what_gmres_gives(given: str, method: str) -> None:
    f, _ = field()
    own = {"text": SOLVER, "object": LINEAR_SOLVERS.get(SOLVER), "values": xs.KrylovOptions(method=SOLVER)}[given]
    found = xs.integrate(f, start("tanh"), method, h=0.15, steps=5, krylov=own)
    wanted = xs.integrate(f, start("tanh"), method, h=0.15, steps=5)
    assert found.converged_all
    assert relative(found.z, wanted.z) < 1e-13
    w = np.ones((f.states, 3))
    for krylov in (None, own):  # that of the forward run by default
        assert relative(xs.gradients(found, w, krylov=krylov).z0, xs.gradients(wanted, w).z0) < 1e-12
    assert relative(xs.tangent(found, w, krylov=own), xs.tangent(wanted, w)) < 1e-12
    assert found.krylov_iterations.sum() > wanted.krylov_iterations.sum()


def test_its_options_reach_it() -> None:
    half = f"{SOLVER}(relaxation=0.5)"
    slow, fast = (solve_linear(lambda x, _: 2.0 * x, np.ones((3, 2)), solver) for solver in (half, SOLVER))
    assert fast.iterations.tolist() == [1, 1]
    assert slow.iterations[0] > 10
    made = get_linear_solver(xs.KrylovOptions(1e-3, 7, method=half, warm_start=True))
    assert (made.rtol, made.max_iterations, made.warm_start) == (1e-3, 7, True)
    assert made.relaxation == 0.5  # type: ignore[attr-defined]


def test_an_integrator_of_ones_own_is_exact() -> None:
    f, parameters = field()
    z0 = start("tanh")
    found = xs.integrate(f, z0, METHOD, h=0.4, steps=3)
    wanted = xs.integrate(f, z0, "forward_euler", h=0.1, steps=12)
    assert found.method == METHOD
    assert relative(found.z, wanted.z[::4]) < 1e-14
    w, dz, dp = np.ones_like(z0), np.full_like(z0, 0.3), changes(parameters)
    g = xs.gradients(found, w)
    assert relative(g.z0, xs.gradients(wanted, w).z0) < 1e-13
    assert np.sum(w * xs.tangent(found, dz, dp)) == pytest.approx(slope(g, dz, dp), rel=1e-12)
    split = xs.gradients(found, w, by="step")
    for name, parts in split.parameters.items():
        assert relative(parts.sum(axis=0), g.parameters[name]) < 1e-12
    lean = xs.checkpointed_gradients(f, z0, lambda _: w, METHOD, h=0.4, steps=3, every=2)
    assert relative(lean.gradients.z0, g.z0) < 1e-13


def test_a_method_is_known_by_its_text() -> None:
    f, _ = field()
    own = METHODS.get(f"{METHOD}(substeps=2)")
    assert METHODS.text(own).endswith("SmallSteps(substeps=2)")
    for name in METHODS:
        assert METHODS.text(METHODS.get(name)) == name
    for name in LINEAR_SOLVERS:
        assert LINEAR_SOLVERS.text(LINEAR_SOLVERS.get(name)) == name
    assert xs.integrate(f, start("tanh"), METHODS.get("rk4"), h=0.1, steps=1).method == "rk4"
    heun = xs.integrate(f, start("tanh"), HEUN, h=0.1, steps=2)
    assert "RungeKutta(tableau=" in heun.method
    w = np.ones_like(start("tanh"))
    assert relative(xs.continuous_gradients(heun, w).z0, xs.gradients(heun, w).z0) < 0.1
    assert relative(xs.continuous_gradients(heun, w, METHODS.get("rk4")).z0, xs.gradients(heun, w).z0) < 0.1


def test_an_object_in_a_file_is_a_part_that_is_ready(tmp_path: Path) -> None:
    file = tmp_path / "ready.py"
    file.write_text(
        "import xbar_spice as xs\nfrom xbar_spice.solve.integrators import RungeKutta, Tableau\n"
        "HEUN = RungeKutta(Tableau(((), (1.0,)), (0.5, 0.5)))\nSHORT = xs.Gmres(restart=3)\n"
    )
    assert METHODS.get(f"{file}:HEUN") == HEUN
    assert get_linear_solver(xs.KrylovOptions(1e-3, method=f"{file}:SHORT")) == xs.Gmres(1e-3, restart=3)
    assert get_linear_solver(f"{file}:SHORT(restart=4)") == xs.Gmres(restart=4)


def test_dopri5_has_options_of_its_own() -> None:
    f, _ = field()
    z0, given = start("tanh"), {"h": 1.0, "steps": 2}
    run = xs.integrate(f, z0, "dopri5(rtol=1e-3, atol=1e-3)", **given)
    same = xs.integrate(f, z0, "dopri5", adaptive=xs.AdaptiveOptions(1e-3, 1e-3), **given)
    np.testing.assert_array_equal(run.z, same.z)
    both = xs.integrate(f, z0, xs.DormandPrince(rtol=1e-3), adaptive=xs.AdaptiveOptions(atol=1e-3), **given)
    np.testing.assert_array_equal(both.z, same.z)
    assert METHODS.text(xs.DormandPrince(rtol=1e-3)) == "dopri5(rtol=0.001)"
    with pytest.raises(InvalidInputError, match="rtol of an adaptive method must be in"):
        xs.DormandPrince(rtol=2.0)


@pytest.mark.parametrize("solver", LINEAR_SOLVERS.names)
def test_values_objects_and_texts_are_one(solver: str) -> None:
    own = {"restart": 7} if solver in ("gmres", "bicgstab") else {"damping": 0.5} if solver != "cg" else {}
    common = {"rtol": 1e-6, "max_iterations": 9, "warm_start": True}
    values = xs.KrylovOptions(method=solver, restart=7, damping=0.5, **common)  # what a solver has not is left out
    assert values.solver == LINEAR_SOLVERS.get(solver, **common, **own)
    assert get_linear_solver(replace(values, method="gmres")) == xs.Gmres(1e-6, 9, True, 7)
    assert xs.SolverOptions(krylov=solver) == xs.SolverOptions(krylov=xs.KrylovOptions(1e-8, method=solver))
    assert get_linear_solver(values.without_circuit()).without_circuit() == get_linear_solver(values.without_circuit())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: xs.KrylovOptions(method=xs.Gmres()), "give it in place of KrylovOptions"),
        (lambda: METHODS.get("rk4(order=5)"), r"'rk4' cannot be made with \(order=5\)"),
        (lambda: xs.KrylovOptions(method=METHOD), "must be a subclass of LinearSolver"),
        (lambda: xs.KrylovOptions(method="gmres(rtol=0.1)"), "multiple values for keyword argument 'rtol'"),
        (lambda: xs.Gmres(restart=0), "restart must be None or >= 1, got 0"),
        (lambda: xs.Chord(damping=2.0), r"damping must be in \(0, 1\], got 2"),
        (lambda: xs.Richardson(rtol=-1.0), r"rtol of a linear solve must be in \[0, 1\), got -1"),
        (lambda: get_linear_solver(xs.Gmres), r"did you mean Gmres\(\)\?"),
        (lambda: get_linear_solver(""), "linear solver must be one of"),
        (lambda: xs.integrate(field()[0], start("tanh"), SOLVER, h=0.1, steps=1), "must be a subclass of Method"),
    ],
)
def test_what_is_none_is_refused(make: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make()


def test_cosimulation_with_parts_of_ones_own(dense: xs.Problem) -> None:
    design = xs.Design(r_word=2.0, r_bit=1.0)
    wanted = xs.cosimulate(dense, design, engine="nodal").record
    for krylov in (SOLVER, LINEAR_SOLVERS.get(SOLVER, rtol=1e-8)):
        found = xs.cosimulate(dense, design, engine="nodal", solver=xs.SolverOptions(krylov=krylov)).record
        assert found["convergence"]["analog"]["converged"]
        assert found["state"]["relative_error"] == pytest.approx(wanted["state"]["relative_error"], rel=1e-4)
        assert found["solver"]["krylov"]["method"].endswith(":MinimalResidual")
        assert found["solver"]["krylov"]["rtol"] == 1e-8
    own = replace(dense, model=replace(dense.model, method=METHOD))
    assert xs.cosimulate(own, design, engine="nodal").record["convergence"]["analog"]["newton_iterations"] == [0, 0]


def test_a_study_varies_them(tmp_path: Path, rng: np.random.Generator) -> None:
    model = xs.Model(rng.standard_normal((5, 4)), rng.standard_normal((4, 5)) / 3, h=0.25, steps=2)
    study = parse_study(
        {
            "name": "own",
            "model": {"weights": "w.npz"},
            "data": {"task": "random"},
            "circuit": {"engine": "nodal"},
            "axes": [{"name": "solver", "fields": ["solver.krylov.method"], "values": ["gmres", SOLVER]}],
        }
    )
    first, second = (setup.run(case.seed).record for case, setup in expanded(study, model))
    assert second["solver"]["krylov"]["method"] == SOLVER
    assert second["loss"]["analog"] == pytest.approx(first["loss"]["analog"], rel=1e-6)
    assert sum(second["reads"].values()) > sum(first["reads"].values())


def test_a_case_is_known_by_what_the_file_of_a_part_says(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text((PARTS / "minimal_residual.py").read_text())
    model = xs.Model(np.eye(2), np.eye(2), h=0.25, steps=2)
    given = {"name": "own", "model": {"weights": "w.npz"}, "data": {"task": "random"}}
    study = parse_study(given | {"solver": {"krylov": {"method": f"{file}:MinimalResidual"}}})
    first, again = (cases_of(study, model)[0].id for _ in range(2))
    file.write_text(file.read_text() + "# another version\n")
    assert cases_of(study, model)[0].id != first == again


def test_the_command_line_takes_a_solver(tmp_path: Path, rng: np.random.Generator) -> None:
    model = xs.Model(rng.standard_normal((5, 4)), rng.standard_normal((4, 5)) / 3, h=0.25, steps=2)
    xs.save_model(tmp_path / "w.npz", model)
    arguments = ["cosim", str(tmp_path / "w.npz"), "--engine", "nodal", "--data", "random", "--linear-solver"]
    done = CliRunner().invoke(app, [*arguments, SOLVER], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    refused = CliRunner().invoke(app, [*arguments, "qmr"])
    assert refused.exit_code == 2
    assert "'gmres', 'bicgstab', 'cg'" in " ".join(refused.output.split())


def test_a_method_of_ones_own_is_never_in_a_weight_file(tmp_path: Path) -> None:
    """A weight file is data, and what it names would be run."""
    model = xs.Model(np.eye(2), np.eye(2), h=0.25, steps=2, method=f"{METHOD}(substeps=3)")
    with pytest.raises(WeightsError, match="a weight file names a method of this package and no code"):
        xs.save_model(tmp_path / "w.npz", model)
    xs.save_model(tmp_path / "w.npz", replace(model, method="trapezoid"))
    again = replace(xs.load_model(tmp_path / "w.npz"), method=model.method)
    problem = xs.make_problem(again, samples=2, task="random")
    assert xs.cosimulate(problem, xs.Design(), engine="ideal").record.converged


@dataclass(frozen=True, eq=False)
class Distance(xs.Objective):
    """The mean of |z|, without a second derivative."""

    def evaluate(self, z: Any) -> Score:
        return Score(float(np.abs(z).mean()), None, np.sign(z) / z.size)


def test_a_loss_of_ones_own_may_go_without_curvature(dense: xs.Problem) -> None:
    problem = replace(dense, objective=Distance())
    assert xs.cosimulate(problem, xs.Design(r_word=2.0), engine="nodal").record["loss"]["analog"] > 0.0
    with pytest.raises(InvalidInputError, match=r"sensitivity_map needs the second derivative.*Distance has none"):
        xs.sensitivity_map(problem, xs.Design(variation=xs.Variation(programming=0.1)))
