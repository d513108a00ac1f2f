"""A trained neural ODE as a frozen value: matrices or kernels, the time grid, and the classifier behind it."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Any, Self, final, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xbar_spice.checks import ANYTHING, Array, settle
from xbar_spice.errors import InvalidInputError, WeightsError
from xbar_spice.linear.convolution import Padding, convolution_matrix, flat_kernel, kernel_gradient
from xbar_spice.linear.operator import FloatArray

__all__ = ["Classifier", "Kernels", "Model"]


@final
@dataclass(frozen=True, eq=False)
class Kernels:
    """The kernels of a convolutional neural ODE, kept with taps in the order of `xbar_spice.linear.convolution`.

    A weight of `torch.nn.Conv2d`, (c_out, c_in, q, q), is taken as it is and becomes such a kernel.

    Args:
        a: (q*q,), or (hidden channels, image channels, q*q or q, q); builds A.
        b: (q*q,), or (image channels, hidden channels, q*q or q, q); builds B.
        image_shape: (height, width).
        padding: "circular" or "zero".

    Raises:
        WeightsError: A kernel has a shape, dtype or value that does not fit.
    """

    a: FloatArray
    b: FloatArray
    image_shape: tuple[int, int]
    padding: Padding = "circular"

    def __post_init__(self) -> None:
        shape = _array("image_shape", self.image_shape)
        if shape.shape != (2,) or not np.issubdtype(shape.dtype, np.integer) or shape.min() < 1:
            raise WeightsError(f"tensor 'image_shape': expected two whole numbers >= 1, got {_brief(shape)}")
        object.__setattr__(self, "image_shape", (int(shape[0]), int(shape[1])))
        if f"{self.padding}" not in get_args(Padding):
            raise WeightsError(f"'padding': expected one of {get_args(Padding)}, got {self.padding!r}")
        for name in ("a", "b"):
            object.__setattr__(self, name, self._flat(name, getattr(self, name)))
        A, B = self.matrices()
        if A.shape != B.shape[::-1]:
            raise WeightsError(
                "tensor 'b': expected a kernel that leads back from the hidden channels of 'a' to those of the image, "
                f"got shapes a {self.a.shape} and b {self.b.shape}"
            )

    def matrices(self) -> tuple[FloatArray, FloatArray]:
        """A, (hidden, states), and B, (states, hidden), where an image has `states` pixels over all channels."""
        return self._matrix("a", self.a), self._matrix("b", self.b)

    def gradient_a(self, gradient: ArrayLike) -> FloatArray:
        """dL/da, of the shape of a, from dL/dA."""
        return self._gradient(self.a, gradient)

    def gradient_b(self, gradient: ArrayLike) -> FloatArray:
        """dL/db, of the shape of b, from dL/dB."""
        return self._gradient(self.b, gradient)

    def _gradient(self, kernel: FloatArray, gradient: ArrayLike) -> FloatArray:
        channels = None if kernel.ndim == 1 else (kernel.shape[0], kernel.shape[1])
        size = isqrt(kernel.shape[-1])
        return kernel_gradient(gradient, self.image_shape, channels, size=size, padding=self.padding)

    @staticmethod
    def _flat(name: str, kernel: ArrayLike) -> FloatArray:
        try:
            return _real(name, flat_kernel(_real(name, kernel)))
        except WeightsError:
            raise
        except InvalidInputError as error:
            raise WeightsError(f"tensor '{name}': {error}") from None

    def _matrix(self, name: str, kernel: FloatArray) -> FloatArray:
        try:
            return convolution_matrix(kernel, self.image_shape, self.padding)
        except InvalidInputError as error:
            raise WeightsError(f"tensor '{name}': {error}") from None


@final
@dataclass(frozen=True, eq=False)
class Classifier:
    """A linear classifier of final states.

    Args:
        weight: (classes, n).
        bias: (classes,).

    Raises:
        WeightsError: A shape, dtype or value that does not fit.
    """

    weight: FloatArray
    bias: FloatArray

    def __post_init__(self) -> None:
        weight = _real("classifier.weight", self.weight, "(classes, n)")
        bias = _real("classifier.bias", self.bias, "(classes,)")
        if bias.shape != weight.shape[:1]:
            raise WeightsError(
                f"tensor 'classifier.bias': expected shape {weight.shape[:1]} for a classifier.weight of shape "
                f"{weight.shape}, got {bias.shape}"
            )
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "bias", bias)

    def logits(self, z: ArrayLike) -> FloatArray:
        """(classes, batch) scores of the states z, (n, batch); the largest one names the class."""
        return self.weight @ Array(finite=False)("z", z) + self.bias[:, np.newaxis]


@final
@dataclass(frozen=True, eq=False)
class Model:
    """A trained neural ODE dz/dt = B relu(A z), solved from 0 to `h * steps`.

    Args:
        A: (m, n).
        B: (n, m).
        h: Step length, > 0.
        steps: Number of steps, >= 1.
        method: Name of the integrator.
        kernels: The kernels that A and B were built from; None for dense matrices.
        classifier: What makes classes of final states; None if there is none.
        source: Where the weights come from, in words.
        weight_range: The largest |weight| of A and of B that the chip holds which they are meant for; None leaves it
            to the weights.
        trained_on: Name of the data set whose samples are its states, such as "digits"; empty if nobody has said so.

    Raises:
        WeightsError: A shape, dtype or value that does not fit.

    Example:
        >>> Model([[1.0, 0.0]], [[0.0], [1.0]], h=0.25, steps=4).states
        2
    """

    A: FloatArray
    B: FloatArray
    h: float
    steps: int
    method: str = "implicit_euler"
    kernels: Kernels | None = None
    classifier: Classifier | None = None
    source: str = ""
    weight_range: tuple[float, float] | None = None
    trained_on: str = ""

    def __post_init__(self) -> None:
        settle(self, WeightsError, **dict.fromkeys(("A", "B", "h", "steps", "weight_range"), ANYTHING))
        A, B = _real("A", self.A, "(m, n)"), _real("B", self.B, "(n, m)")
        if B.shape != A.shape[::-1]:
            raise WeightsError(f"tensor 'B': expected shape {A.shape[::-1]} for an A of shape {A.shape}, got {B.shape}")
        if self.kernels is not None and not all(map(np.array_equal, (A, B), self.kernels.matrices())):
            raise WeightsError("tensors 'A', 'B': expected the matrices of the kernels, see Model.from_kernels")
        if self.classifier is not None and self.classifier.weight.shape[1] != A.shape[1]:
            raise WeightsError(
                f"tensor 'classifier.weight': expected shape (classes, {A.shape[1]}) for states of length "
                f"{A.shape[1]}, got {self.classifier.weight.shape}"
            )
        if not self.method:
            raise WeightsError("'method': expected the name of an integrator, got an empty text")
        checked = {"A": A, "B": B, "h": _step_length(self.h), "steps": _step_count(self.steps)}
        if self.weight_range is not None:
            checked["weight_range"] = _range(self.weight_range)
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_kernels(cls, kernels: Kernels, **others: Any) -> Self:
        """The model whose A and B are the convolutions of some kernels; `others` as for `Model`."""
        A, B = kernels.matrices()
        return cls(A, B, kernels=kernels, **others)

    @property
    def states(self) -> int:
        """Length n of the state."""
        return int(self.A.shape[1])

    @property
    def hidden(self) -> int:
        """Number m of hidden units."""
        return int(self.A.shape[0])

    def require_runnable(self, samples: int) -> None:
        """Raise if a run would not end in sensible time and memory: it keeps the state of every step.

        Args:
            samples: Number of initial states that are solved together.

        Raises:
            WeightsError: There are too many steps, or too many numbers in all states.
        """
        numbers = (self.steps + 1) * self.states * samples
        if self.steps > _MOST_STEPS_OF_A_RUN or numbers > _MOST_NUMBERS_OF_A_RUN:
            raise WeightsError(
                f"{self.steps} steps of {self.states} states and {samples} samples are {numbers:.3g} numbers to keep; "
                f"a run has at most {_MOST_STEPS_OF_A_RUN} steps and {_MOST_NUMBERS_OF_A_RUN} numbers: correct 'steps' "
                "of the model, or take fewer samples"
            )


_LARGEST_WHOLE = 2**53
_MOST_STEPS = 10**9  # more come of a damaged file
_MOST_STEPS_OF_A_RUN = 10**6
_MOST_NUMBERS_OF_A_RUN = 2**28  # 2 GiB


def _array(name: str, value: Any) -> NDArray[Any]:
    """Whatever was given as an array, of whatever type."""
    if np.ma.is_masked(value):
        raise WeightsError(f"tensor '{name}': expected every value, got masked ones; fill them with array.filled(...)")
    try:
        return np.asarray(value)
    except ValueError:
        raise WeightsError(f"tensor '{name}': expected an array, got rows of different lengths") from None


def _real(name: str, value: ArrayLike, shape: str = "") -> FloatArray:
    """A finite float64 copy that nobody can write to; `shape` in words, whose commas say the number of axes.

    Whole numbers are taken as they are, as long as float64 holds every one of that size: up to 2^53.
    """
    array = _array(name, value)
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise WeightsError(f"tensor '{name}': expected a floating-point or integer dtype, got {array.dtype}")
    if np.issubdtype(array.dtype, np.integer) and ((array > _LARGEST_WHOLE) | (array < -_LARGEST_WHOLE)).any():
        raise WeightsError(
            f"tensor '{name}': expected whole numbers between -2^53 and 2^53, which float64 holds exactly, got "
            f"{array.min()} to {array.max()}; scale them and store float64"
        )
    axes = len([axis for axis in shape.strip("()").split(",") if axis])
    if shape and (array.ndim != axes or not array.size):
        raise WeightsError(f"tensor '{name}': expected shape {shape}, got {array.shape}")
    with np.errstate(over="ignore"):  # numbers of more than 64 bits may become infinite
        array = array.astype(np.float64)
    wrong = int(np.count_nonzero(~np.isfinite(array)))
    if wrong:
        raise WeightsError(f"tensor '{name}': expected finite values, got NaN or infinity in {wrong} of {array.size}")
    array.setflags(write=False)
    return array


def _scalar(name: str, value: object, expected: str) -> float:
    array = _array(name, value)
    if array.size != 1 or not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise WeightsError(f"tensor '{name}': expected {expected}, got {_brief(array)}")
    return float(array.item())


def _step_length(value: object) -> float:
    h = _scalar("h", value, "one number > 0")
    if not (np.isfinite(h) and h > 0):
        raise WeightsError(f"tensor 'h': expected a finite step length > 0, got {h}")
    return h


def _step_count(value: object) -> int:
    steps = _scalar("steps", value, "one whole number >= 1")
    if not (steps.is_integer() and steps >= 1):
        raise WeightsError(f"tensor 'steps': expected a whole number >= 1, got {steps:g}")
    if steps > _MOST_STEPS:
        raise WeightsError(f"tensor 'steps': expected at most {_MOST_STEPS} steps, got {steps:g}")
    return int(steps)


def _range(value: ArrayLike) -> tuple[float, float]:
    largest = _array("weight_range", value)
    numbers = np.issubdtype(largest.dtype, np.floating) or np.issubdtype(largest.dtype, np.integer)
    if not (numbers and largest.shape == (2,) and np.isfinite(largest).all() and (largest > 0).all()):
        raise WeightsError(f"tensor 'weight_range': expected two finite numbers > 0, got {_brief(largest)}")
    return float(largest[0]), float(largest[1])


def _brief(array: NDArray[Any]) -> str:
    return f"{array.tolist()}" if array.size <= 4 else f"{array.dtype} of shape {array.shape}"
