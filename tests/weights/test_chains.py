"""Encoders and classifiers of several layers: gradients, arrays, files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xbar_spice as xs
from xbar_spice.cosim.run import SolverOptions, solve_model
from xbar_spice.errors import WeightsError
from xbar_spice.train.samples import Samples, Split

RNG = np.random.default_rng(0)
LABELS = np.array([0, 1, 2, 0])
IMAGES = RNG.standard_normal((25, 4))
ENDS = ("encoder", "classifier")


def normal(*shape: int) -> Any:
    return RNG.standard_normal(shape) / np.sqrt(shape[-1])


def norm(channels: int, groups: int | None = None) -> xs.Normalisation:
    return xs.Normalisation(1.0 + normal(channels) / 4, normal(channels), groups)


ENCODER = xs.Chain(
    [
        xs.Encoder(
            normal(4, 1, 3, 3), normal(4), image_shape=(5, 5), stride=2, normalisation=norm(4), activation="tanh",
        ),
        xs.Encoder(
            normal(4, 4, 3, 3), normal(4), image_shape=(3, 3), normalisation=norm(4, 2), activation="relu",
            pooling="max", block=2,
        ),
    ]
)  # fmt: skip
HEAD = xs.Chain(
    [
        xs.Encoder(normal(5, 4), normal(5), normalisation=norm(5, 1), activation="softplus"),
        xs.Classifier(normal(3, 5), normal(3), activation="tanh"),
    ]
)
FIELD = xs.ActivationField(normal(6, 4), normal(4, 6), "tanh", bias=normal(6))


def model(**others: Any) -> xs.Model:
    return xs.Model(field=FIELD, h=0.25, steps=2, method="rk4", encoder=ENCODER, classifier=HEAD, **others)


def problem(held: xs.Model) -> xs.Problem:
    assert held.classifier is not None
    return xs.Problem(held, IMAGES, xs.CrossEntropy(held.classifier, LABELS))


def slope(loss: Any, held: xs.Model, name: str, direction: np.ndarray, step: float = 1e-5) -> float:
    """The derivative along a direction of one tensor."""
    at = [held.with_tensors({name: held.tensors[name] + side * step * direction}) for side in (1, -1)]
    return float((loss(at[0]) - loss(at[1])) / (2 * step))


def test_gradients_of_all_layers_are_those_of_the_loss() -> None:
    def loss(held: xs.Model) -> float:
        return solve_model(problem(held), held.field, SolverOptions()).loss

    found = solve_model(problem(model()), FIELD, SolverOptions()).parameters
    ends = [name for name in model().tensors if name.startswith(ENDS)]
    assert len(ends) == 14
    for name in ends:
        direction = np.random.default_rng(1).standard_normal(model().tensors[name].shape)
        assert np.vdot(found[name], direction) == pytest.approx(slope(loss, model(), name, direction), rel=1e-7)


def test_on_arrays_reads_are_counted_and_the_true_gradient_is_that_of_the_chip() -> None:
    held, design = model(on_arrays=ENDS), xs.Design(r_word=50.0, r_bit=50.0)
    found = xs.cosimulate(problem(held), design, engine="nodal", seed=0)
    counted = {name: reads for name, reads in found.record["reads"].items() if name.startswith(ENDS)}
    # The cotangent of the inputs is nobody's: the first layer is not read backwards.
    assert counted == {
        "encoder.0.weight forward": 1, "encoder.1.weight forward": 1, "encoder.1.weight transposed": 1,
        "classifier.0.weight forward": 1, "classifier.0.weight transposed": 1,
        "classifier.1.weight forward": 1, "classifier.1.weight transposed": 1,
    }  # fmt: skip
    study = xs.three_gradients(problem(held), design, seed=0).gradients

    def loss(other: xs.Model) -> float:
        return float(xs.cosimulate(problem(other), design, engine="nodal", seed=0).record["loss"]["analog"])

    for name in ("encoder.0.weight", "encoder.1.weight", "classifier.0.weight", "encoder.0.scale"):
        size = np.abs(held.tensors[name])
        direction = np.where(size == size.max(), 0.0, 1.0)  # the scale stays
        direction *= np.random.default_rng(2).standard_normal(direction.shape)
        along = np.vdot(study["true"][name], direction)
        assert along == pytest.approx(slope(loss, held, name, direction), rel=1e-6)
        assert np.linalg.norm(study["hardware"][name] - study["digital"][name]) > 0.0


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
def test_files_keep_layers(tmp_path: Path, suffix: str) -> None:
    held = model(on_arrays=ENDS, frozen=("encoder.0.weight",))
    xs.save_model(tmp_path / f"net{suffix}", held)
    again = xs.load_model(tmp_path / f"net{suffix}")
    assert (again.on_arrays, again.frozen) == (held.on_arrays, held.frozen)
    assert again.tensors.keys() == held.tensors.keys()
    assert again.encoder is not None
    assert again.classifier is not None
    z0 = held.initial(IMAGES)
    np.testing.assert_array_equal(again.initial(IMAGES), z0)
    np.testing.assert_array_equal(again.classifier.logits(z0), HEAD.logits(z0))


def test_frozen_layers_stay_and_others_are_trained_on_the_chip() -> None:
    held = model(on_arrays=ENDS, frozen=("encoder.0.weight", "classifier.1.weight"))
    data = Split(Samples(IMAGES, LABELS), Samples(IMAGES, LABELS))
    schedule = xs.Schedule(epochs=1, batch=4, jitter=0.0)
    chip = xs.Chip(xs.Design(r_word=5.0, r_bit=5.0, headroom=2.0), gradient="true")
    tuned = xs.tune(held, schedule, processor=chip, digits=data).model
    stayed = {name for name, value in held.tensors.items() if np.array_equal(value, tuned.tensors[name])}
    assert stayed == {"encoder.0.weight", "classifier.1.weight"}


SEQUENCE = {
    "module.encoder.0.weight": np.ones((4, 1, 3, 3)), "module.encoder.0.bias": np.zeros(4),
    "module.encoder.1.weight": np.full(4, 2.0), "module.encoder.1.bias": np.ones(4),
    "module.encoder.1.running_mean": np.full(4, 0.5), "module.encoder.1.running_var": np.full(4, 3.0),
    "module.encoder.1.num_batches_tracked": np.array(7),
    "module.encoder.4.weight": np.ones((4, 36)), "module.ode.func.0.weight": np.ones((6, 4)),
    "module.ode.func.2.weight": np.ones((4, 6)), "module.head.0.weight": np.ones(4), "module.head.0.bias": np.ones(4),
    "module.head.2.weight": np.ones((5, 4)), "module.head.4.weight": np.ones((3, 5)),
}  # fmt: skip
SAID: dict[str, Any] = {
    "h": 0.1, "steps": 2, "encoder.activation": "relu,identity", "encoder.image_shape": (3, 3),
    "classifier.activation": "relu,relu", "classifier.0.groups": 2,
}  # fmt: skip


def test_layers_of_a_framework_with_normalisations(tmp_path: Path) -> None:
    np.savez(tmp_path / "net.npz", **SEQUENCE)
    held = xs.load_model(tmp_path / "net.npz", **SAID)
    encoder, head = held.encoder, held.classifier
    assert isinstance(encoder, xs.Chain)
    assert isinstance(head, xs.Chain)
    first, second = encoder.layers[0].normalisation, head.layers[0].normalisation
    assert first is not None
    assert first.groups is None
    np.testing.assert_allclose(first.scale, 2.0 / np.sqrt(3.0 + 1e-5))
    np.testing.assert_allclose(first.shift, 1.0 - 0.5 * first.scale)
    assert second is not None
    assert second.groups == 2
    assert [layer.activation for layer in encoder.layers] == ["relu", "identity"]
    for left_out, message in (
        ("encoder.activation", "has 2 layers, and nobody says .*--set encoder.activation=relu,relu"),
        ("classifier.0.groups", r"without statistics of batches: .*--set classifier\.0\.groups=1"),
        ("encoder.image_shape", "needs image_shape"),
    ):
        with pytest.raises(WeightsError, match=message):
            xs.load_model(tmp_path / "net.npz", **{name: one for name, one in SAID.items() if name != left_out})


def test_scores_and_gradients_are_those_of_pytorch() -> None:
    folder = Path(__file__).parent / "torch"
    expected = dict(np.load(folder / "several.npz"))
    held = xs.load_model(
        folder / "several.pt",
        **{
            "h": 0.25, "steps": 4, "method": "rk4", "activation": "tanh",
            "encoder.activation": "relu,relu,identity", "encoder.image_shape": (5, 5), "encoder.0.stride": 2,
            "encoder.1.groups": 2, "encoder.1.pooling": "max", "encoder.1.block": 2,
            "classifier.activation": "tanh,relu", "classifier.0.groups": 1,
        },
    )  # fmt: skip
    problem = xs.make_problem(held, data=xs.Data(expected["images"], expected["labels"]))
    found = solve_model(problem, held.field, SolverOptions())
    logits = held.classifier.logits(found.final).T if held.classifier else None
    np.testing.assert_allclose(logits, expected["logits"], rtol=1e-12, atol=1e-13)
    there = {f"encoder.{k}": f"embed.{module}" for k, module in enumerate((0, 3, 8))}
    there |= {f"classifier.{k}": f"fc.{module}" for k, module in enumerate((2, 4))}
    names = {f"{layer}.{of}": f"{module}.{of}" for layer, module in there.items() for of in ("weight", "bias")}
    names |= {"encoder.1.scale": "embed.4.weight", "classifier.0.shift": "fc.0.bias", "A": "odefunc.l1.weight"}
    for name, parameter in names.items():
        np.testing.assert_allclose(found.parameters[name], expected[f"grad.{parameter}"], rtol=1e-9, atol=1e-13)


def test_layers_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(WeightsError, match=r"layer 1 of a chain, .* does not take the 5 numbers that layer 0 makes"):
        xs.Chain([HEAD.layers[0], xs.Classifier(np.ones((3, 4)))])
    with pytest.raises(WeightsError, match="one layer needs no chain"):
        xs.Chain([HEAD.layers[0]])
