"""Models of any field through everything: gradients against central differences of the loss on the same chip."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import relative, truth

import xbar_spice as xs
from xbar_spice.cosim.gradients import ReadDerivative
from xbar_spice.cosim.run import Run, program_model, solve_model
from xbar_spice.cosim.run.cosimulation import digital_run
from xbar_spice.cosim.run.programming import ends_on, field_on, weights_on_arrays
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import as_operator
from xbar_spice.solve.fields import (
    AntisymmetricField,
    Evaluation,
    HamiltonianField,
    ParabolicField,
    Parameters,
)

WIRED = xs.Design(r_word=20.0, r_bit=20.0, r_driver=50.0, r_sense=50.0, headroom=2.0)
TIGHT = xs.SolverOptions(xs.NewtonOptions(rtol=1e-12), xs.KrylovOptions(rtol=1e-12))
SAMPLES = 2
rng = np.random.default_rng(5)


def numbers(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape) / 2


def image(*channels: int, time: bool = False) -> xs.Convolution:
    return xs.Convolution(numbers(*channels, 3, 3), (2, 2), "zero", time=time)


FIELDS: dict[str, xs.Field | xs.Layers] = {
    "activation": xs.ActivationField(
        numbers(4, 3), numbers(3, 4), "tanh", bias=numbers(4), output_bias=numbers(3)
    ),
    "softplus": xs.ActivationField(numbers(2, 3), numbers(3, 2), "softplus", bias=numbers(2)),
    "layer": xs.LayerField(numbers(3, 3), numbers(3), "tanh"),
    "residual": xs.ResidualField("tanh", K1=numbers(4, 3), b1=numbers(4), K2=numbers(3, 4), b2=numbers(3)),
    "perceptron": xs.PerceptronField("elu", K1=numbers(4, 3), b1=numbers(4), K2=numbers(2, 4), K3=numbers(3, 2)),
    "antisymmetric": AntisymmetricField(numbers(3, 3), numbers(3), "tanh"),
    "parabolic": ParabolicField(numbers(4, 3), "tanh", bias=numbers(4)),
    "hamiltonian": HamiltonianField(numbers(2, 2), numbers(2), "tanh"),
    "convolutions": xs.ActivationField(image(2, 1), image(1, 2), "tanh", bias=numbers(2), output_bias=numbers(1)),
    "convolution layer": HamiltonianField(image(1, 1), numbers(1), "tanh"),
    "weights of each step": xs.Layers([xs.LayerField(numbers(3, 3), numbers(3), "tanh") for _ in range(2)]),
    "time as a line": xs.TimedField(
        xs.ActivationField(numbers(4, 4), numbers(3, 4), "tanh", bias=numbers(4), time=True)
    ),
}  # fmt: skip
CHANNELS = {
    "time channels": xs.ActivationField(
        image(2, 2, time=True), image(1, 3, time=True), "tanh", bias=numbers(2), output_bias=numbers(1), time=True
    ),
    "perceptron in time": xs.PerceptronField(
        "tanh", time=True, K1=numbers(4, 4), K2=numbers(2, 5), b2=numbers(2), K3=numbers(3, 2)
    ),
    "antisymmetric in time": AntisymmetricField(numbers(3, 4), numbers(3), time=True),
    "parabolic in time": ParabolicField(image(2, 2, time=True), "tanh", bias=numbers(2), time=True),
    "normalised": xs.NormalisedField(
        "tanh", groups=1, time=True, K1=numbers(4, 4), b1=numbers(4), K2=numbers(3, 5),
        **{f"scale{j}": numbers(length) for j, length in enumerate((3, 4, 3))}, shift1=numbers(4), shift2=numbers(3),
    ),
}  # fmt: skip
FIELDS |= {name: xs.TimedField(field) for name, field in CHANNELS.items()}
ON_A_LINE = (
    "activation",
    "layer",
    "parabolic",
    "convolutions",
    "weights of each step",
    "time as a line",
    "time channels",
    "parabolic in time",
)
IN_NGSPICE = (
    "activation", "layer", "residual", "antisymmetric", "parabolic", "hamiltonian", "convolutions",
    "weights of each step",
)  # fmt: skip
FIELDS["circular"] = xs.ActivationField(
    xs.Convolution(numbers(2, 1, 3, 3), (2, 3)), xs.Convolution(numbers(1, 2, 2, 2), (2, 3)), "tanh", bias=numbers(2)
)
FIELDS["several biases"] = AntisymmetricField(image(2, 2), numbers(2))
OTHER_ARRAYS = [
    ("antisymmetric", ("difference",)),
    ("antisymmetric", ("bias", "difference")),
    ("several biases", ("difference",)),
    ("parabolic", ("bias", "transpose")),
    ("hamiltonian", ("transpose",)),
    ("circular", ("fourier",)),
]
METHODS = {
    "time as a line": "rk4",
    "time channels": "rk4",
    "antisymmetric in time": "forward_euler",
    "parabolic in time": "forward_euler",
    "normalised": "forward_euler",
    "circular": "forward_euler",
    "several biases": "forward_euler",
    "perceptron in time": "ab3",
    "hamiltonian": "verlet",
    "weights of each step": "ab3",
    "layer": "rk4",
    "residual": "trapezoid",
}


def problem_of(field: xs.Field | xs.Layers, method: str = "implicit_euler", **others: object) -> xs.Problem:
    draw = np.random.default_rng(6)
    n = field.states - isinstance(field, xs.TimedField)
    model = xs.Model(
        field=field,
        h=0.25,
        steps=2,
        method=method,
        encoder=xs.Encoder(draw.standard_normal((n, 2)), draw.standard_normal(n), activation="tanh"),
        classifier=xs.Classifier(draw.standard_normal((3, n)), draw.standard_normal(3)),
        **others,  # type: ignore[arg-type]
    )
    return xs.Problem(model, draw.standard_normal((2, SAMPLES)), xs.CrossEntropy(model.classifier, np.array([0, 2])))


def run(problem: xs.Problem, scale: tuple[float, ...], design: xs.Design = WIRED, engine: str = "nodal") -> Run:
    """On a chip of this range of weights."""
    model = replace(problem.model, weight_range=scale)
    with ExitStack() as opened:
        matrices = [opened.enter_context(one) for one in program_model(model, design, engine, seed=3)]
        return solve_model(problem, field_on(model, matrices), TIGHT, ends=ends_on(model, matrices))


def range_of(model: xs.Model) -> tuple[float, ...]:
    return tuple(2.0 * model.largest(name) for name in model.written)


def moved(problem: xs.Problem, name: str, direction: np.ndarray, step: float) -> xs.Problem:
    model = problem.model.with_tensors({name: problem.model.tensors[name] + step * direction})
    objective = problem.objective
    if isinstance(objective, xs.CrossEntropy):
        objective = replace(objective, classifier=model.classifier)
    return replace(problem, model=model, objective=objective)


@pytest.mark.parametrize(
    ("name", "on_arrays"),
    [(name, ()) for name in FIELDS if name not in ("circular", "several biases")]
    + [(n, ("bias",)) for n in ON_A_LINE]
    + OTHER_ARRAYS,
)
def test_the_true_gradient_of_every_field_is_that_of_the_loss_on_the_chip(
    name: str, on_arrays: tuple[str, ...]
) -> None:
    problem = problem_of(FIELDS[name], METHODS.get(name, "implicit_euler"), on_arrays=on_arrays)
    model, scale = problem.model, range_of(problem.model)
    held = replace(problem, model=replace(model, weight_range=scale))
    found = xs.three_gradients(held, WIRED, seed=3, solver=TIGHT, step=None).gradients["true"]
    draw = np.random.default_rng(7)
    for tensor, value in model.tensors.items():
        direction = draw.standard_normal(value.shape)
        up, down = (run(moved(problem, tensor, direction, step), scale).loss for step in (1e-5, -1e-5))
        expected = (up - down) / 2e-5
        assert np.vdot(found[tensor], direction) == pytest.approx(expected, rel=1e-6, abs=1e-9), tensor


def test_arrays_of_another_form_act_as_the_matrix_where_nothing_is_in_the_way() -> None:
    """States and gradients to rounding; how many arrays there are is another matter."""
    arrays = {
        "fourier": ["A.rows", "A.columns", "A.frequencies0", "A.frequencies1", "B.rows", "B.columns", "B.frequencies0",
                    "B.frequencies1"],
        "transpose": ["A", "B"],
    }  # fmt: skip
    for name, form in (("circular", "fourier"), ("parabolic", "transpose")):
        problem = problem_of(FIELDS[name], METHODS.get(name, "implicit_euler"), on_arrays=(form,))
        found = xs.cosimulate(problem, xs.Design(), engine="ideal", solver=TIGHT)
        assert list(dict.fromkeys(read.matrix for read in found.trace)) == arrays[form]
        assert found.record["state"]["relative_error"] < 1e-12
        assert max(one["relative_error"] for one in found.record["gradients"].values()) < 1e-12


def test_only_blocks_of_frequencies_are_built() -> None:
    field = xs.LayerField(xs.Convolution(numbers(2, 4, 3, 3)[:, :2], (4, 4)))
    model = xs.Model(field=field, h=0.1, steps=1, on_arrays=("fourier",))
    matrices = {one.name: one.mapped for one in program_model(model, xs.Design(tile=16), "ideal")}
    cells = {name: sum(array.crossbar.conductance.size for array in one.arrays) for name, one in matrices.items()}
    assert cells == {"K.rows": 128, "K.columns": 128, **{f"K.frequencies{k}": 4 * 2 * 4 * 4 for k in range(4)}}
    assert len({one.siemens_per_weight for name, one in matrices.items() if "frequencies" in name}) == 1


@pytest.mark.parametrize(
    ("name", "on_arrays", "message"),
    [
        ("convolutions", ("fourier",), "circular convolution with stride 1 .* got padding 'zero'"),
        ("activation", ("fourier",), "no matrix of ActivationField is a convolution"),
        ("circular", ("fourier", "bias"), "'fourier' and 'bias', which make different matrices of one"),
        ("antisymmetric", ("transpose",), "take 'difference', which writes K - K.T to one array"),
        ("parabolic", ("transpose", "difference"), "'difference' and 'transpose', of which a field has one at most"),
        ("layer", ("transpose",), "LayerField has no K.T that could be on an array of its own"),
    ],
)
def test_arrays_that_a_field_is_not_made_of_are_refused(name: str, on_arrays: tuple[str, ...], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        weights_on_arrays(problem_of(FIELDS[name], on_arrays=on_arrays).model)


@pytest.mark.ngspice
@pytest.mark.parametrize("name", IN_NGSPICE)
def test_differences_through_ngspice_confirm_the_true_gradient(name: str) -> None:
    """Along one direction of all matrices and biases of a field at once, in one step."""
    problem = problem_of(FIELDS[name], METHODS.get(name, "forward_euler"))
    if not isinstance(problem.model.field, xs.Layers):
        problem = replace(problem, model=replace(problem.model, steps=1))
    model, scale = problem.model, range_of(problem.model)
    held = replace(problem, model=replace(model, weight_range=scale))
    found = xs.three_gradients(held, WIRED, seed=3, solver=TIGHT, step=None).gradients["true"]
    draw = np.random.default_rng(11)
    direction = {t: draw.standard_normal(v.shape) for t, v in model.tensors.items() if "." not in t}

    def loss(step: float) -> float:
        tensors = {t: model.tensors[t] + step * way for t, way in direction.items()}
        return run(replace(problem, model=model.with_tensors(tensors)), scale, engine="ngspice").loss

    expected = (loss(1e-6) - loss(-1e-6)) / 2e-6  # no weight lies so near zero
    assert sum(np.vdot(found[t], way) for t, way in direction.items()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["layers_res", "layers_ab3_own", "layers_double"])
def test_models_of_weights_of_each_step_are_those_of_the_reference(name: str) -> None:
    case, of_step = truth("layers")[name], {"layers_res": xs.LayerField, "layers_ab3_own": AntisymmetricField}
    given = case["inputs"]
    K, b = np.array(given["K"]), np.array(given["b"])
    if name == "layers_double":
        names = [("K1", "b1", "K2", "b2")] * (len(K) // 2)
        fields = [
            xs.ResidualField("tanh", K1=K[2 * k], b1=b[2 * k], K2=K[2 * k + 1], b2=b[2 * k + 1])
            for k in range(len(names))
        ]
    else:
        fields = [of_step[name](*weights, "tanh") for weights in zip(K, b, strict=True)]
    head = xs.Classifier(np.array(given["W"]), np.array(given["mu"]))
    method = "ab3" if name == "layers_ab3_own" else "forward_euler"
    model = xs.Model(field=xs.Layers(fields), h=given["h"], steps=len(fields), method=method, classifier=head)
    found = digital_run(xs.Problem(model, given["Y0"], xs.CrossEntropy(head, np.array(given["labels"]))), TIGHT)
    assert relative(found.final, case["Y_N"]) < 1e-10
    assert found.loss == pytest.approx(case["loss"], rel=1e-10)
    wanted, got = case["grad_loss"], dict(found.parameters)
    if name == "layers_double":
        got |= {one: np.stack([got[f"{one}1"], got[f"{one}2"]], axis=1).reshape(np.shape(wanted[one])) for one in "Kb"}
    for tensor, reference in (("K", "K"), ("b" if name == "layers_double" else "bias", "b"), ("z0", "Y0")):
        assert relative(got[tensor], wanted[reference]) < 1e-10
    assert relative(got["classifier.weight"], wanted["W"]) < 1e-10


def test_an_array_of_the_difference_takes_half_the_reads_of_one_read_from_both_sides(tmp_path: Path) -> None:
    field = AntisymmetricField([[0.3, 0.5], [-0.4, 0.1]], [0.1, -0.3])
    problems = [problem_of(field, "forward_euler", on_arrays=way) for way in ((), ("difference",))]
    of_one, of_difference = (xs.cosimulate(problem, xs.Design(), engine="ideal") for problem in problems)
    xs.save_model(tmp_path / "model.npz", problems[1].model)
    assert xs.load_model(tmp_path / "model.npz").on_arrays == ("difference",)
    with pytest.raises(InvalidInputError, match=r"ReluField is not made of K - K\^T"):
        _ = xs.Model([[1.0]], [[1.0]], h=0.1, steps=1, on_arrays=("difference",)).deployed
    assert sum(of_difference.record.reads.values()) * 2 == sum(of_one.record.reads.values())
    np.testing.assert_allclose(of_difference.z, of_one.z, rtol=1e-9)
    np.testing.assert_allclose(of_difference.gradients["K"], of_one.gradients["K"], rtol=1e-9)


def test_encoder_and_classifier_can_live_on_arrays() -> None:
    problem = problem_of(FIELDS["layer"], "rk4", on_arrays=("encoder", "classifier"))
    found = xs.cosimulate(problem, WIRED, engine="nodal", seed=3, solver=TIGHT)
    assert {"K forward", "encoder.weight forward", "classifier.weight transposed"} <= set(found.record["reads"])
    study = xs.three_gradients(problem, WIRED, seed=3, solver=TIGHT, step=None)
    scales = [matrix.mapped.siemens_per_weight for matrix in program_model(problem.model, WIRED, "nodal", seed=3)]

    def loss(model: xs.Model) -> float:
        """On the chip that was programmed first."""
        matrices = chip_of(model, scales)
        objective = replace(problem.objective, classifier=model.classifier)  # type: ignore[type-var]
        moved = replace(problem, model=model, objective=objective)
        return solve_model(moved, field_on(model, matrices), TIGHT, ends=ends_on(model, matrices)).loss

    for tensor, value in problem.model.tensors.items():
        up, down = (loss(problem.model.with_tensors({tensor: value + step * (value > 0)})) for step in (1e-5, -1e-5))
        slope = float((study.gradients["true"][tensor] * (value > 0)).sum())
        assert slope == pytest.approx((up - down) / 2e-5, rel=1e-6, abs=1e-9), tensor


def chip_of(model: xs.Model, scales: list[float]) -> list[xs.AnalogMatrix]:
    streams = xs.Streams(3)
    return [
        xs.program(W, WIRED, rng=streams.devices(name), name=name, siemens_per_weight=scale)
        for (name, W), scale in zip(weights_on_arrays(model).items(), scales, strict=True)
    ]


@pytest.mark.parametrize("name", ["activation", "residual", "weights of each step"])
def test_hardware_gradients_are_those_of_the_effective_matrices(name: str) -> None:
    """Reciprocal arrays return the transposes of what they do: autograd on effective matrices finds the same."""
    problem = problem_of(FIELDS[name], METHODS.get(name, "implicit_euler"))
    found = xs.cosimulate(problem, WIRED, engine="nodal", seed=3, solver=TIGHT)
    effective = {m.name: m.to_dense() for m in program_model(problem.model, WIRED, "nodal", seed=3)}
    field = problem.model.field.replaced({name: as_operator(W) for name, W in effective.items()})
    exact = solve_model(problem, field, TIGHT).parameters
    for tensor, gradient in found.gradients.items():
        np.testing.assert_allclose(gradient, exact[tensor], rtol=1e-9, atol=1e-10, err_msg=tensor)
    assert found.record["gradients"].keys() == exact.keys()


class SineField(xs.Field):
    """A field of a user's own, f(z) = V sin(W z), without a word on which matrices it has."""

    def __init__(self, W: np.ndarray, V: np.ndarray) -> None:
        self.W, self.V = as_operator(W), as_operator(V)

    @property
    def states(self) -> int:
        return self.V.shape[0]

    @property
    def hidden_units(self) -> int:
        return self.W.shape[0]

    def evaluate(self, z: np.ndarray) -> Evaluation:
        s = self.W.mv(z)
        return Evaluation(z=z, value=self.V.mv(np.sin(s)), slope=np.cos(s), hidden=np.sin(s))

    def jvp(self, evaluation: Evaluation, direction: np.ndarray) -> np.ndarray:
        return self.V.mv(evaluation.slope * self.W.mv(direction))

    def pull_hidden(self, evaluation: Evaluation, cotangent: np.ndarray) -> np.ndarray:
        return evaluation.slope * self.V.T.mv(cotangent)

    def pull_state(self, evaluation: Evaluation, hidden_cotangent: np.ndarray) -> np.ndarray:
        return self.W.T.mv(hidden_cotangent)

    def parameter_gradients(
        self, evaluation: Evaluation, cotangent: np.ndarray, hidden_cotangent: np.ndarray
    ) -> dict[str, np.ndarray]:
        return {"W": hidden_cotangent @ evaluation.z.T, "V": cotangent @ evaluation.hidden.T}

    def parameter_jvp(self, evaluation: Evaluation, direction: Parameters) -> np.ndarray:
        raise NotImplementedError


