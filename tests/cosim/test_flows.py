"""Flows on arrays: their likelihood is a loss like any other, with the true gradient through the circuit."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import relative

import xbar_spice as xs
from xbar_spice.cosim import program_model
from xbar_spice.cosim.run.cosimulation import SolverOptions, solve_model
from xbar_spice.cosim.run.programming import field_on
from xbar_spice.errors import InvalidInputError, StudyError
from xbar_spice.report.quantities import columns_of
from xbar_spice.study.file_source import FileSource
from xbar_spice.study.problem import problem_of
from xbar_spice.study.study_file import parse_study
from xbar_spice.train.samples import Samples, Split

RNG = np.random.default_rng(3)
DATA = xs.Data(RNG.normal(size=(3, 2)), labels=np.zeros(3, dtype=int))
EXACT = SolverOptions(newton=xs.NewtonOptions(rtol=1e-13), krylov=xs.KrylovOptions(rtol=1e-13))


def flow(method: str = "forward_euler", layers: int = 2) -> xs.Model:
    rng = np.random.default_rng(4)
    fields = [
        xs.ActivationField(rng.normal(size=(3, 2)), rng.normal(size=(2, 3)) / 4, "tanh", bias=0.3 * rng.normal(size=3))
        for _ in range(layers)
    ]
    return xs.Model(field=xs.Layers(fields) if layers > 1 else fields[0], h=0.25, steps=2 * layers, method=method)


def layered() -> xs.Model:
    return xs.Model(field=xs.LayerField(RNG.normal(size=(2, 2)) / 2, [0.1, -0.2]), h=0.25, steps=3, method="trapezoid")


MODELS = {
    "euler": flow(),
    "implicit": flow("implicit_euler", 1),
    "one matrix": layered(),
    "verlet": xs.Model(
        field=xs.Layers([xs.hamiltonian_field([[1.0]], [0.2]), xs.hamiltonian_field([[-0.5]], [0.1])]),
        h=0.25,
        steps=2,
        method="verlet",
    ),
}
DEVICES = {"ohmic": xs.Ohmic(), "sinh": xs.Sinh(0.3)}
BASE = xs.Design(r_word=5.0, r_bit=5.0, r_driver=20.0, variation=xs.Variation(programming=0.05), headroom=1.5)


@pytest.mark.parametrize("name", MODELS)
def test_the_loss_is_the_mean_negative_log_likelihood(name: str) -> None:
    """On digital matrices and on arrays, with the least determinant of a step."""
    model = MODELS[name]
    problem = xs.make_problem(model, data=DATA, samples=3, loss="likelihood")
    found = xs.cosimulate(problem, BASE, engine="nodal", solver=EXACT)
    with ExitStack() as opened:
        matrices = [opened.enter_context(one) for one in program_model(model, BASE, "nodal")]
        for run, field in (("digital", model.field), ("analog", field_on(model, matrices))):
            wanted = xs.density_gradients(field, DATA.x, model.method, h=model.h, steps=model.steps)
            assert found.record["loss"][run] == pytest.approx(-wanted.log_density.mean(), rel=1e-9)
            least = {"digital": "digital_least_determinant", "analog": "least_determinant"}[run]
            assert found.record["flow"][least] == pytest.approx(wanted.least_determinant.min(), rel=1e-9)
    assert found.record.flow is not None
    assert found.record.flow.nats_above == found.record.loss.analog - found.record.loss.digital
    assert found.record.accuracy.analog is None


@pytest.mark.parametrize(("name", "device"), [*((name, "ohmic") for name in MODELS), ("euler", "sinh")])
def test_the_true_gradient_is_that_of_the_analog_likelihood(name: str, device: str) -> None:
    """With respect to the programmed weights, by central differences; devices keep their programming factors."""
    model = MODELS[name]
    design = replace(BASE, device=DEVICES[device])
    held = xs.Chip(design).prepared(model)
    problem = xs.make_problem(held, data=DATA, samples=3, loss="likelihood")
    found = xs.three_gradients(problem, design, solver=EXACT, step=None)

    def loss(tensors: dict[str, np.ndarray]) -> float:
        moved = held.with_tensors(tensors)
        with ExitStack() as opened:
            matrices = [opened.enter_context(one) for one in program_model(moved, design, "nodal")]
            return solve_model(replace(problem, model=moved), field_on(moved, matrices), EXACT).loss

    rng, step = np.random.default_rng(5), 1e-5
    way = {tensor: rng.normal(size=value.shape) for tensor, value in model.tensors.items()}
    up, down = (
        loss({tensor: value + sign * step * way[tensor] for tensor, value in model.tensors.items()}) for sign in (1, -1)
    )
    along = sum(float(np.vdot(found.gradients["true"][tensor], way[tensor])) for tensor in way)
    assert along == pytest.approx((up - down) / (2 * step), rel=1e-6)
    assert found.record["loss"]["analog"] == pytest.approx(loss({}), rel=1e-9)
    if device == "ohmic":  # the same ends: reciprocity makes transposed reads the transposes
        for tensor, gradient in found.gradients["effective"].items():
            assert relative(found.gradients["hardware"][tensor], gradient) < 1e-7


@pytest.mark.parametrize("gradient", ["hardware", "hybrid", "true"])
def test_flows_are_tuned_on_a_chip_by_any_gradient(gradient: str) -> None:
    model, chip = flow(), xs.Chip(BASE, gradient=gradient)
    samples = Samples(DATA.x.T, None, loss="likelihood")
    schedule = xs.Schedule(epochs=4, batch=3, jitter=0.0, learning_rate=0.05)
    tuned = xs.tune(model, schedule, processor=chip, digits=Split(samples, samples))
    assert tuned.history[-1].test.loss < tuned.before.loss - 0.05
    assert tuned.before.accuracy is None


def test_a_study_has_the_likelihood_error_in_its_columns(tmp_path: Path) -> None:
    xs.save_model(tmp_path / "flow.npz", replace(flow(layers=1), trained_on="two_moons(samples=40, scaled=True)"))
    study = {
        "name": "flow",
        "model": {"weights": "flow.npz"},
        "data": {"samples": 4, "loss": "likelihood"},
        "circuit": {"engine": "nodal"},
        "axes": [{"name": "ohm", "fields": ["circuit.r_word", "circuit.r_bit"], "values": [0.0, 20.0]}],
    }
    parsed = parse_study(study)
    source = FileSource.of(parsed, tmp_path / "study.toml", tmp_path)
    setups = [source.setup(point.changes) for point in parsed.combinations]
    assert len({one.case_id(0) for one in setups}) == 2
    assert source.setup(parsed.combinations[0].changes).content["parameters"]["data"]["loss"] == "likelihood"
    none, lost = (columns_of(one.run(0).record) for one in setups)
    assert abs(none["flow.nats_above"]) < 1e-9 < abs(lost["flow.nats_above"])
    assert none["flow.least_determinant"] == pytest.approx(lost["flow.digital_least_determinant"], rel=1e-9)


def test_what_is_no_flow_is_refused_with_the_way_out() -> None:
    with pytest.raises(StudyError, match="loss='likelihood'"):
        xs.make_problem(flow(), data=DATA)
    with pytest.raises(StudyError, match="rk4 has no gradient of its determinant"):
        problem_of(flow("rk4"), DATA, "likelihood")
    classified = replace(flow(), classifier=xs.Classifier(np.eye(2), np.zeros(2)))
    with pytest.raises(StudyError, match="encoder or a classifier"):
        problem_of(classified, DATA, "likelihood")
    with pytest.raises(InvalidInputError, match="known as a whole"):
        xs.three_gradients(problem_of(flow(), DATA, "likelihood"), BASE, by="sample")
