"""Networks of PyTorch by file, without PyTorch: what comes out is what PyTorch computed with them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import xbar_spice as xs
from xbar_spice.errors import InvalidInputError, WeightsError
from xbar_spice.weights.formats import read_tables
from xbar_spice.weights.layouts import flattened
from xbar_spice.weights.reading import read_weights

FOLDER = Path(__file__).parent / "torch"
EXPECTED = dict(np.load(FOLDER / "expected.npz"))
RK4: dict[str, Any] = {"h": 0.25, "steps": 4, "method": "rk4"}
TANH = RK4 | {"activation": "tanh"}

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "checkpoint.pt": ("tanh", TANH),
    "whole_module.pt": ("tanh", TANH),
    "before_1_6.pth": ("tanh", TANH),
    "documented.pt": ("tanh", {}),
    "bfloat16.pt": ("bfloat16", TANH),
    "half_without_bias.pt": ("half_without_bias", TANH),
    "convolutions.pt": ("convolutions", RK4 | {"image_shape": (4, 4), "padding": "zero"}),
    "layer.pt": ("layer", {"field": "layer", "activation": "tanh"}),
    "perceptron.pt": ("perceptron", RK4 | {"activation": "elu"}),
}


def final_states(model: xs.Model, inputs: np.ndarray) -> Any:
    z0 = model.initial(np.ascontiguousarray(inputs.T))
    return xs.integrate(model.field, z0, model.method, h=model.h, steps=model.steps)


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_are_those_of_pytorch(name: str) -> None:
    key, settings = NETWORKS[name]
    model = xs.load_model(FOLDER / name, **settings)
    inputs = EXPECTED["images" if key == "convolutions" else "x"]
    scores = model.classifier.logits(final_states(model, inputs).z[-1])
    np.testing.assert_allclose(scores.T, EXPECTED[f"{key}.logits"], rtol=1e-12, atol=1e-13)


GRADIENTS = {
    "checkpoint.pt": {"A": "l1.weight", "bias": "l1.bias", "B": "l2.weight", "output_bias": "l2.bias"},
    "half_without_bias.pt": {"A": "l1.weight", "B": "l2.weight"},
    "layer.pt": {"K": "K.weight", "b": "K.bias"},
    "perceptron.pt": {f"{of}{k}": f"fc{k}.{part}" for of, part in (("K", "weight"), ("b", "bias")) for k in (1, 2, 3)},
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_are_those_of_autograd(name: str) -> None:
    key, settings = NETWORKS[name]
    model = xs.load_model(FOLDER / name, **settings)
    trajectory = final_states(model, EXPECTED["x"])
    score = xs.CrossEntropy(model.classifier, EXPECTED["labels"]).evaluate(trajectory.z[-1])
    assert score.loss == pytest.approx(float(EXPECTED[f"{key}.loss"]), rel=1e-12)
    found = xs.gradients(trajectory, score.cotangent).parameters
    for parameter, there in GRADIENTS[name].items():
        expected = EXPECTED[f"{key}.grad.odefunc.{there}"]
        np.testing.assert_allclose(found[parameter], expected, rtol=1e-10, atol=1e-13)


def test_a_compiled_function_is_read_as_what_it_holds() -> None:
    whole = xs.load_model(FOLDER / "checkpoint.pt", **TANH)
    model = xs.load_model(FOLDER / "torchscript.pt", **TANH)
    np.testing.assert_array_equal(model.A, whole.A)
    assert model.encoder is None
    assert model.classifier is None


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
def test_what_was_read_is_written_in_the_documented_format(tmp_path: Path, suffix: str) -> None:
    for name, (_, settings) in NETWORKS.items():
        model = xs.load_model(FOLDER / name, **settings)
        xs.save_model(tmp_path / f"model{suffix}", model)
        again = xs.load_model(tmp_path / f"model{suffix}")
        assert again.tensors.keys() == model.tensors.keys()
        for tensor, value in model.tensors.items():
            np.testing.assert_array_equal(again.tensors[tensor], value)
        assert (again.h, again.steps, again.method) == (model.h, model.steps, model.method)


# --- names ----------------------------------------------------------------------------------------------------------

A, B, W, C = np.ones((6, 4)), np.ones((4, 6)), np.ones((4, 5)), np.ones((3, 4))
LAYERS = {"w": np.ones(6), "v": np.ones(4)}


def linear(**layers: Any) -> dict[str, Any]:
    """Tensors of layers without biases, by path; "__" stands for a dot."""
    return {f"{path.replace('__', '.')}.weight": weight for path, weight in layers.items()}


LAYOUTS: dict[str, dict[str, Any]] = {
    "two layers alone": linear(net__0=A, net__2=B),
    "torchdiffeq": linear(func__net__0=A, func__net__2=B),
    "torchdyn": linear(vf__vf__0=A, vf__vf__2=B),
    "a sequence": linear(embedding=W, ode_block__odefunc__fc1=A, ode_block__odefunc__fc2=B, head=C),
    "numbers": {f"{k}.{name}": v for k, n in ((0, W), (3, C)) for name, v in (("weight", n),)}
    | linear(**{"1__func__l1": A, "1__func__l2": B}),
    "wrapped twice": {f"module._orig_mod.{k}": v for k, v in linear(ode__func__0=A, ode__func__2=B).items()},
    "a decoder behind": linear(odefunc__fc_in=A, odefunc__fc_out=B, decoder=C),
    "by the names of the model": {"module.ode.func.A": A, "module.ode.func.B": B, "module.ode.func.bias": LAYERS["w"]},
    "a moving average of a data-parallel model": {
        f"module.{k}": v for k, v in linear(func__net__0=A, func__net__2=B).items()
    }
    | {"n_averaged": np.array(4)},
    "a checkpoint of lightning": {
        f"state_dict.model.{k}": v for k, v in linear(**{"0__vf__vf__0": A, "0__vf__vf__2": B, "1": C}).items()
    },
    "flax": {"params/ode/Dense_0/kernel": A.T, "params/ode/Dense_1/kernel": B.T, "params/head/kernel": C.T},
    "keras": {"dense/kernel:0": A.T, "dense/bias:0": LAYERS["w"], "dense_1/kernel:0": B.T},
    "layers by the names of the model": linear(func__A=A, func__B=B, head=C) | {"func.B.bias": LAYERS["v"]},
}


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("case", LAYOUTS)
def test_layouts(tmp_path: Path, case: str, suffix: str) -> None:
    path, tensors = tmp_path / f"net{suffix}", {k: np.array(v, order="C") for k, v in LAYOUTS[case].items()}
    if suffix == ".npz":
        np.savez(path, **tensors)
    else:
        safetensors.numpy.save_file(tensors, path)
    model = xs.load_model(path, h=0.1, steps=2)
    assert (model.A.shape, model.B.shape) == ((6, 4), (4, 6))
    shapes = [sorted(value.shape) for value in tensors.values()]
    assert (model.encoder is not None) == (sorted(W.shape) in shapes)
    assert (model.classifier is not None) == (sorted(C.shape) in shapes)
    assert ("bias" in model.tensors) == ([6] in shapes)
    assert ("output_bias" in model.tensors) == ([4] in shapes)


def test_weights_of_each_step(tmp_path: Path) -> None:
    """A list of modules, and one of blocks of two layers: a leading axis of steps, of as many as there are."""
    rng = np.random.default_rng(0)
    K, b = rng.normal(size=(12, 4, 4)), rng.normal(size=(12, 4))
    order = (0, *range(11, 0, -1))
    steps = {f"layers.{k}.weight": K[k] for k in order} | {f"layers.{k}.bias": b[k] for k in order}
    safetensors.numpy.save_file(steps | linear(opening=W, head=C), tmp_path / "net.safetensors")
    given = {"h": 0.5, "method": "ab3", "field": "antisymmetric", "activation": "tanh"}
    model = xs.load_model(tmp_path / "net.safetensors", **given)
    assert model.steps == 12
    np.testing.assert_array_equal(model.tensors["K"], K)
    np.testing.assert_array_equal(model.tensors["bias"], b)
    assert model.inputs == 5
    told = xs.load_model(tmp_path / "net.safetensors", {"K": "layers.*", "encoder.weight": "opening"}, **given)
    np.testing.assert_array_equal(told.tensors["bias"], b)
    xs.save_model(tmp_path / "again.npz", told)
    np.testing.assert_array_equal(xs.load_model(tmp_path / "again.npz").tensors["K"], K)
    blocks = {f"blocks.{k}.{name}.weight": (k + 1) * W for k in range(2) for name, W in (("fc1", A), ("fc2", B))}
    np.savez(tmp_path / "blocks.npz", **blocks)
    model = xs.load_model(tmp_path / "blocks.npz", h=0.5)
    np.testing.assert_array_equal(model.tensors["B"], [B, 2 * B])


def test_a_kernel_of_flax_is_that_of_pytorch_in_another_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    there, back = rng.normal(size=(2, 1, 3, 3)), rng.normal(size=(1, 2, 3, 3))
    given = RK4 | {"image_shape": (4, 4), "padding": "zero"}
    np.savez(tmp_path / "torch.npz", **linear(f__0=there, f__1=back))
    kernels = {"f/Conv_0/kernel": there.transpose(2, 3, 1, 0), "f/Conv_1/kernel": back.transpose(2, 3, 1, 0)}
    np.savez(tmp_path / "flax.npz", **kernels)
    models = [xs.load_model(tmp_path / name, **given) for name in ("torch.npz", "flax.npz")]
    assert models[0].tensors["a"].tobytes() == models[1].tensors["a"].tobytes()
    assert models[0].tensors["b"].tobytes() == models[1].tensors["b"].tobytes()


@pytest.mark.parametrize("time", ["first", "last"])
def test_the_time_drives_a_column(tmp_path: Path, time: str) -> None:
    """As in augmented neural ODEs: layers of [t; z], or of [z; t]."""
    rng = np.random.default_rng(0)
    K = [rng.normal(size=shape) for shape in ((5, 4), (5, 5), (3, 5))]
    np.savez(tmp_path / "net.npz", **linear(odefunc__fc1=K[0], odefunc__fc2=K[1], odefunc__fc3=K[2]))
    with pytest.raises(WeightsError, match="if the time drives one column of the first"):
        xs.load_model(tmp_path / "net.npz", **TANH)
    model = xs.load_model(tmp_path / "net.npz", time=time, **TANH)
    assert model.states == 3
    z, t = rng.normal(size=(3, 2)), np.full((1, 2), 0.7)
    driven = np.vstack([t, z] if time == "first" else [z, t])
    expected = K[2] @ np.tanh(K[1] @ np.tanh(K[0] @ driven))
    np.testing.assert_allclose(model.field.evaluate(np.vstack([z, t])).value[:3], expected, rtol=1e-13)
    xs.save_model(tmp_path / "again.npz", model)
    np.testing.assert_array_equal(xs.load_model(tmp_path / "again.npz").tensors["K1"], model.tensors["K1"])


def test_one_of_two_models_in_a_file_is_asked_for(tmp_path: Path) -> None:
    layers = linear(net__0=A, net__2=B)
    both = {f"{part}.{name}": scale * v for part, scale in (("model", 1), ("ema", 2)) for name, v in layers.items()}
    np.savez(tmp_path / "net.npz", **both)
    with pytest.raises(WeightsError, match=r"twice, under 'model' and under 'ema', .* \(--set part=model\)"):
        xs.load_model(tmp_path / "net.npz", **RK4)
    assert xs.load_model(tmp_path / "net.npz", part="ema", **RK4).A[0, 0] == 2.0
    assert xs.load_model(tmp_path / "net.npz", {"A": "ema.net.0", "B": "ema.net.2"}, **RK4).A[0, 0] == 2.0
    with pytest.raises(WeightsError, match="part 'average' is not there; the file has model, ema"):
        xs.load_model(tmp_path / "net.npz", part="average", **RK4)


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "three layers": (linear(f__0=A, f__1=B, f__2=A), {"field": "layer"}, "seems to have 3 layers .*f.0 .*--map"),
    "one layer": (linear(f__0=np.ones((4, 4))), {}, "may be a field of several kinds: say which, field='layer'"),
    "a normalisation": (
        linear(f__0=A, f__1=B) | {"f.norm.weight": LAYERS["w"]},
        {},
        "'scale2' is of a normalisation inside the field: say how many groups",
    ),
    "two encoders": (
        linear(embed__0=W, embed__1=np.ones((4, 4)), f__0=A, f__1=B),
        {},
        r"the encoder has 2 layers, and nobody says what stands between them",
    ),
    "a weight in parts": (
        linear(f__0=A) | {"f.1.parametrizations.weight.original0": np.ones((4, 1))},
        {},
        "'f.1.parametrizations.weight.original0': is a part of a weight .*remove_parametrizations",
    ),
    "no times": (linear(f__0=A, f__1=B), {"h": None}, r"'h' is missing; .* \(--set h=\.\.\.\)"),
    "a kernel": (linear(f__0=np.ones((2, 1, 3, 3)), f__1=np.ones((1, 2, 3, 3))), {}, "give padding 'zero'"),
    "twice": (linear(model__f__A=A, net__f__A=A), {}, "could both be 'A'"),
    "unknown setting": (linear(f__0=A, f__1=B), {"speed": 1}, "setting 'speed': expected one of field, activation"),
    "a number for a text": (linear(f__0=A, f__1=B), {"activation": 1}, "setting 'activation': expected a text, got 1"),
    "code": (
        linear(A=A, B=B) | {"field": np.array("mine.py:Field")},
        {},
        "'field': a weight file names .* and no code",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_told_is_asked_for(tmp_path: Path, case: str) -> None:
    tensors, settings, message = REFUSED[case]
    np.savez(tmp_path / "net.npz", **tensors)
    with pytest.raises(WeightsError, match=message) as caught:
        xs.load_model(tmp_path / "net.npz", **{"h": 0.1, "steps": 2} | settings)
    assert str(caught.value).startswith(f"{tmp_path / 'net.npz'}: ")


def test_a_mapping_tells_what_the_names_do_not(tmp_path: Path) -> None:
    tensors = {"x.up.weight": A, "x.up.bias": LAYERS["w"], "x.down.weight": B, "x.down.bias": LAYERS["v"]}
    tensors |= {"y.last.weight": C, "ema.x.up.weight": 2 * A, "h": np.array(0.1), "steps": np.array(3)}
    np.savez(tmp_path / "net.npz", **tensors)
    mapping = {"A": "x.up.weight", "B": "down", "output_bias": "", "classifier.weight": "last"}
    model = xs.load_model(tmp_path / "net.npz", mapping)
    assert list(model.tensors) == ["A", "B", "bias", "classifier.weight", "classifier.bias"]
    assert model.A[0, 0] == 1.0
    found = read_weights(tmp_path / "net.npz", mapping)
    assert found.layout.unused == ("x.down.bias", "ema.x.up.weight")
    for wrong, message in (({"A": "up.weight"}, "fits x.up.weight, ema.x.up.weight"), ({"A": "a"}, "is not there")):
        with pytest.raises(WeightsError, match=message):
            xs.load_model(tmp_path / "net.npz", wrong)


def test_a_field_of_ones_own_is_named_by_a_setting(tmp_path: Path) -> None:
    field = tmp_path / "rate.py"
    field.write_text(
        "import numpy as np\nfrom xbar_spice.linear.operator import as_operator\n"
        "from xbar_spice.solve.fields import Evaluation, Field\n\n\nclass RateField(Field):\n"
        "    def __init__(self, W):\n        self.W = as_operator(W)\n\n"
        "    states = hidden_units = property(lambda self: self.W.shape[1])\n\n"
        "    def evaluate(self, z):\n"
        "        r = np.tanh(z)\n        return Evaluation(z=z, value=self.W.mv(r), slope=1 - r**2, hidden=r)\n\n"
        "    def jvp(self, evaluation, direction):\n        return self.W.mv(evaluation.slope * direction)\n\n"
        "    def pull_hidden(self, evaluation, cotangent):\n        return self.W.T.mv(cotangent)\n\n"
        "    def pull_state(self, evaluation, hidden_cotangent):\n"
        "        return evaluation.slope * hidden_cotangent\n\n"
        "    def parameter_gradients(self, evaluation, cotangent, hidden_cotangent):\n"
        "        return {'W': cotangent @ evaluation.hidden.T}\n\n"
        "    def parameter_jvp(self, evaluation, direction):\n"
        "        return direction['W'] @ evaluation.hidden\n"
    )
    np.savez(tmp_path / "net.npz", W=np.eye(2), h=0.1, steps=2)
    model = xs.load_model(tmp_path / "net.npz", field=f"{field}:RateField")
    np.testing.assert_array_equal(model.tensors["W"], np.eye(2))
    with pytest.raises(WeightsError, match="a weight file names a field of this package and no code"):
        xs.save_model(tmp_path / "own.npz", model)
    said = read_weights(tmp_path / "net.npz", {}, {"field": f"{field}:RateField"}).assumed
    assert said == f"field {field}:RateField"
    # A bias is an argument by the name of its tensor, or by that of its attribute.
    biased = field.read_text().replace(
        "class RateField(Field):\n", "class RateField(Field):\n    digital = {'bias': 'b'}\n"
    )
    given = {"W": np.eye(2), "bias": [1.0, 2.0]}
    for argument in ("bias", "b"):
        other = tmp_path / f"by_{argument}.py"
        other.write_text(biased.replace("(self, W):", f"(self, W, {argument}):\n        self.b = {argument}"))
        assert xs.field_named(f"{other}:RateField", given).vectors["bias"].tolist() == [1.0, 2.0]
    without = tmp_path / "without.py"
    without.write_text(biased)
    with pytest.raises(InvalidInputError, match=r"\(W=an array of \(2, 2\), b=.* its options are W"):
        xs.field_named(f"{without}:RateField", given)


# --- hostile files --------------------------------------------------------------------------------------------------


class Bomb:
    """Writes a file when it is unpickled by those who trust it."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.target, "executed")


