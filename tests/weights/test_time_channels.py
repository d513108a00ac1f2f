"""Convolutions of an image and of the time, as PyTorch's networks have them: values and gradients are autograd's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xbar_spice as xs
from xbar_spice.errors import WeightsError
from xbar_spice.linear.convolution import flat_kernel

FOLDER = Path(__file__).parent / "torch"
EXPECTED = dict(np.load(FOLDER / "timed.npz"))
SETTINGS: dict[str, Any] = {
    "h": 0.25, "steps": 4, "method": "rk4", "activation": "tanh", "image_shape": (3, 3), "padding": "zero",
    "encoder.image_shape": (7, 7), "encoder.stride": 2, "encoder.activation": "relu",
    "classifier.activation": "relu", "classifier.pooling": "mean",
}  # fmt: skip
LAYERS = {"concat": {"a": "conv1", "b": "conv2"}, "timed_perceptron": {f"k{j}": f"conv{j}" for j in (1, 2, 3)}}
BIASES = {"concat": ("bias", "output_bias"), "timed_perceptron": ("b1", "b2", "b3")}


@pytest.mark.parametrize("name", LAYERS)
def test_scores_and_gradients_are_those_of_autograd(name: str, tmp_path: Path) -> None:
    """The gradient by h too, through which the time comes in; behind a convolution of 4 x 4 taps with stride 2."""
    model = xs.load_model(FOLDER / f"{name}.pt", time="first", **SETTINGS)
    xs.save_model(tmp_path / "model.npz", model)
    model = xs.load_model(tmp_path / "model.npz")
    loss = xs.CrossEntropy(model.classifier, EXPECTED["labels"])
    problem = xs.Problem(model, EXPECTED["images"].T, loss, time_gradients=True)
    found = xs.cosimulate(problem, xs.Design(), engine="ideal")
    scores = model.classifier.logits(found.z[-1])
    np.testing.assert_allclose(scores.T, EXPECTED[f"{name}.logits"], rtol=1e-12, atol=1e-13)

    grads = {key.removeprefix(f"{name}.grad."): value for key, value in EXPECTED.items() if key.startswith(name)}
    for bias, (kernel, layer) in zip(BIASES[name], LAYERS[name].items(), strict=True):
        weight = flat_kernel(np.roll(grads[f"2.odefunc.{layer}._layer.weight"], -1, axis=1))  # the time is last here
        np.testing.assert_allclose(found.gradients[kernel], weight, rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(found.gradients[bias], grads[f"2.odefunc.{layer}._layer.bias"], rtol=1e-10)
    np.testing.assert_allclose(found.gradients["encoder.weight"], grads["0.weight"], rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(found.gradients["h"], EXPECTED[f"{name}.h"], rtol=1e-10)


ODENET: dict[str, Any] = {
    "h": 0.25, "steps": 4, "method": "rk4", "image_shape": (2, 2), "padding": "zero", "time": "first", "groups": 2,
    "encoder.0.image_shape": (7, 7), "encoder.0.padding": "none", "encoder.0.groups": 2, "encoder.1.stride": 2,
    "encoder.activation": "relu,identity",
    "classifier.activation": "relu", "classifier.pooling": "mean", "classifier.groups": 2,
}  # fmt: skip


def test_the_network_of_the_example_of_torchdiffeq_is_that_of_autograd(tmp_path: Path) -> None:
    """Normalisations in front of, between and behind the convolutions of the field, one trained scale a channel."""
    with pytest.raises(WeightsError, match=r"'scale0' is of a normalisation inside the field: .*--set groups=1"):
        xs.load_model(FOLDER / "odenet_mnist.pt", **{k: v for k, v in ODENET.items() if k != "groups"})
    xs.save_model(tmp_path / "model.npz", xs.load_model(FOLDER / "odenet_mnist.pt", **ODENET))
    model = xs.load_model(tmp_path / "model.npz")
    assert model.field.formula == "norm2(K2 [relu(norm1(K1 [relu(norm0(z)); t] + b1)); t] + b2)"
    loss = xs.CrossEntropy(model.classifier, EXPECTED["labels"])
    problem = xs.Problem(model, EXPECTED["images"].T, loss, time_gradients=True)
    found = xs.cosimulate(problem, xs.Design(), engine="ideal")
    scores = model.classifier.logits(found.z[-1])
    np.testing.assert_allclose(scores.T, EXPECTED["odenet_mnist.logits"], rtol=1e-12, atol=1e-13)
    grads = {k.removeprefix("odenet_mnist.grad."): v for k, v in EXPECTED.items() if k.startswith("odenet_mnist.grad")}
    inside = {k.removeprefix("4.odefunc."): v for k, v in grads.items() if "odefunc" in k}
    expected = {f"scale{j}": inside[f"norm{j + 1}.weight"] for j in range(3)}
    expected |= {f"shift{j}": inside[f"norm{j + 1}.bias"] for j in range(3)}
    expected |= {f"b{j}": inside[f"conv{j}._layer.bias"] for j in (1, 2)}
    expected |= {f"k{j}": flat_kernel(np.roll(inside[f"conv{j}._layer.weight"], -1, axis=1)) for j in (1, 2)}
    expected |= {"encoder.0.weight": grads["0.weight"], "encoder.1.weight": grads["3.weight"]}
    expected |= {"classifier.scale": grads["5.weight"], "h": EXPECTED["odenet_mnist.h"]}
    for name, value in expected.items():
        np.testing.assert_allclose(found.gradients[name], value, rtol=1e-10, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("name", LAYERS)
def test_nobody_guesses_which_channel_is_the_time(name: str) -> None:
    with pytest.raises(WeightsError, match=r"one channel of the first kernel, say which, time='first' or 'last'"):
        xs.load_model(FOLDER / f"{name}.pt", **SETTINGS)