def test_a_field_of_one_s_own_goes_through_everything() -> None:
    draw = np.random.default_rng(0)  # no weight so near zero that a step would cross it
    problem = problem_of(SineField(draw.standard_normal((3, 2)), draw.standard_normal((2, 3))), "forward_euler")
    sinh, scale = replace(WIRED, device=xs.Sinh(0.5)), range_of(problem.model)
    held = replace(problem, model=replace(problem.model, weight_range=scale))
    found = xs.three_gradients(held, sinh, seed=3, solver=TIGHT, step=1e-4)
    for tensor in ("W", "V"):
        direction = np.ones_like(problem.model.tensors[tensor])
        up, down = (run(moved(problem, tensor, direction, step), scale, sinh).loss for step in (1e-5, -1e-5))
        assert found.gradients["true"][tensor].sum() == pytest.approx((up - down) / 2e-5, rel=1e-6)
    descent = found.record["descent"]["true"]
    assert descent["measured"] == pytest.approx(descent["expected"], rel=0.01)
    varied = xs.Design(r_word=20.0, variation=xs.Variation(programming=0.05))
    assert set(xs.attribute(problem, varied, seed=3).errors) >= {"state", "gradient of W", "gradient of V"}
    assert {device.matrix for device in xs.sensitivity_map(problem, varied).ranked(24)} == {"W", "V"}


