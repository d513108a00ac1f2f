#!/usr/bin/env python3
"""Makes the files of tests/weights/torch: what PyTorch writes of small networks, and what it computes with them.

Needs torch, which the tests do not: `python scripts/torch_files.py`. Made with torch 2.13.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

FOLDER = Path(__file__).parents[1] / "tests" / "weights" / "torch"
STEPS, H = 4, 0.25


class Tanh(nn.Module):
    """B tanh(A z + b1) + b2."""

    def __init__(self, states: int, hidden: int, bias: bool = True) -> None:
        super().__init__()
        self.l1, self.l2 = nn.Linear(states, hidden, bias=bias), nn.Linear(hidden, states, bias=bias)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.l2(torch.tanh(self.l1(z)))


class Convolutions(nn.Module):
    """Two convolutions of images of one channel, with eight hidden ones."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.conv2(torch.relu(self.conv1(z.reshape(-1, 1, 4, 4)))).flatten(1)


class Layer(nn.Module):
    """tanh(K z + b)."""

    def __init__(self, states: int) -> None:
        super().__init__()
        self.K = nn.Linear(states, states)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.K(z))


class Perceptron(nn.Module):
    """Three layers with ELU between them, as of a latent ODE."""

    def __init__(self, states: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(states, hidden), nn.Linear(hidden, hidden)
        self.fc3, self.elu = nn.Linear(hidden, states), nn.ELU()

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.fc3(self.elu(self.fc2(self.elu(self.fc1(z)))))


class Net(nn.Module):
    """An encoder, a neural ODE by RK4 and a classifier."""

    def __init__(self, ode: nn.Module, inputs: int, states: int) -> None:
        super().__init__()
        self.embed = nn.Linear(inputs, states) if inputs != states else None
        self.odefunc = ode
        self.fc = nn.Linear(states, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = x if self.embed is None else self.embed(x)
        for _ in range(STEPS):
            k1 = self.odefunc(z)
            k2 = self.odefunc(z + H / 2 * k1)
            k3 = self.odefunc(z + H / 2 * k2)
            k4 = self.odefunc(z + H * k3)
            z = z + H / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return self.fc(z)


class Several(Net):
    """An encoder and a head of several layers, with normalisations of batches and of groups, and pooling."""

    def __init__(self) -> None:
        super().__init__(Tanh(4, 6), 4, 4)
        self.embed = nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
            nn.Conv2d(4, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(4, 4),
        )  # fmt: skip
        self.fc = nn.Sequential(nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))


def several() -> None:
    """Ends of several layers: a file of their own, which was made later."""
    torch.manual_seed(1)
    net = Several().double()
    net.embed(torch.randn(8, 1, 5, 5, dtype=torch.float64))  # gives the normalisation its statistics
    net.eval()
    images, labels = torch.randn(6, 1, 5, 5, dtype=torch.float64), torch.arange(6) % 3
    logits = net(images)
    nn.functional.cross_entropy(logits, labels).backward()
    torch.save(net.state_dict(), FOLDER / "several.pt")
    expected = {"images": images.flatten(1).numpy(), "logits": logits.detach().numpy(), "labels": labels.numpy()}
    expected |= {f"grad.{key}": value.grad.numpy() for key, value in net.named_parameters()}
    np.savez_compressed(FOLDER / "several.npz", **expected)


class ConcatConv2d(nn.Module):
    """A convolution of an image and of the time, which is one more channel in front."""

    def __init__(self, channels: int, into: int, size: int) -> None:
        super().__init__()
        self._layer = nn.Conv2d(channels + 1, into, size, 1, size // 2)

    def forward(self, t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return self._layer(torch.cat([torch.ones_like(x[:, :1]) * t, x], 1))


class ConcatOde(nn.Module):
    """The right-hand side of the MNIST example of torchdiffeq, but for its normalisations, from t = 0 by RK4."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.odefunc = nn.ModuleDict(
            {"conv1": ConcatConv2d(channels, hidden, 3), "conv2": ConcatConv2d(hidden, channels, 3)}
        )

    def f(self, t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return self.odefunc["conv2"](t, torch.tanh(self.odefunc["conv1"](t, x)))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        self.h = h = torch.full((), H, dtype=z.dtype, requires_grad=True)
        for k in range(STEPS):
            t = k * h
            k1 = self.f(t, z)
            k2 = self.f(t + h / 2, z + h / 2 * k1)
            k3 = self.f(t + h / 2, z + h / 2 * k2)
            k4 = self.f(t + h, z + h * k3)
            z = z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return z


class TimedPerceptron(ConcatOde):
    """The same of three convolutions, as the convolutional augmented neural ODEs have them."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__(channels, hidden)
        sizes = {"conv1": (channels, hidden, 1), "conv2": (hidden, hidden, 3), "conv3": (hidden, channels, 1)}
        self.odefunc = nn.ModuleDict({name: ConcatConv2d(*size) for name, size in sizes.items()})

    def f(self, t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return self.odefunc["conv3"](t, torch.tanh(self.odefunc["conv2"](t, torch.tanh(self.odefunc["conv1"](t, x)))))


class OdeNet(ConcatOde):
    """The right-hand side of the MNIST example of torchdiffeq, as it is."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__(channels, channels)
        self.odefunc = nn.ModuleDict(
            {
                "norm1": nn.GroupNorm(groups, channels), "relu": nn.ReLU(),
                "conv1": ConcatConv2d(channels, channels, 3),
                "norm2": nn.GroupNorm(groups, channels), "conv2": ConcatConv2d(channels, channels, 3),
                "norm3": nn.GroupNorm(groups, channels),
            }
        )  # fmt: skip
        for norm in ("norm1", "norm2", "norm3"):
            nn.init.normal_(self.odefunc[norm].weight)
            nn.init.normal_(self.odefunc[norm].bias)

    def f(self, t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        parts = self.odefunc
        out = parts["conv1"](t, parts["relu"](parts["norm1"](x)))
        return parts["norm3"](parts["conv2"](t, parts["relu"](parts["norm2"](out))))


def timed() -> None:
    """Convolutions of image and time, behind one of even size: a file of their own, which was made later."""
    torch.manual_seed(2)
    images, labels = torch.randn(6, 1, 7, 7, dtype=torch.float64), torch.arange(6) % 3
    expected = {"images": images.flatten(1).numpy(), "labels": labels.numpy()}
    pooled = (nn.ReLU(), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten())
    mnist = (nn.Conv2d(1, 4, 3, 1), nn.GroupNorm(2, 4), nn.ReLU(), nn.Conv2d(4, 4, 4, 2, 1), OdeNet(4, 2),
             nn.GroupNorm(2, 4), *pooled, nn.Linear(4, 3))  # fmt: skip
    for name, parts in (
        ("concat", (nn.Conv2d(1, 2, 4, 2, 1), nn.ReLU(), ConcatOde(2, 3), *pooled, nn.Linear(2, 3))),
        ("timed_perceptron", (nn.Conv2d(1, 2, 4, 2, 1), nn.ReLU(), TimedPerceptron(2, 3), *pooled, nn.Linear(2, 3))),
        ("odenet_mnist", mnist),
    ):
        net = nn.Sequential(*parts).double()
        ode = next(part for part in net if isinstance(part, ConcatOde))
        logits = net(images)
        nn.functional.cross_entropy(logits, labels).backward()
        torch.save(net.state_dict(), FOLDER / f"{name}.pt")
        expected |= {f"{name}.logits": logits.detach().numpy(), f"{name}.h": ode.h.grad.numpy()}
        expected |= {f"{name}.grad.{key}": value.grad.numpy() for key, value in net.named_parameters()}
    np.savez_compressed(FOLDER / "timed.npz", **expected)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    torch.manual_seed(0)
    x, labels = torch.randn(20, 5), torch.randint(3, (20,))
    images = torch.rand(20, 16)
    tanh, plain = Net(Tanh(4, 6), 5, 4), Net(Tanh(5, 7, bias=False), 5, 5)
    convolutions, layer = Net(Convolutions(), 16, 16), Net(Layer(5), 5, 5)
    perceptron = Net(Perceptron(4, 6), 5, 4)

    optimizer = torch.optim.Adam(tanh.parameters())
    nn.functional.cross_entropy(tanh(x), labels).backward()
    optimizer.step()
    wrapped = {f"module.{name}": value for name, value in tanh.state_dict().items()}
    torch.save(
        {"epoch": 7, "best": np.float64(0.5), "state_dict": wrapped, "optimizer": optimizer.state_dict()},
        FOLDER / "checkpoint.pt",
    )
    torch.save(tanh, FOLDER / "whole_module.pt")
    torch.save(tanh.state_dict(), FOLDER / "before_1_6.pth", _use_new_zipfile_serialization=False)
    torch.jit.script(tanh.odefunc).save(FOLDER / "torchscript.pt")
    torch.save({f"_orig_mod.{n}": v.bfloat16() for n, v in tanh.state_dict().items()}, FOLDER / "bfloat16.pt")
    torch.save(plain.half().state_dict(), FOLDER / "half_without_bias.pt")
    torch.save({"net": convolutions.state_dict(), "args": {"lr": 0.1}}, FOLDER / "convolutions.pt")
    torch.save(layer.state_dict() | {"h": H, "steps": STEPS, "method": "rk4"}, FOLDER / "layer.pt")
    torch.save({"model_state_dict": perceptron.state_dict(), "loss": 0.5}, FOLDER / "perceptron.pt")
    names = {"A": "odefunc.l1.weight", "B": "odefunc.l2.weight", "bias": "odefunc.l1.bias",
             "output_bias": "odefunc.l2.bias", "encoder.weight": "embed.weight", "encoder.bias": "embed.bias",
             "classifier.weight": "fc.weight", "classifier.bias": "fc.bias"}  # fmt: skip
    documented = {name: tanh.state_dict()[there] for name, there in names.items()}
    documented |= {"h": H, "steps": STEPS, "method": "rk4", "activation": "tanh", "field": "activation"}
    torch.save(documented, FOLDER / "documented.pt")
    torch.save({"A": torch.zeros(1).expand(10**5, 10**5)}, FOLDER / "shown_larger.pt")
    torch.save(torch.ones(2, 2), FOLDER / "single_tensor.pt")
    torch.save({"A": torch.ones(3, 2, dtype=torch.complex64), "h": 0.1, "steps": 1}, FOLDER / "complex.pt")

    expected = {"x": x.double().numpy(), "images": images.double().numpy(), "labels": labels.numpy()}
    nets = {
        "tanh": (tanh, x),
        "half_without_bias": (plain, x),
        "convolutions": (convolutions, images),
        "layer": (layer, x),
        "perceptron": (perceptron, x),
    }
    for name, (net, inputs) in nets.items():
        net.double().zero_grad()
        logits = net(inputs.double())
        loss = nn.functional.cross_entropy(logits, labels)
        loss.backward()
        expected |= {f"{name}.logits": logits.detach().numpy(), f"{name}.loss": loss.detach().numpy()}
        expected |= {f"{name}.grad.{key}": value.grad.numpy() for key, value in net.named_parameters()}
    coarse = Net(Tanh(4, 6), 5, 4)
    coarse.load_state_dict({name: value.bfloat16() for name, value in tanh.float().state_dict().items()})
    expected["bfloat16.logits"] = coarse.double()(x.double()).detach().numpy()
    np.savez_compressed(FOLDER / "expected.npz", **expected)


if __name__ == "__main__":
    main()
    several()
    timed()
