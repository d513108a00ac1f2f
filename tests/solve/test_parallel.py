"""Runs that are parallel in time: the reference values, and that they end where the sequential run is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import relative, truth
from support.solver_table import FIELDS, numbers, start

import xbar_spice as xs
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import METHODS
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.integrators.method import SolveOptions
from xbar_spice.solve.parallel import Relaxation, Work

CASES = truth("multilevel")
TIGHT = SolveOptions(newton=xs.NewtonOptions(rtol=1e-14, max_iterations=30), krylov=xs.Gmres(rtol=1e-14))


def grid(given: dict[str, Any]) -> dict[str, Any]:
    return {"h": given["h"], "steps": given["N"], "coarsening": given["cf"]}


def field_of(given: dict[str, Any]) -> xs.ActivationField:
    return xs.ActivationField(given["A"], given["B"], given["activation"])


def equal(found: FloatArray, wanted: Any) -> bool:
    """To ten digits, rounding of numbers of about 1 apart."""
    return bool(np.allclose(found, numbers(wanted), rtol=1e-10, atol=2e-15))


@pytest.mark.parametrize("relaxation", ["F", "FCF"])
@pytest.mark.parametrize("name", ["mgrit_linear", "mgrit_relu"])
def test_reference_values_both_ways(name: str, relaxation: Relaxation) -> None:
    case = CASES[name]
    given, forward, backward = case["inputs"], case[f"forward_{relaxation}"], case[f"adjoint_{relaxation}"]
    rounds = len(forward) - 1  # after which it is exact
    run = xs.parallel_in_time(field_of(given), given["z0"], **grid(given), relaxation=relaxation, iterations=rounds)
    found = xs.parallel_gradients(run, run.z[-1] - numbers(given["target"]), relaxation=relaxation, iterations=rounds)
    assert equal(run.errors, forward)
    assert equal(found.errors, backward)
    assert relative(run.z[-1], case["z_N"]) < 1e-13
    np.testing.assert_array_equal(run.z[:: given["cf"]], run.cuts)
    for what, value in (("gA", found.gradients.A), ("gB", found.gradients.B), ("lam0", found.gradients.z0)):
        assert relative(value, case[what]) < 1e-12


@pytest.mark.parametrize("name", ["mgrit_linear", "mgrit_relu"])
def test_gradients_after_a_few_iterations_both_ways(name: str) -> None:
    case = CASES[name]
    given, wanted = case["inputs"], np.hstack([np.ravel(case["gA"]), np.ravel(case["gB"])])
    for rounds, error in enumerate(case["gradient_error_after_k_iterations_both_ways"]):
        run = xs.parallel_in_time(field_of(given), given["z0"], **grid(given), iterations=rounds, compare=False)
        found = xs.parallel_gradients(run, run.z[-1] - numbers(given["target"]), iterations=rounds, compare=False)
        assert run.errors.size == found.errors.size == 0
        off = np.hstack([found.gradients.A.ravel(), found.gradients.B.ravel()]) - wanted
        assert np.linalg.norm(off) / np.linalg.norm(wanted) == pytest.approx(error, rel=1e-7)


@pytest.mark.parametrize("name", ["linear", "relu"])
def test_slices_on_copies_converge_to_the_chain_of_the_copies(name: str) -> None:
    case, given = CASES[f"mgrit_copies_{name}"], CASES[f"mgrit_{name}"]["inputs"]
    A, B, deviation = numbers(given["A"]), numbers(given["B"]), case["inputs"]["deviation"]
    changes = [[1 + deviation * numbers(xi) for xi in case["inputs"][f"xi_{matrix}"]] for matrix in "AB"]
    copies = xs.Layers([xs.ActivationField(A * a, B * b, given["activation"]) for a, b in zip(*changes, strict=True)])
    run = xs.parallel_in_time(copies, given["z0"], **grid(given), iterations=8, coarse=field_of(given))
    assert equal(run.errors, case["forward_F"])
    assert relative(run.z[-1], case["z_N"]) < 1e-13
    found = xs.parallel_gradients(run, run.z[-1] - numbers(given["target"]), iterations=8).gradients.parameters
    for matrix, of in zip("AB", changes, strict=True):  # the gradient of the weight that all copies share
        total = sum(change * found[f"{matrix}[{k}]"] for k, change in enumerate(of))
        assert relative(total, case[f"g{matrix}_nominal"]) < 1e-12


@pytest.mark.parametrize("relaxation", ["F", "FCF"])
@pytest.mark.parametrize(
    ("name", "method", "build", "z0"),
    [
        ("mgrit_layers", "forward_euler", xs.LayerField, lambda given: given["y0"]),
        ("mgrit_verlet", "verlet", xs.hamiltonian_field, lambda given: [*given["y0"], 0.0, 0.0]),
    ],
)
def test_layers_with_weights_of_their_own(name: str, method: str, build: Any, z0: Any, relaxation: Relaxation) -> None:
    case = CASES[name]
    given, wanted = case["inputs"], case[f"forward_{relaxation}"]
    layers = xs.Layers([build(K, b) for K, b in zip(given["K"], given["b"], strict=True)])
    rounds = len(wanted) - 1
    run = xs.parallel_in_time(layers, z0(given), method, **grid(given), relaxation=relaxation, iterations=rounds)
    assert equal(run.errors, wanted)
    assert relative(run.z[-1], [*case["y_N"], *(case["z_N"] if method == "verlet" else ())]) < 1e-12


@pytest.mark.parametrize(("coarse", "name"), [("forward_euler", "explicit"), ("implicit_euler", "implicit")])
def test_the_coarse_step_must_be_stable(coarse: str, name: str) -> None:
    given = CASES["mgrit_stiff"]["inputs"]
    field = xs.LayerField(np.diag(given["lam"]), activation="identity")
    run = xs.parallel_in_time(field, np.ones(4), **grid(given), iterations=8, coarse_method=coarse, options=TIGHT)
    assert run.errors == pytest.approx(CASES["mgrit_stiff"][name]["table"], rel=1e-9, abs=1e-15)


def test_one_shot_training_goes_on_from_states_and_cotangents() -> None:
    case = CASES["mgrit_oneshot"]
    given, target = case["inputs"], numbers(case["inputs"]["target"])
    A, B, losses = numbers(given["A"]), numbers(given["B"]), []
    run = xs.parallel_in_time(xs.ReluField(A, B), given["z0"], **grid(given), iterations=0, compare=False)
    back = xs.parallel_gradients(run, run.z[-1] - target, iterations=0, compare=False)
    for _ in range(40):
        run = xs.parallel_in_time(
            xs.ReluField(A, B), given["z0"], **grid(given), iterations=1, start=run.cuts, compare=False
        )
        off = run.z[-1] - target
        losses.append(0.5 * off @ off)
        back = xs.parallel_gradients(run, off, iterations=1, start=back.cuts, compare=False)
        A, B = A - given["step"] * back.gradients.A, B - given["step"] * back.gradients.B
    assert equal(np.array(losses)[case["iterations_listed"]], case["loss"])
    assert relative(A, case["A_after"]) < 1e-12


@pytest.mark.parametrize("relaxation", ["F", "FCF"])
def test_work_is_that_of_the_table(relaxation: Relaxation) -> None:
    case = CASES["mgrit_reads"]
    found = Work.of(slices=16, coarsening=16, relaxation=relaxation, iterations=case["inputs"]["iterations"])
    wanted = case[relaxation]
    assert (found.sequential, found.fine, found.coarse) == (
        case["sequential"], wanted["fine_total"], wanted["coarse_total"]
    )  # fmt: skip
    assert found.critical_path == wanted["critical_path"]
    assert found.critical_path_coarse_digital == wanted["critical_path_coarse_digital"]


def build(kind: str, layers: int) -> Field | xs.Layers:
    make, parameters = FIELDS[kind]
    changed = [{name: (1 + k / 8) * value for name, value in parameters.items()} for k in range(layers)]
    return make(parameters) if layers == 1 else xs.Layers([make(one) for one in changed])


@pytest.mark.parametrize(("method", "layers"), [*((name, 6) for name in METHODS.names), ("ab3", 1), ("dopri5", 1)])
def test_every_method_is_exact_after_as_many_iterations_as_slices(method: str, layers: int) -> None:
    """Forwards and backwards; what a method of several steps remembers goes from slice to slice, too."""
    field, z0 = build("hamiltonian", layers), start("hamiltonian")[:, :2]
    options = {"newton": TIGHT.newton, "krylov": TIGHT.krylov}
    wanted = xs.integrate(field, z0, method, h=0.2, steps=6, **options)  # type: ignore[arg-type]
    cotangent = np.cos(np.arange(z0.size)).reshape(z0.shape)
    gradient = xs.gradients(wanted, cotangent)
    how: dict[str, Any] = {"relaxation": "FCF" if layers == 1 else "F", "iterations": 2 if layers == 1 else 3}
    run = xs.parallel_in_time(field, z0, method, h=0.2, steps=6, coarsening=2, options=TIGHT, **how)
    assert run.errors[-1] < 1e-13 < run.errors[0]
    assert relative(run.z, wanted.z) < 1e-12
    found = xs.parallel_gradients(run, cotangent, **how).gradients
    assert relative(found.z0, gradient.z0) < 1e-11
    assert found.parameters.keys() == gradient.parameters.keys()
    for name, value in gradient.parameters.items():
        assert relative(found.parameters[name], value) < 1e-10
    assert run.converged.shape == (6, z0.shape[1])


def test_slices_live_on_arrays_of_their_own() -> None:
    """Wires and programming errors differ from slice to slice; coarse steps are digital."""
    rng = np.random.default_rng(5)
    A, B = rng.normal(size=(5, 3)) / 2, rng.normal(size=(3, 5)) / 2
    design = xs.Design(r_word=5.0, r_bit=5.0, variation=xs.Variation(0.1))
    chips = [[xs.program(W, design, rng=rng, name=name) for name, W in (("A", A), ("B", B))] for _ in range(2)]
    copies = xs.Layers([xs.ReluField(*chip) for chip in chips])
    run = xs.parallel_in_time(
        copies, [1.0, 0.5, -0.5], h=0.1, steps=4, coarsening=2, iterations=2, coarse=xs.ReluField(A, B)
    )
    wanted = xs.integrate(copies, [1.0, 0.5, -0.5], "forward_euler", h=0.1, steps=4)
    assert relative(run.z, wanted.z) < 1e-12
    found = xs.parallel_gradients(run, [1.0, 0.0, 0.0], iterations=2)
    assert (
        relative(found.gradients.parameters["A[1]"], xs.gradients(wanted, [1.0, 0.0, 0.0]).parameters["A[1]"]) < 1e-12
    )
    for chip in chips:
        for matrix in chip:
            matrix.close()


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"coarsening": 3}, "coarsening must divide the number of steps, 4"),
        ({"iterations": -1}, "iterations must be a whole number from 0"),
        ({"relaxation": "FF"}, "relaxation must be one of 'F', 'FCF'"),
        ({"start": np.zeros((2, 2))}, r"start must have shape \(3, 2\)"),
        ({"coarse": xs.LayerField(np.eye(3))}, "coarse must have states of length 2"),
        ({"coarse_method": "euler"}, "method"),
    ],
)
def test_what_does_not_fit_is_refused(changed: dict[str, Any], text: str) -> None:
    arguments: dict[str, Any] = {"h": 0.1, "steps": 4, "coarsening": 2, "iterations": 1}
    with pytest.raises(InvalidInputError, match=text):
        xs.parallel_in_time(xs.LayerField(np.eye(2)), [1.0, 0.0], **{**arguments, **changed})
