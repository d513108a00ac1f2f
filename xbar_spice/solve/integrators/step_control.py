"""How an adaptive method chooses its steps; each sample of a batch has a step size of its own.

Source: Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, section II.4.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np

from xbar_spice.checks import settle
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.norms import norms
from xbar_spice.linear.operator import FloatArray
from xbar_spice.settings import setting

__all__ = ["AdaptiveOptions"]

GROUP = "Adaptive steps, of dopri5"  # of the settings

_SAFETY = 0.9
_SMALLEST, _LARGEST = 0.2, 5.0  # factors between one step and the next
_SIZES_PER_OCTAVE = 8
_LARGEST_NOISE = 0.3  # beyond which any step would do


@final
@dataclass(frozen=True)
class AdaptiveOptions:
    """How an adaptive method chooses its steps.

    Attributes:
        rtol: Error of a step allowed relative to the state.
        atol: Error of a step allowed in addition, for each entry of the state.
        max_attempts: Steps tried by each sample, accepted or not, between two points of the grid.
        max_rejections: Steps tried in vain by each sample between two points of the grid. A sample beyond either number
            is reported as not converged, and its state is NaN from there on.
        noise: Error that noisy reads make in a step, relative to the state, as `NewtonOptions` have it. It is allowed
            in addition: no step is made shorter for the sake of an error that is noise.

    Raises:
        InvalidInputError: A value is out of range.
    """

    rtol: float = setting(1e-6, "Error of a step relative to the state.", GROUP, unit="part", flag="--step-rtol")
    atol: float = setting(1e-9, "Error of a step on top, for each entry of the state.", GROUP, flag="--step-atol")
    max_attempts: int = setting(
        1000, "Steps tried by each sample between two points of the grid.", GROUP, unit="count", flag="--attempts"
    )
    max_rejections: int = setting(
        200,
        "Steps tried in vain by each sample between two points of the grid.",
        GROUP,
        unit="count",
        flag="--rejections",
    )
    noise: float = setting(
        0.0, "Error that noisy reads make in a step, relative to the state.", GROUP, unit="part", flag="--step-noise"
    )

    def __post_init__(self) -> None:
        settle(self)
        if not 0.0 <= self.rtol < 1.0:
            raise InvalidInputError(f"rtol of an adaptive method must be in [0, 1), got {self.rtol}")
        if not 0.0 <= self.atol < np.inf or self.atol == self.rtol == 0.0:
            raise InvalidInputError(
                f"atol of an adaptive method must be >= 0, and > 0 if rtol is 0, got {self.atol} with rtol {self.rtol}"
            )
        for name, count in (("max_attempts", self.max_attempts), ("max_rejections", self.max_rejections)):
            if count < 1:
                raise InvalidInputError(f"{name} of an adaptive method must be >= 1, got {count}")
        if not 0.0 <= self.noise < 1.0:
            raise InvalidInputError(f"noise of an adaptive method must be in [0, 1), got {self.noise}")

    def allowing(self, noise: float) -> AdaptiveOptions:
        """The same options, but steps no more exact than noisy reads allow; `noise` as for `allowing_noise`."""
        return replace(self, noise=max(self.noise, min(noise, _LARGEST_NOISE)))

    def error(self, estimate: FloatArray, before: FloatArray, after: FloatArray) -> FloatArray:
        """Root mean square of a step's error in units of what is allowed, (batch,); 1 is just right."""
        allowed = self.atol + self.rtol * np.maximum(np.abs(before), np.abs(after))
        if self.noise:  # of no entry in particular
            allowed += self.noise * np.maximum(_root_mean_square(before), _root_mean_square(after))
        parts = np.divide(estimate, allowed, out=np.zeros_like(estimate), where=estimate != 0.0)
        size = _root_mean_square(parts)
        return np.where(np.isfinite(after).all(axis=0) & np.isfinite(size), size, np.inf)

    def factor(self, error: FloatArray, order: int) -> FloatArray:
        """By which to change the step size after a step with this error, (batch,)."""
        with np.errstate(divide="ignore"):
            return np.clip(_SAFETY * error ** (-1.0 / order), _SMALLEST, np.where(error > 1.0, _SAFETY, _LARGEST))

    def first_step(self, z: FloatArray, slope: FloatArray, longest: float) -> FloatArray:
        """A first step that changes the state by about 1 %, in units of what is allowed, (batch,)."""
        allowed = self.atol + self.rtol * np.abs(z)
        if self.noise:
            allowed += self.noise * _root_mean_square(z)
        safe = np.where(allowed > 0.0, allowed, 1.0)
        size, speed = (_root_mean_square(v / safe) for v in (z, slope))
        guess = np.divide(0.01 * size, speed, out=np.zeros_like(size), where=speed > 0.0)
        return np.where(guess > 0.0, np.minimum(guess, longest), 1e-3 * longest)

    def rounded(self, h: FloatArray, longest: float) -> FloatArray:
        """The next smaller of a few sizes, (batch,): 8 from each power of two to the next, counted from `longest`.

        Error estimates carry rounding. Without sizes on a grid it would move every later step, so that a batch would
        differ from its samples, and a run from its neighbours when gradients are checked by finite differences.
        """
        octaves = np.log2(np.maximum(h / longest, np.finfo(float).tiny))
        return longest * 2.0 ** (np.floor(_SIZES_PER_OCTAVE * octaves + 1e-6) / _SIZES_PER_OCTAVE)


def _root_mean_square(x: FloatArray) -> FloatArray:
    """Of each sample, (batch,); of entries of any size."""
    with np.errstate(over="ignore"):
        plain = np.sqrt(np.mean(x**2, axis=0))
    return np.asarray(np.where(np.isinf(plain), norms(x) / np.sqrt(len(x)), plain))
