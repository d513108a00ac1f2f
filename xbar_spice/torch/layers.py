"""Linear and convolutional layers whose products are reads of arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from xbar_spice.engines.base import Engine
from xbar_spice.linear.operator import FloatArray
from xbar_spice.mapping.analog_matrix import AnalogMatrix
from xbar_spice.mapping.design import Design
from xbar_spice.torch.arrays import Arrays, ArraySettings, GradientKind

__all__ = ["CrossbarConv2d", "CrossbarLinear", "OnArrays", "like", "numbers"]


def numbers(tensor: Tensor) -> FloatArray:
    """The values of a tensor in double precision, as arrays and solvers take them."""
    found: FloatArray = tensor.detach().to(device="cpu", dtype=torch.float64).numpy()
    return found


def like(values: FloatArray, tensor: Tensor) -> Tensor:
    """Values as a tensor of the type, and on the device, of another one."""
    return torch.from_numpy(values.copy()).to(device=tensor.device, dtype=tensor.dtype)


class _Read(torch.autograd.Function):
    """x W^T by reads of arrays, with the backward pass that the arrays are set to."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, arrays: Arrays) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.arrays = arrays
        return like(arrays.written(numbers(weight)).mv(numbers(x).T).T, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        W, values, pulled = numbers(weight), numbers(x).T, numbers(cotangent).T
        wants_x, wants_weight, _ = ctx.needs_input_grad
        of_x = like(ctx.arrays.pull(W, values, pulled).T, x) if wants_x else None
        of_weight = like(ctx.arrays.weight_gradient(W, values, pulled), weight) if wants_weight else None
        return of_x, of_weight, None


class OnArrays(nn.Module):
    """A module with arrays: what the layers and the neural ODE have in common.

    State dicts hold, beside the parameters, which chip it is and the scale of its arrays. A state dict of a module
    without arrays is taken, too.

    Args:
        chip: How the arrays are built, who reads them, and what comes back; None multiplies digitally.
        names: Of the matrices.
    """

    def __init__(self, chip: ArraySettings | None, names: Iterable[str]) -> None:
        super().__init__()
        self._put_on(chip, names)

    def _put_on(self, chip: ArraySettings | None, names: Iterable[str], within: str = "") -> None:
        """Take arrays for the matrices, whose random streams are named after what they are within."""
        self._chip = chip
        self._arrays = [] if chip is None else [Arrays(chip, name, f"{within}{name}") for name in names]

    @property
    def chip(self) -> ArraySettings | None:
        """What the arrays have in common; None for a module that multiplies digitally."""
        return self._chip

    def fix_scale(self) -> None:
        """Let the next forward pass write the arrays with a scale that fits the weights as they are then."""
        for arrays in self._arrays:
            arrays.fix_scale()

    def close(self) -> None:
        """End what stands behind the arrays now, instead of with the module; a forward pass writes them again."""
        for arrays in self._arrays:
            arrays.close()

    def get_extra_state(self) -> dict[str, Any]:
        """Which chip this is, for `state_dict`."""
        return {arrays.name: {"seed": arrays.seed, "range": arrays.range} for arrays in self._arrays}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """The chip of a state dict."""
        for arrays in self._arrays:
            found = state.get(arrays.name)
            if found is not None:
                arrays.close()
                arrays.seed, arrays.range = found["seed"], found["range"]

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *others: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *others)
        missing: list[str] = others[2]
        key = f"{prefix}_extra_state"
        if key in missing:  # it is of a module without arrays, or of another version of this one
            missing.remove(key)

    def extra_repr(self) -> str:
        chip = self._chip
        return "digital" if chip is None else f"engine={chip.engine!r}, gradient={chip.gradient!r}"


def _chip(
    design: Design | None, engine: str | Engine, gradient: GradientKind, seed: int | None, weight_range: float | None
) -> ArraySettings:
    return ArraySettings(Design() if design is None else design, engine, gradient, seed, weight_range)


