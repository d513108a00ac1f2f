"""Weight files: what goes in comes out, and whatever is wrong with a file is said by file, tensor and expectation."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import correlate

from xbar_spice.errors import WeightsError
from xbar_spice.weights import Classifier, Kernels, Model, load_model, save_model

Tensors = dict[str, Any]

SUFFIXES = (".npz", ".safetensors")

finite = st.floats(allow_nan=False, allow_infinity=False)


def dense() -> Tensors:
    """The tensors of a dense model of 3 hidden units, 2 states and 4 classes."""
    rng = np.random.default_rng(0)
    return {
        "A": rng.normal(size=(3, 2)),
        "B": rng.normal(size=(2, 3)),
        "h": np.array(0.25),
        "steps": np.array(4),
        "classifier.weight": rng.normal(size=(4, 2)),
        "classifier.bias": rng.normal(size=4),
    }


def convolutional() -> Tensors:
    rng = np.random.default_rng(1)
    return {
        "a": rng.normal(size=(2, 1, 9)),
        "b": rng.normal(size=(1, 2, 9)),
        "image_shape": np.array([4, 5]),
        "h": np.array(0.5),
        "steps": np.array(2),
    }


def write(path: Path, tensors: Tensors) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **tensors)
    else:
        safetensors.numpy.save_file(tensors, path)
    return path


def assert_same(actual: Model, expected: Model) -> None:
    """Everything but the provenance is the same to the last bit."""
    assert (actual.h, actual.steps, actual.method) == (expected.h, expected.steps, expected.method)
    np.testing.assert_array_equal(actual.A, expected.A)
    np.testing.assert_array_equal(actual.B, expected.B)
    assert (actual.kernels is None) == (expected.kernels is None)
    if actual.kernels is not None and expected.kernels is not None:
        assert (actual.kernels.image_shape, actual.kernels.padding) == (
            expected.kernels.image_shape,
            expected.kernels.padding,
        )
        np.testing.assert_array_equal(actual.kernels.a, expected.kernels.a)
        np.testing.assert_array_equal(actual.kernels.b, expected.kernels.b)
    assert (actual.classifier is None) == (expected.classifier is None)
    if actual.classifier is not None and expected.classifier is not None:
        np.testing.assert_array_equal(actual.classifier.weight, expected.classifier.weight)
        np.testing.assert_array_equal(actual.classifier.bias, expected.classifier.bias)


# --- good files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_dense_file(tmp_path: Path, suffix: str) -> None:
    tensors = dense()
    path = write(tmp_path / f"model{suffix}", tensors)
    model = load_model(path)
    np.testing.assert_array_equal(model.A, tensors["A"])
    np.testing.assert_array_equal(model.B, tensors["B"])
    assert model.classifier is not None
    np.testing.assert_array_equal(model.classifier.weight, tensors["classifier.weight"])
    np.testing.assert_array_equal(model.classifier.bias, tensors["classifier.bias"])
    assert (model.h, model.steps, model.method, model.kernels) == (0.25, 4, "implicit_euler", None)
    assert (model.hidden, model.states, model.source) == (3, 2, str(path))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_kernel_file(tmp_path: Path, suffix: str) -> None:
    tensors = convolutional()
    model = load_model(write(tmp_path / f"model{suffix}", tensors))
    assert model.kernels is not None
    assert (model.kernels.image_shape, model.kernels.padding) == ((4, 5), "circular")
    assert (model.hidden, model.states, model.classifier) == (40, 20, None)
    A, B = model.kernels.matrices()
    np.testing.assert_array_equal(model.A, A)
    np.testing.assert_array_equal(model.B, B)


def test_a_torch_convolution_becomes_a_kernel_as_documented() -> None:
    """`w.flip(-2, -1).transpose(-2, -1).flatten(-2)`, checked against the definition of a cross-correlation."""
    rng = np.random.default_rng(2)
    weight, image = rng.normal(size=(2, 1, 3, 3)), rng.normal(size=(1, 4, 5))
    padded = np.pad(image, [(0, 0), (1, 1), (1, 1)], mode="wrap")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    expected = np.einsum("ocij,cyxij->oyx", weight, windows)
    kernel = np.swapaxes(np.flip(weight, (-2, -1)), -2, -1).reshape(2, 1, 9)
    A, _ = Kernels(kernel, np.zeros((1, 2, 9)), (4, 5)).matrices()
    np.testing.assert_allclose(A @ image.ravel(), expected.ravel(), rtol=0, atol=1e-14)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("padding", "mode"), [("circular", "wrap"), ("zero", "constant")])
def test_kernels_of_four_axes_are_those_of_frameworks(tmp_path: Path, suffix: str, padding: str, mode: Any) -> None:
    """A frameworks' convolution is scipy's correlation, summed over the channels that come in."""
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(3, 2, 3, 3)), rng.normal(size=(2, 3, 5, 5))
    tensors = {"a": a, "b": b, "image_shape": np.array([6, 7]), "h": np.array(1.0), "steps": np.array(1)}
    metadata = {"padding": padding}
    path = tmp_path / f"model{suffix}"
    if suffix == ".npz":
        write(path, tensors | {"padding": np.array(padding)})
    else:
        safetensors.numpy.save_file(tensors, path, metadata=metadata)
    model = load_model(path)
    for matrix, kernel in ((model.A, a), (model.B, b)):
        images = rng.normal(size=(kernel.shape[1], 6, 7))
        expected = [sum(correlate(x, w, mode=mode) for x, w in zip(images, row, strict=True)) for row in kernel]
        np.testing.assert_allclose(matrix @ images.ravel(), np.ravel(expected), rtol=0, atol=1e-13)
    save_model(path, model)  # which keeps them flat
    assert load_model(path).kernels.a.shape == (3, 2, 9)  # type: ignore[union-attr]
    np.testing.assert_array_equal(load_model(path).A, model.A)


@pytest.mark.parametrize("channels", [None, (2, 1), (3, 2)])
@pytest.mark.parametrize("padding", ["circular", "zero"])
def test_kernel_gradients_are_the_adjoint_of_building_the_matrices(channels: Any, padding: Any) -> None:
    """<A, G> = <a, gradient_a(G)>, and likewise for b, whose channels are the other way round."""
    rng = np.random.default_rng(3)
    a = rng.normal(size=(*(channels or ()), 9))
    b = rng.normal(size=(*(channels or ())[::-1], 25))
    kernels = Kernels(a, b, (6, 5), padding)
    A, B = kernels.matrices()
    G, H = rng.normal(size=A.shape), rng.normal(size=B.shape)
    assert kernels.gradient_a(G).shape == a.shape
    assert kernels.gradient_b(H).shape == b.shape
    np.testing.assert_allclose(np.vdot(A, G), np.vdot(a, kernels.gradient_a(G)), rtol=1e-12)
    np.testing.assert_allclose(np.vdot(B, H), np.vdot(b, kernels.gradient_b(H)), rtol=1e-12)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_short_floats_become_float64(tmp_path: Path, suffix: str, dtype: type) -> None:
    tensors = dense() | {name: dense()[name].astype(dtype) for name in ("A", "B")}
    model = load_model(write(tmp_path / f"model{suffix}", tensors))
    assert model.A.dtype == np.float64
    np.testing.assert_array_equal(model.A, tensors["A"])


def test_bfloat16_is_the_upper_half_of_a_float32(tmp_path: Path) -> None:
    values = np.array([[1.0, -2.5, 0.15625]], dtype="<f4")  # few enough digits to be exact
    upper = (values.view("<u4") >> 16).astype("<u2")
    np.testing.assert_array_equal((upper.astype("<u4") << 16).view("<f4"), values)
    entries = {
        "A": ("BF16", (1, 3), upper.tobytes()),
        "B": ("BF16", (3, 1), upper.tobytes()),
        "h": ("BF16", (1,), upper[0, :1].tobytes()),
        "steps": ("U8", (), b"\x02"),
    }
    model = load_model(write_raw_safetensors(tmp_path / "model.safetensors", entries))
    np.testing.assert_array_equal(model.A, values)
    np.testing.assert_array_equal(model.B, values.T)
    assert (model.h, model.steps) == (1.0, 2)


def write_raw_safetensors(path: Path, entries: dict[str, tuple[str, tuple[int, ...], bytes]]) -> Path:
    """A file of dtypes that numpy does not have."""
    header, blob = {}, b""
    for name, (dtype, shape, data) in entries.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(blob), len(blob) + len(data)]}
        blob += data
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + blob)
    return path


@pytest.mark.parametrize(
    ("h", "steps"),
    [
        (0.25, 4),
        (np.array([0.25]), np.array([4])),
        (np.array([[0.25]]), np.array(4.0)),
        (np.float32(0.25), np.uint8(4)),
    ],
)
def test_scalars_come_in_many_shapes(tmp_path: Path, h: Any, steps: Any) -> None:
    model = load_model(write(tmp_path / "model.npz", dense() | {"h": h, "steps": steps}))
    assert (model.h, model.steps) == (0.25, 4)
    assert type(model.steps) is int


def test_numbers_may_stand_in_safetensors_metadata(tmp_path: Path) -> None:
    kernels = {name: convolutional()[name] for name in ("a", "b")}
    words = {
        "h": "0.25",
        "steps": "3",
        "image_shape": "[4, 5]",
        "padding": "zero",
        "method": "trapezoid",
        "format": "pt",
    }
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(kernels, path, metadata=words)
    model = load_model(path)
    assert (model.h, model.steps, model.method) == (0.25, 3, "trapezoid")
    assert model.kernels is not None
    assert (model.kernels.image_shape, model.kernels.padding) == ((4, 5), "zero")


# --- round trips ----------------------------------------------------------------------------------------------------


def models() -> st.SearchStrategy[Model]:
    sizes = st.integers(1, 4)
    return st.builds(lambda *drawn: drawn, sizes, sizes, st.none() | sizes).flatmap(lambda drawn: models_of(*drawn))


def models_of(m: int, n: int, classes: int | None) -> st.SearchStrategy[Model]:
    classifier = (
        st.none()
        if classes is None
        else st.builds(
            Classifier, arrays(float, (classes, n), elements=finite), arrays(float, classes, elements=finite)
        )
    )
    return st.builds(
        Model,
        A=arrays(float, (m, n), elements=finite),
        B=arrays(float, (n, m), elements=finite),
        h=st.floats(min_value=0, exclude_min=True, allow_infinity=False),
        steps=st.integers(1, 10**9),
        method=st.sampled_from(["implicit_euler", "forward_euler", "méthode"]),
        classifier=classifier,
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(model=models())
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, suffix: str, model: Model) -> None:
    path = tmp_path_factory.mktemp("weights") / f"model{suffix}"
    save_model(path, model)
    assert_same(load_model(path), model)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("padding", ["circular", "zero"])
def test_round_trip_of_kernels(tmp_path: Path, suffix: str, padding: Any) -> None:
    kernels = Kernels(convolutional()["a"], convolutional()["b"], (4, 5), padding)
    model = Model.from_kernels(kernels, h=0.5, steps=2, classifier=Classifier(np.ones((10, 20)), np.zeros(10)))
    path = tmp_path / f"model{suffix}"
    save_model(path, model)
    assert_same(load_model(path), model)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_view_is_written_as_it_is_read(tmp_path: Path, suffix: str) -> None:
    matrix = np.arange(6.0).reshape(3, 2)
    path = tmp_path / f"model{suffix}"
    save_model(path, Model(matrix.T, matrix, h=1.0, steps=1))
    np.testing.assert_array_equal(load_model(path).A, matrix.T)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_saving_replaces_the_whole_file_and_leaves_nothing_else(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"what was there before")
    save_model(path, Model([[1.0]], [[2.0]], h=1.0, steps=1))
    assert load_model(path).B[0, 0] == 2.0
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_numpy_that_knows_no_allow_pickle_writes_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before NumPy 2.2 every keyword of `savez` was one more array, and the file was refused for it."""

    def savez(file: Any, **arrays: Any) -> None:
        archive(file, {f"{name}.npy": npy(value) for name, value in arrays.items()})

    monkeypatch.setattr(np, "savez", savez)
    save_model(tmp_path / "model.npz", Model([[1.0]], [[2.0]], h=1.0, steps=1, method="trapezoid"))
    assert load_model(tmp_path / "model.npz").method == "trapezoid"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failed_save_keeps_the_old_file(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"model{suffix}"
    save_model(path, Model([[1.0]], [[2.0]], h=1.0, steps=1))

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(WeightsError, match="No space left"):
        save_model(path, Model([[1.0]], [[3.0]], h=1.0, steps=1))
    assert load_model(path).B[0, 0] == 2.0
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_saving_into_a_directory_that_does_not_exist(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "nowhere" / f"model{suffix}"
    with pytest.raises(WeightsError, match="cannot be written"):
        save_model(path, Model([[1.0]], [[2.0]], h=1.0, steps=1))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_range_of_weights_of_a_chip_is_kept(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    model = Model(*rng.normal(size=(2, 3, 3)), h=0.25, steps=1, weight_range=(1.5, 2.5))
    save_model(tmp_path / f"model{suffix}", model)
    assert load_model(tmp_path / f"model{suffix}").weight_range == (1.5, 2.5)


@pytest.mark.parametrize("trained_on", ["", "digits"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_data_of_a_training_are_kept(tmp_path: Path, suffix: str, trained_on: str) -> None:
    model = Model(*np.random.default_rng(0).normal(size=(2, 3, 3)), h=0.25, steps=1, trained_on=trained_on)
    save_model(tmp_path / f"model{suffix}", model)
    assert load_model(tmp_path / f"model{suffix}").trained_on == trained_on


@pytest.mark.parametrize("name", ["model.ckpt", "model", "model.h5"])
def test_saving_needs_a_known_ending(tmp_path: Path, name: str) -> None:
    with pytest.raises(WeightsError, match=r"expected a name ending in \.npz, \.safetensors, \.pt, \.pth, got"):
        save_model(tmp_path / name, Model([[1.0]], [[2.0]], h=1.0, steps=1))


# --- bad tensors ----------------------------------------------------------------------------------------------------


def spoilt(name: str, index: Any, value: float) -> Callable[[Tensors], Tensors]:
    def spoil(tensors: Tensors) -> Tensors:
        array = tensors[name].copy()
        array[index] = value
        return tensors | {name: array}

    return spoil


def given_as(**changes: Any) -> Callable[[Tensors], Tensors]:
    return lambda tensors: tensors | {name.replace("__", "."): np.array(value) for name, value in changes.items()}


def without(*names: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: value for name, value in tensors.items() if name not in names}


BAD_DENSE = {
    "A missing": (without("A"), r"tensor 'A' is missing; the file has B, classifier\.bias"),
    "B missing": (without("B"), "tensor 'B' is missing"),
    "h missing": (without("h"), "tensor 'h' is missing"),
    "steps missing": (without("steps"), "tensor 'steps' is missing"),
    "other half": (without("classifier.weight"), r"tensor 'classifier\.weight' is missing"),
    "unknown": (given_as(decoder__weight=[1.0]), r"tensor 'decoder\.weight': expected one of A, B"),
    "encoder": (given_as(encoder__weight=np.ones((3, 5))), r"tensor 'encoder\.weight': expected shape \(2, inputs\)"),
    "mixed": (given_as(a=np.ones(9)), "either dense 'A', 'B' or kernels 'a', 'b', got A, B, a"),
    "vector": (given_as(A=[1.0, 2.0]), r"tensor 'A': expected shape \(m, n\), got \(2,\)"),
    "empty": (given_as(A=np.ones((0, 2))), r"tensor 'A': expected shape \(m, n\), got \(0, 2\)"),
    "cube": (given_as(B=np.ones((2, 3, 1))), r"tensor 'B': expected shape \(n, m\), got \(2, 3, 1\)"),
    "no fit": (given_as(B=np.ones((3, 2))), r"tensor 'B': expected shape \(2, 3\) for an A of shape \(3, 2\), got \(3"),
    "NaN": (spoilt("A", (0, 1), np.nan), "tensor 'A': expected finite values, got NaN or infinity in 1 of 6"),
    "infinity": (spoilt("B", 1, np.inf), "tensor 'B': expected finite values, got NaN or infinity in 3 of 6"),
    "NaN in classifier": (spoilt("classifier.bias", 0, np.nan), r"tensor 'classifier\.bias': expected finite"),
    "integers": (
        given_as(A=np.full((3, 2), -(2**53) - 1)),
        r"tensor 'A': expected whole numbers between -2\^53 and 2\^53.* got -9007199254740993 to -9007199254740993",
    ),
    "booleans": (
        given_as(A=np.ones((3, 2), dtype=bool)),
        "tensor 'A': expected a floating-point or integer dtype, got bool",
    ),
    "classifier width": (
        given_as(classifier__weight=np.ones((4, 3))),
        r"tensor 'classifier\.weight': expected shape \(classes, 2\) .* got \(4, 3\)",
    ),
    "classifier bias": (given_as(classifier__bias=np.ones(3)), r"expected shape \(4,\) .* got \(3,\)"),
    "one range": (
        given_as(weight_range=[1.0]),
        r"tensor 'weight_range': expected two finite numbers > 0, got \[1\.0\]",
    ),
    "range zero": (given_as(weight_range=[1.0, 0.0]), "tensor 'weight_range': expected two finite numbers > 0"),
    "h zero": (given_as(h=0.0), "tensor 'h': expected a finite step length that is not 0 .*, got 0"),
    "h NaN": (given_as(h=np.nan), "tensor 'h': expected .* got nan"),
    "h infinite": (given_as(h=np.inf), "tensor 'h': expected .* got inf"),
    "h twice": (given_as(h=[0.1, 0.2]), r"tensor 'h': expected one number that is not 0, got \[0\.1, 0\.2\]"),
    "h true": (given_as(h=True), "tensor 'h': expected one number that is not 0, got True"),
    "half a step": (given_as(steps=2.5), r"tensor 'steps': expected a whole number >= 1, got 2\.5"),
    "many steps": (given_as(steps=10**18), r"tensor 'steps': expected at most 1000000000 steps, got 1e\+18"),
    "no step": (given_as(steps=0), "tensor 'steps': expected a whole number >= 1, got 0"),
    "steps NaN": (given_as(steps=np.nan), "tensor 'steps': expected a whole number >= 1, got nan"),
}

BAD_KERNELS = {
    "b missing": (without("b"), "tensor 'b' is missing"),
    "image_shape missing": (without("image_shape"), "tensor 'image_shape' is missing"),
    "image_shape": (given_as(image_shape=[4, 5, 1]), r"tensor 'image_shape': expected two .* got \[4, 5, 1\]"),
    "image_shape zero": (given_as(image_shape=[0, 5]), r"'image_shape': expected two whole numbers >= 1, got \[0, 5\]"),
    "image_shape real": (given_as(image_shape=[4.0, 5.5]), "'image_shape': expected two whole numbers"),
    "taps": (given_as(a=np.ones(8)), r"tensor 'a': a kernel has q\*q taps .* got 8"),
    "axes": (given_as(b=np.ones((1, 2, 1, 3, 3))), r"tensor 'b': kernel must have shape .* got \(1, 2, 1, 3, 3\)"),
    "TensorFlow": (given_as(b=np.ones((3, 3, 2, 1))), r"tensor 'b': a kernel of four axes .* transpose\(3, 2, 0, 1\)"),
    "huge kernel": (given_as(b=np.ones((1, 2, 999, 999))), r"tensor 'b': a kernel has at most 127 x 127 taps"),
    "huge image": (given_as(image_shape=[10**6, 10**6]), "tensor 'a': the convolution .* at most .* entries"),
    "overflow": (given_as(image_shape=[2**32, 2**32]), "tensor 'a': the convolution .* at most .* entries"),
    "channels": (given_as(b=np.ones((2, 2, 9))), r"tensor 'b': expected .* got shapes a \(2, 1, 9\) and b \(2, 2, 9\)"),
    "NaN": (spoilt("b", (0, 1, 4), np.nan), "tensor 'b': expected finite values"),
    "integers": (given_as(a=np.full(9, 2**63, dtype=np.uint64)), r"tensor 'a': expected whole numbers between -2\^53"),
    "classifier": (
        given_as(classifier__weight=np.ones((10, 19)), classifier__bias=np.ones(10)),
        r"tensor 'classifier\.weight': expected shape \(classes, 20\)",
    ),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("case", BAD_DENSE)
def test_bad_dense_files_say_what_is_wrong(tmp_path: Path, suffix: str, case: str) -> None:
    spoil, message = BAD_DENSE[case]
    path = write(tmp_path / f"model{suffix}", spoil(dense()))
    with pytest.raises(WeightsError, match=message) as failure:
        load_model(path)
    assert str(failure.value).startswith(f"{path}: ")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("case", BAD_KERNELS)
def test_bad_kernel_files_say_what_is_wrong(tmp_path: Path, suffix: str, case: str) -> None:
    spoil, message = BAD_KERNELS[case]
    path = write(tmp_path / f"model{suffix}", spoil(convolutional()))
    with pytest.raises(WeightsError, match=message) as failure:
        load_model(path)
    assert str(failure.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"padding": "mirror"}, r"'padding': expected one of \('circular', 'zero'\), got 'mirror'"),
        ({"padding": 1.0}, "'padding': expected one text, got float64"),
        ({"method": ["a", "b"]}, r"'method': expected one text, got <U1 of shape \(2,\)"),
        ({"method": ""}, "'method': expected the name of an integrator"),
        ({"a": np.ones(9, dtype=complex)}, "tensor 'a': expected a floating-point or integer dtype, got complex128"),
    ],
)
def test_what_only_npz_can_get_wrong(tmp_path: Path, changes: Tensors, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        load_model(write(tmp_path / "model.npz", convolutional() | changes))


@pytest.mark.parametrize("words", ["", "fast", '"0.25"', "[]", "{}", "null", "[[1], [2, 3]]", "true"])
def test_numbers_in_metadata_must_be_numbers(tmp_path: Path, words: str) -> None:
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(without("h")(dense()), path, metadata={"h": words})
    with pytest.raises(WeightsError, match="'h'"):
        load_model(path)


def test_a_safetensors_dtype_that_is_none_of_ours(tmp_path: Path) -> None:
    path = write_raw_safetensors(tmp_path / "model.safetensors", {"A": ("F8_E4M3", (1, 1), b"\0")})
    with pytest.raises(WeightsError, match="tensor 'A': expected dtype F64, F32, F16 or BF16, got F8_E4M3"):
        load_model(path)


def test_matrices_that_are_not_those_of_the_kernels() -> None:
    kernels = Kernels(np.ones(9), np.ones(9), (4, 5))
    with pytest.raises(WeightsError, match=r"see Model\.from_kernels"):
        Model(np.ones((20, 20)), kernels.matrices()[1], h=1.0, steps=1, kernels=kernels)


def test_nobody_can_write_to_a_model() -> None:
    matrix = np.ones((1, 1))
    model = Model(matrix, [[2.0]], h=1.0, steps=1)
    matrix[0, 0] = 5.0
    assert model.A[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        model.A[0, 0] = 5.0


# --- bad files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.npz", "model.safetensors", "model.pt"])
def test_a_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(WeightsError, match=f"{name}: no such file"):
        load_model(tmp_path / name)


@pytest.mark.parametrize("name", ["model.txt", "model", "model.pkl"])
def test_an_unknown_ending(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(
        WeightsError, match=r"expected a file ending in \.npz, \.safetensors, \.pt, \.pth, \.ckpt, \.bin, \.tar, got"
    ):
        load_model(tmp_path / name)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a file of tensors", bytes(4096)])
def test_garbage(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=f"not a readable {suffix}"):
        load_model(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_truncated_file(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"model{suffix}", dense())
    content = path.read_bytes()
    for length in range(0, len(content), 37):
        path.write_bytes(content[:length])
        with pytest.raises(WeightsError, match=f"not a readable {suffix}"):
            load_model(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_flipped_byte_is_an_error_of_ours_or_harmless(tmp_path: Path, suffix: str) -> None:
    """Neither format has to notice, but nothing other than a `WeightsError` may come out."""
    path = write(tmp_path / f"model{suffix}", dense())
    content = path.read_bytes()
    for position in range(0, len(content), 11):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0x55]) + content[position + 1 :])
        try:
            load_model(path)
        except WeightsError as error:
            assert str(error).startswith(str(path))  # noqa: PT017 - it may also load


# --- files that claim more than they hold, or twice -----------------------------------------------------------------


def npy_header(shape: tuple[int, ...], dtype: str = "<f8") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


def npy(value: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, value)
    return file.getvalue()


def archive(path: Any, entries: Mapping[str, bytes]) -> Any:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return path


def safetensors_file(path: Path, header: str, data: bytes = b"") -> Path:
    path.write_bytes(len(header.encode()).to_bytes(8, "little") + header.encode() + data)
    return path


def test_a_zip_bomb_is_refused_by_its_table_of_contents(tmp_path: Path) -> None:
    """A few kilobytes that unpack to two times half a gigabyte and more: neither is unpacked."""
    path = archive(tmp_path / "model.npz", {"A.npy": b"a", "B.npy": b"b"})
    content = path.read_bytes()
    sizes = (2**29 + 1).to_bytes(4, "little")
    at = content.index(b"PK\x01\x02")
    content = content[: at + 24] + sizes + content[at + 28 :]
    at = content.index(b"PK\x01\x02", at + 1)
    path.write_bytes(content[: at + 24] + sizes + content[at + 28 :])
    with pytest.raises(WeightsError, match="expected at most 1024 MiB of tensors, got 1024 MiB, most of it in 'A'"):
        load_model(path)


@pytest.mark.parametrize("shape", [(10**6, 10**6), (2**40, 2**40), (3, 3), (2, 3, 4)])
def test_an_array_that_claims_another_size_than_it_has(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = archive(tmp_path / "model.npz", {"A.npy": npy_header(shape) + bytes(8)})
    with pytest.raises(WeightsError, match=r"tensor 'A': expected \d+ bytes for shape .*, got 8"):
        load_model(path)


@pytest.mark.parametrize(
    "header",
    [
        b"\x93NUMPY\x01\x00\x10\x00" + b"[" * 16,
        b"\x93NUMPY\x01\x00\xff\x1f" + b"[" * 0x1FFF,
        b"\x93NUMPY\x01\x00\xff\xff" + b" " * 0xFFFF,
        b"\x93NUMPY\x07\x00",
        b"\x93NUMPY",
        b"",
        npy_header((1,), "|O") + bytes(8),
        npy_header((-1,)) + bytes(8),
    ],
)
def test_broken_headers_of_arrays(tmp_path: Path, header: bytes) -> None:
    with pytest.raises(WeightsError, match=r"model\.npz: (tensor 'A'|not a readable .npz)"):
        load_model(archive(tmp_path / "model.npz", {"A.npy": header}))


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_a_tensor_that_is_there_twice(tmp_path: Path) -> None:
    path = write(tmp_path / "model.npz", dense())
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("A.npy", npy_header((1, 1)) + bytes(8))
    with pytest.raises(WeightsError, match="tensor 'A': the file has it more than once"):
        load_model(path)


ONE = '{"dtype": "F64", "shape": [1, 1], "data_offsets": [0, 8]}'


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (f'{{"A": {ONE}, "A": {ONE}}}', "'A': the file has it more than once"),
        (f'{{"h": {ONE}, "__metadata__": {{"h": "1"}}}}', "'h': the file has it more than once"),
        (f'{{"A": {ONE}, "__metadata__": {{"h": "1", "h": "2"}}}}', "'h': the file has it more than once"),
        (f'{{"A": {ONE}, "__metadata__": null}}', "tensor 'h' is missing"),
        (f'{{"A": {ONE}, "__metadata__": {{"h": 1}}}}', "not a readable .safetensors"),
        (f'{{"A": {ONE}, "__metadata__": [1]}}', "not a readable .safetensors"),
        (f'{{"A": {ONE}, "__metadata__": {{"h": "{"[" * 10**5}"}}}}', "'h' in the metadata: expected a number"),
        (f'{{"A": {ONE}, "__metadata__": {{"h": "{"9" * 10**4}"}}}}', "'h' in the metadata: expected a number"),
        ('{"A": {"dtype": "F64", "shape": [1000000, 1000000], "data_offsets": [0, 8]}}', "not a readable .safetensors"),
        ('{"A": {"dtype": "F64", "shape": [1, 1], "data_offsets": [8, 0]}}', "not a readable .safetensors"),
        ("[" * 10**5, "not a readable .safetensors"),
        ("[]", "not a readable .safetensors"),
        ('{"A": 1}', "not a readable .safetensors"),
    ],
)
def test_broken_headers_and_metadata(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message) as caught:
        load_model(safetensors_file(tmp_path / "model.safetensors", header, bytes(8)))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_no_file_of_sane_size(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    path.mkdir()
    with pytest.raises(WeightsError, match="cannot be read: it is a folder"):
        load_model(path)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(WeightsError, match="cannot be read: it is a named pipe"):
        load_model(path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(WeightsError, match="cannot be read: it is a device"):
        load_model(path)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(2**40)  # takes no room on the disk
    with pytest.raises(WeightsError, match="more than 1024 MiB"):
        load_model(path)


def test_a_run_of_too_many_steps_is_refused_before_it_starts() -> None:
    model = Model([[1.0]], [[2.0]], h=1e-9, steps=10**9)
    with pytest.raises(WeightsError, match="correct 'steps'"):
        model.require_runnable(1)
    Model([[1.0]], [[2.0]], h=1.0, steps=10**6).require_runnable(100)
    with pytest.raises(WeightsError, match="take fewer samples"):
        Model([[1.0]], [[2.0]], h=1.0, steps=10**6).require_runnable(1000)


def test_numbers_of_more_than_64_bits_are_checked_as_the_numbers_they_become() -> None:
    largest = np.finfo(np.longdouble).max
    if largest == np.finfo(np.float64).max:
        pytest.skip("longdouble has 64 bits here")
    huge = np.array([[largest]])
    with pytest.raises(WeightsError, match="expected finite values"):
        Model(huge, [[2.0]], h=1.0, steps=1)


def test_a_single_array_is_not_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    with path.open("wb") as file:
        np.save(file, np.ones((2, 2)))
    with pytest.raises(WeightsError, match="expected an archive of named arrays"):
        load_model(path)


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.target, "executed")


def test_pickles_are_refused_and_not_executed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    pickled = np.empty((), dtype=object)
    pickled[()] = Bomb(target)
    path = write(tmp_path / "model.npz", dense() | {"A": pickled})
    with pytest.raises(WeightsError, match="allow_pickle"):
        load_model(path)
    assert not target.exists()


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_whole_numbers_are_taken_as_they_are(ending: str, dtype: str, tmp_path: Path) -> None:
    """Quantised weights: up to 2^53, where float64 still holds every whole number."""
    largest = min(2**53, int(np.iinfo(dtype).max))
    A = np.array([[largest, 0], [1, 2], [3, 4]], dtype=dtype)
    tensors = {"A": A, "B": A.T.copy(), "h": np.array(0.5), "steps": np.array(2)}
    path = tmp_path / f"whole{ending}"
    if ending == ".npz":
        np.savez(path, **tensors)
    else:
        path.write_bytes(safetensors.numpy.save(tensors))
    model = load_model(path)
    assert model.A.dtype == np.float64
    assert [[int(value) for value in row] for row in model.A] == A.tolist()
    np.testing.assert_array_equal(model.B, model.A.T)


def test_no_file_names_code(tmp_path: Path) -> None:
    """A method of one's own is set in Python, and neither kept in a file nor taken from one."""
    model = Model([[1.0]], [[2.0]], h=1.0, steps=1, method="mine.py:Method")
    with pytest.raises(WeightsError, match=r"names a method of this package and no code, got 'mine.py:Method'"):
        save_model(tmp_path / "own.npz", model)
    np.savez(tmp_path / "given.npz", A=model.A, B=model.B, h=1.0, steps=1, method="mine.py:Method")
    with pytest.raises(WeightsError, match="and no code"):
        load_model(tmp_path / "given.npz")
