"""The numbers that the digital part of a chip computes with: float64, or a fixed point <IL, FL>."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np

from xbar_spice.checks import Optional, Whole, refuse_idle, settle
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.fixed_point import Rounding, fixed_point
from xbar_spice.linear.operator import FloatArray
from xbar_spice.settings import setting

__all__ = ["GROUP", "DigitalNumbers", "Rounded"]

GROUP = "Numbers of the digital part"  # of the settings


@final
@dataclass(frozen=True)
class DigitalNumbers:
    """What the digital part of a chip keeps its numbers in; as exact as float64 unless it has integer bits.

    Weights are rounded once, before they are written to arrays, and with them the biases of the field. Activations are
    what goes into the matrices and what they give: every vector is rounded before it is read by, and the sum of all
    arrays of a matrix, which is wide, once. Gradients pass straight through.

    Attributes:
        integer_bits: IL, the sign among them.
        fraction_bits: FL; numbers are multiples of 2^-FL.
        rounding: "nearest" or "stochastic", see `fixed_point`.
        rounded: "both", or "weights" or "activations" alone.

    Raises:
        InvalidInputError: There is no such format, or a setting has no effect without integer bits.
    """

    NEEDS: ClassVar = dict.fromkeys(("fraction_bits", "rounding", "rounded"), "integer_bits")

    integer_bits: int | None = setting(
        None,
        "Bits before the point of weights and activations, sign included.",
        GROUP,
        unit="bits",
        none="float64",
    )
    fraction_bits: int = setting(12, "Bits behind the point.", GROUP, unit="bits")
    rounding: Rounding = setting(
        "nearest",
        "To the nearest number, or up or down by chance, without bias.",
        GROUP,
        flag="--digital-rounding",
    )
    rounded: Literal["both", "weights", "activations"] = setting("both", "What is kept in these numbers.", GROUP)

    def __post_init__(self) -> None:
        settle(self, integer_bits=Optional(Whole(1, 52)), fraction_bits=Whole(0, 52))
        refuse_idle(self)
        if self.integer_bits is not None and self.integer_bits + self.fraction_bits > 52:
            raise InvalidInputError(
                "integer_bits + fraction_bits must be <= 52, which float64 holds exactly, got "
                f"{self.integer_bits} + {self.fraction_bits}; leave integer_bits out for float64"
            )

    @property
    def of_weights(self) -> bool:
        """Whether weights are rounded."""
        return self.integer_bits is not None and self.rounded != "activations"

    @property
    def of_activations(self) -> bool:
        """Whether activations are rounded."""
        return self.integer_bits is not None and self.rounded != "weights"

    @property
    def random(self) -> bool:
        """Whether rounding draws random numbers."""
        return self.integer_bits is not None and self.rounding == "stochastic"

    @property
    def spacing(self) -> float:
        """Between two numbers, e = 2^-FL."""
        return 2.0**-self.fraction_bits

    @property
    def variance(self) -> float:
        """Of a rounded activation from what it stands for, as far as the fraction that is left is anywhere; else 0."""
        if not self.of_activations:
            return 0.0
        return self.spacing**2 / (6.0 if self.random else 12.0)

    def tensors(self, values: Mapping[str, FloatArray], rng: np.random.Generator) -> dict[str, FloatArray]:
        """Weights as these numbers."""
        rounded = Rounded(self, rng)
        return {name: rounded(value) for name, value in values.items()}


@final
class Rounded:
    """Rounds, and counts what it has rounded.

    Args:
        numbers: With integer bits.
        rng: Of stochastic rounding.

    Attributes:
        values: How many values it was given.
        saturated: How many of them were out of range, and became the end of it.
    """

    def __init__(self, numbers: DigitalNumbers, rng: np.random.Generator | None = None) -> None:
        if numbers.random and rng is None:
            raise InvalidInputError(
                f"{numbers!r} draws random numbers: pass rounding_rng=numpy.random.default_rng(seed), got no generator"
            )
        self._numbers, self._rng = numbers, rng
        self.values = self.saturated = 0

    def __call__(self, values: FloatArray) -> FloatArray:
        """Finite values as numbers."""
        held = self._numbers
        bits = held.integer_bits or 1
        found = fixed_point(values, bits, held.fraction_bits, held.rounding, self._rng)
        top = 2.0 ** (bits - 1)
        self.values += values.size
        self.saturated += int(((values < -top) | (values > top - held.spacing)).sum())
        return found
