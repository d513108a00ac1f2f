"""What pulses make of a wanted change of a weight: finite, uneven and different steps up and down."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Self, final

import numpy as np

from xbar_spice.checks import Many, Optional, Real, Whole, checked, settle
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.tables import read_table
from xbar_spice.linear.operator import FloatArray

__all__ = ["PulseUpdate", "WeightUpdate", "pulse_curves", "soft_bounds"]


class WeightUpdate(ABC):
    """What becomes of weights that an optimiser wants to change; one of one's own subclasses this."""

    @abstractmethod
    def moved(self, weights: FloatArray, wanted: FloatArray, largest: float, rng: np.random.Generator) -> FloatArray:
        """The weights that are left.

        Args:
            weights: Before.
            wanted: What the optimiser asks for, of the same shape.
            largest: w_max of the chip: weights lie between -w_max and w_max.
            rng: Of all that is random.
        """


@final
@dataclass(frozen=True)
class PulseUpdate(WeightUpdate):
    """Weights that pulses move along measured curves, for `Chip(update=...)`.

    A weight is one device whose conductance takes the range of both curves; -w_max and w_max are its ends. A wanted
    change becomes that many pulses of the mean step, the rest by chance, and each pulse goes on along its curve from
    where the device is: a step up and a step down do not undo each other, and steps shrink towards an end if the
    curves say so. Along even curves that is stochastic rounding of the weight to multiples of a step.

    Attributes:
        rise: Conductances after 0, 1, 2, ... pulses that raise it (potentiation), in any unit, ascending.
        fall: After 0, 1, 2, ... pulses that lower it (depression), descending.
        noise: Deviation of one pulse's step, relative to the mean step.
        unit: The change that a pulse is counted for, in the unit of the curves; their mean steps when left out.

    Raises:
        InvalidInputError: Curves of fewer than two points, that do not ascend or descend, or have no range in common.

    Example:
        >>> even = PulseUpdate((0.0, 1.0, 2.0), (2.0, 1.0, 0.0))
        >>> even.moved(np.array([0.0]), np.array([0.5]), 1.0, np.random.default_rng(0))
        array([1.])
    """

    rise: tuple[float, ...]
    fall: tuple[float, ...]
    noise: float = 0.0
    unit: float | None = None

    def __post_init__(self) -> None:
        curve = Many(Real(), least=2)
        settle(self, rise=curve, fall=curve, noise=Real(least=0), unit=Optional(Real(above=0)))
        for name, values in (("rise", np.diff(self.rise)), ("fall", -np.diff(self.fall))):
            if not (values > 0).all():
                word = "ascend" if name == "rise" else "descend"
                raise InvalidInputError(f"{name} must {word} from pulse to pulse, got a step of {values.min():g}")
        low, high = self.ends
        if not low < high:
            raise InvalidInputError(f"rise and fall must have a range in common, got it from {low:g} to {high:g}")

    @classmethod
    @checked(step=Real(above=0, below=1), pulses=Whole(2))
    def soft_bounds(cls, step: float, *, pulses: int = 1000, noise: float = 0.0, unit: float | None = None) -> Self:
        """The curves of soft bounds, w += a (1 - w / w_max) up and w -= a (1 - w / w_min) down.

        Args:
            step: a, relative to w_max = -w_min = 1.
            pulses: How far the curves go.
            noise: See the attribute.
            unit: See the attribute; `step` counts pulses by what one does at w = 0.
        """
        rise = 1.0 - 2.0 * (1.0 - step) ** np.arange(pulses + 1)
        return cls(tuple(rise.tolist()), tuple((-rise).tolist()), noise, unit)

    @property
    def ends(self) -> tuple[float, float]:
        """The range that both curves have in common."""
        return max(self.rise[0], self.fall[-1]), min(self.rise[-1], self.fall[0])

    def moved(self, weights: FloatArray, wanted: FloatArray, largest: float, rng: np.random.Generator) -> FloatArray:
        low, high = self.ends
        scale = 0.5 * (high - low) / largest
        before = np.clip(low + scale * (weights + largest), low, high)
        change = scale * (wanted - weights)
        found = before.copy()
        for curve, chosen in ((np.array(self.rise), change > 0), (np.array(self.fall)[::-1], change < 0)):
            mean = (curve[-1] - curve[0]) / (curve.size - 1)
            counts = np.floor(np.abs(change) / (self.unit or mean) + rng.random(change.shape))
            places = np.interp(before, curve, np.arange(curve.size)) + np.sign(change) * counts
            after = np.interp(places, np.arange(curve.size), curve)
            after = after + self.noise * mean * np.sqrt(counts) * rng.standard_normal(change.shape)
            found = np.where(chosen, after, found)
        return np.asarray(np.where(change == 0, weights, (np.clip(found, low, high) - low) / scale - largest))


def pulse_curves(file: str | Path, noise: float = 0.0) -> PulseUpdate:
    """Measured curves of potentiation and depression, from a CSV file with the columns rise and fall.

    Args:
        file: Its rows are the conductances after 0, 1, 2, ... pulses.
        noise: See `PulseUpdate`.
    """
    columns = read_table(file, ("rise", "fall"))
    return PulseUpdate(tuple(columns["rise"].tolist()), tuple(columns["fall"].tolist()), noise)


def soft_bounds(step: float, pulses: int = 1000, noise: float = 0.0) -> PulseUpdate:
    """`PulseUpdate.soft_bounds`, by a name of its own."""
    return PulseUpdate.soft_bounds(step, pulses=pulses, noise=noise)