@final
class CrossbarLinear(OnArrays):
    """y = x W^T + b, W on arrays and b digital: `torch.nn.Linear` with the same parameters and initial values.

    Args:
        in_features: Length of an input, the number of word lines.
        out_features: Length of an output.
        bias: Whether there is a bias.
        design: How the arrays are built; the default design when left out.
        engine: Who answers the reads.
        gradient: Where the backward pass comes from, see `ArraySettings`.
        seed: Which chip, see `ArraySettings`.
        weight_range: The largest |weight| of the arrays, see `ArraySettings`.
        name: Of the matrix in traces and decks, and of its random streams.
        device: Of the parameters.
        dtype: Of the parameters.

    Raises:
        InvalidInputError: See `ArraySettings`.

    Example:
        >>> layer = CrossbarLinear(3, 2, design=Design(r_word=1.0), gradient="transposed")
        >>> layer(torch.ones(5, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(  # noqa: PLR0913 - those of `torch.nn.Linear`, and what its arrays are
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        design: Design | None = None,
        engine: str | Engine = "nodal",
        gradient: GradientKind = "true",
        seed: int | None = None,
        weight_range: float | None = None,
        name: str = "weight",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(_chip(design, engine, gradient, seed, weight_range), [name])
        digital = nn.Linear(in_features, out_features, bias, device=device, dtype=dtype)
        self.in_features, self.out_features = in_features, out_features
        self.weight, self.bias = digital.weight, digital.bias

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features); all samples are one read."""
        flat = _Read.apply(x.reshape(-1, self.in_features), self.weight, self._arrays[0])
        found: Tensor = flat.reshape(*x.shape[:-1], self.out_features)
        return found if self.bias is None else found + self.bias

    @property
    def matrix(self) -> AnalogMatrix:
        """The arrays as they hold the weights now; it lives until the weights change or the module ends."""
        return self._arrays[0].written(numbers(self.weight))

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}, {super().extra_repr()}"


@final
class CrossbarConv2d(OnArrays):
    """`torch.nn.Conv2d` with its kernel on arrays, which are read once for every place of an image.

    A kernel (out, in / groups, height, width) is a matrix of `out` rows for each group; every patch of an image is an
    input. The places of all images of a batch are one read.

    Args:
        in_channels: As for `torch.nn.Conv2d`, as all that follow up to `padding_mode`.
        out_channels: See there.
        kernel_size: See there.
        stride: See there.
        padding: See there.
        dilation: See there.
        groups: See there.
        bias: See there.
        padding_mode: See there.
        design: As for `CrossbarLinear`, as all that follow.
        engine: See there.
        gradient: See there.
        seed: See there.
        weight_range: See there.
        name: See there.
        device: See there.
        dtype: See there.
    """

    def __init__(  # noqa: PLR0913 - those of `torch.nn.Conv2d`, and what its arrays are
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        design: Design | None = None,
        engine: str | Engine = "nodal",
        gradient: GradientKind = "true",
        seed: int | None = None,
        weight_range: float | None = None,
        name: str = "weight",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        names = [name] if groups == 1 else [f"{name}.{group}" for group in range(groups)]
        super().__init__(_chip(design, engine, gradient, seed, weight_range), names)
        digital = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.dilation = digital.kernel_size, digital.stride, digital.dilation
        self.padding, self.padding_mode = digital.padding, padding_mode
        self._margins = _margins(self.padding, self.kernel_size, self.dilation)
        self.weight, self.bias = digital.weight, digital.bias

    def forward(self, x: Tensor) -> Tensor:
        """(samples, in_channels, height, width), or one image without samples, to the same with out_channels."""
        images = x.unsqueeze(0) if x.dim() == 3 else x
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        padded = functional.pad(images, self._margins, mode=mode)
        height, width = (
            (size - dilation * (kernel - 1) - 1) // stride + 1
            for size, dilation, kernel, stride in zip(
                padded.shape[2:], self.dilation, self.kernel_size, self.stride, strict=True
            )
        )
        patches = functional.unfold(padded, self.kernel_size, dilation=self.dilation, stride=self.stride)
        parts = patches.transpose(1, 2).chunk(self.groups, dim=2)  # (samples, places, in / groups * kernel)
        kernels = self.weight.flatten(1).chunk(self.groups)
        products = [
            _Read.apply(part.reshape(-1, part.shape[2]), kernel, arrays).reshape(*part.shape[:2], -1)
            for part, kernel, arrays in zip(parts, kernels, self._arrays, strict=True)
        ]
        found: Tensor = torch.cat(products, dim=2).transpose(1, 2).unflatten(2, (height, width))
        if self.bias is not None:
            found = found + self.bias[:, None, None]
        return found.squeeze(0) if x.dim() == 3 else found

    @property
    def matrices(self) -> tuple[AnalogMatrix, ...]:
        """The arrays of each group as they hold the kernel now, see `CrossbarLinear.matrix`."""
        kernels = self.weight.flatten(1).chunk(self.groups)
        return tuple(arrays.written(numbers(kernel)) for arrays, kernel in zip(self._arrays, kernels, strict=True))

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, groups={self.groups}, {super().extra_repr()}"
        )


def _margins(padding: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> list[int]:
    """Left, right, top, bottom, as `torch.nn.functional.pad` takes them."""
    found: list[int] = []
    for axis in (1, 0):
        whole = dilation[axis] * (kernel[axis] - 1) if padding == "same" else 0
        before = whole // 2 if isinstance(padding, str) else padding[axis]
        found += [before, whole - before if isinstance(padding, str) else before]
    return found