def test_no_code_of_a_pickle_is_run(tmp_path: Path) -> None:
    target = tmp_path / "target"
    magic = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {})]
    content = b"".join([*magic, pickle.dumps({"A": Bomb(target), "epoch": 3}, 2), pickle.dumps([], 2)])
    (tmp_path / "model.pt").write_bytes(content)
    tensors, left_out = flattened(read_tables(tmp_path / "model.pt"))
    assert not tensors
    assert left_out["epoch"] == "a setting, 3"
    assert left_out["A"].startswith("an object of ")
    assert not target.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a file of tensors", bytes(4096), pickle.dumps({}, 2)])
def test_garbage(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(WeightsError, match=r"model\.pt: "):
        xs.load_model(tmp_path / "model.pt")


@pytest.mark.parametrize("name", ["before_1_6.pth", "layer.pt"])
def test_a_damaged_file_is_an_error_of_ours_or_harmless(tmp_path: Path, name: str) -> None:
    content = (FOLDER / name).read_bytes()
    path = tmp_path / name
    for position in range(0, len(content), 41):
        for damaged in (
            content[:position],
            content[:position] + bytes([content[position] ^ 0x55]) + content[position + 1 :],
        ):
            path.write_bytes(damaged)
            try:
                xs.load_model(path, **TANH)
            except WeightsError as error:
                assert str(error).startswith(str(path))  # noqa: PT017 - it may also load


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("shown_larger.pt", "expected at most 1024 MiB of tensors, got .* 'A'"),
        ("single_tensor.pt", "expected a state dict, a mapping of names to tensors, got tensor"),
        ("complex.pt", "tensor 'B' is missing|tensor 'A': expected a floating-point or integer dtype, got complex64"),
    ],
)
def test_files_of_pytorch_that_hold_no_model(name: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        xs.load_model(FOLDER / name)


def test_entries_that_hold_each_other_are_not_followed_for_ever(tmp_path: Path) -> None:
    table: Any = {"a": 1}
    for _ in range(40):
        table = {"a": table, "b": table}
    head = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {})]
    (tmp_path / "model.pt").write_bytes(b"".join([*head, pickle.dumps(table, 2), pickle.dumps([], 2)]))
    with pytest.raises(WeightsError, match="entries, got more"):
        xs.load_model(tmp_path / "model.pt")