LARGE = xs.Convolution(numbers(1, 1, 3, 3), (33, 32), "zero")  # so many entries that its zeros take no memory


def test_a_large_convolution_is_kept_by_tile_and_acts_as_its_dense_matrix() -> None:
    back = LARGE.with_kernel(numbers(1, 1, 3, 3))
    design = xs.Design(tile=64, skip_empty=True)
    sparse = xs.Model(field=xs.ActivationField(LARGE, back, "tanh"), h=0.25, steps=1, method="forward_euler")
    draw = np.random.default_rng(8)
    x, target = draw.standard_normal((2, sparse.states, 1))
    dense = replace(sparse, field=sparse.field.replaced({n: as_operator(W) for n, W in sparse.matrices.items()}))
    found, wanted = (
        xs.cosimulate(xs.Problem(model, x, xs.SquaredDistance(target)), design, engine="ideal")
        for model in (sparse, dense)
    )
    np.testing.assert_allclose(found.z, wanted.z, rtol=1e-12)
    for kernel, matrix, operator in (("a", "A", LARGE), ("b", "B", back)):
        expected = operator.kernel_gradient(wanted.gradients[matrix])
        np.testing.assert_allclose(found.gradients[kernel], expected, rtol=1e-9)
        assert matrix not in found.gradients


def test_devices_of_a_large_convolution_have_the_gradients_of_its_dense_matrix() -> None:
    design = xs.Design(tile=32, r_word=1.0, r_bit=1.0, skip_empty=True)
    by_tile, dense = xs.map_weights(LARGE, design), xs.map_weights(LARGE.matrix, design)
    some = {array.name: array for array in by_tile.arrays[:4]}
    same = [array for array in dense.arrays if array.name in some]
    draw = np.random.default_rng(9)
    w, x = draw.standard_normal((2, LARGE.shape[0], 2))
    found = [
        (derivative := ReadDerivative(replace(mapped, arrays=tuple(arrays)))).devices_of(derivative.outer(w, x))
        for mapped, arrays in ((by_tile, some.values()), (replace(dense, drawn=by_tile.drawn), same))
    ]
    for array in same:
        np.testing.assert_allclose(found[0][array.devices], found[1][array.devices], rtol=1e-9)
