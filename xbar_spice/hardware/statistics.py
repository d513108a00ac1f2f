"""Programming errors as they were measured: published fits, tables of one's own, levels, and several effects in turn.

Each draws one standard normal number for each device, G = mean(T) + deviation(T) x, cut at 0 S, so that the slope of a
device is dG/dT = mean'(T) + deviation'(T) x, and 0 where it was cut.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import pi
from pathlib import Path
from typing import Literal, Self, final

import numpy as np
from scipy.special import ndtr

from xbar_spice.checks import DEVIATION, PART, Either, Instance, Many, OneOf, Real, Whole, settle
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.fits import FITS, MICRO
from xbar_spice.hardware.tables import read_table
from xbar_spice.hardware.variation import Programmed, ProgrammingError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import PROGRAMMING_ERRORS

__all__ = ["FITS", "Correlated", "InTurn", "Levels", "MeasuredProgramming", "PublishedError", "Stuck"]


class _Normal(ProgrammingError):
    """A normal error whose mean and deviation depend on the target."""

    random = True

    @abstractmethod
    def _law(self, target: FloatArray, g_max: float) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Mean and standard deviation at each target, siemens, and their derivatives with respect to it.

        Raises:
            InvalidInputError: A target outside the range in which the law is known.
        """

    def program(self, target: FloatArray, g_min: float, g_max: float, rng: np.random.Generator | None) -> Programmed:
        mean, deviation, mean_slope, deviation_slope = self._law(target, g_max)
        x = _generator(self, rng).standard_normal(target.shape)
        conductance = mean + deviation * x
        cut = conductance < 0
        return Programmed(np.where(cut, 0.0, conductance), np.where(cut, 0.0, mean_slope + deviation_slope * x))

    def moments(self, target: FloatArray, g_min: float, g_max: float) -> tuple[FloatArray, FloatArray]:
        mean, deviation, *_ = self._law(target, g_max)
        safe = np.where(deviation > 0, deviation, 1.0)
        edge = mean / safe
        density = np.exp(-0.5 * edge**2) / np.sqrt(2 * pi)
        first = mean * ndtr(edge) + safe * density
        second = (mean**2 + safe**2) * ndtr(edge) + mean * safe * density
        spread = np.sqrt(np.maximum(second - first**2, 0.0))
        known = deviation > 0
        return np.where(known, first, np.maximum(mean, 0.0)), np.where(known, spread, 0.0)


@final
@dataclass(frozen=True)
class PublishedError(_Normal):
    """The programming error of a published technology.

    Attributes:
        fit: A name of `FITS`, where each one's source and range stand.

    Example:
        >>> target = np.array([25e-6])
        >>> mean, deviation = PublishedError("pcm").moments(target, 0.0, 25e-6)
        >>> round(float(deviation[0]) * 1e6, 4)  # microsiemens
        1.0554
    """

    fit: str = "pcm"

    def __post_init__(self) -> None:
        settle(self, fit=OneOf(*FITS))

    def __str__(self) -> str:
        return FITS[self.fit].source

    def _law(self, target: FloatArray, g_max: float) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        fit = FITS[self.fit]
        _refuse_outside(target, fit.valid[0] * MICRO, fit.valid[1] * MICRO, f"the fit {self.fit!r}")
        unit, scale = (g_max, g_max / fit.scale) if fit.unit is None else (fit.unit, MICRO)
        deviation = scale * fit.law(target / unit)
        slope = scale / unit * fit.law.deriv()(target / unit)
        return target, np.maximum(deviation, 0.0), np.ones_like(target), np.where(deviation > 0, slope, 0.0)


@final
@dataclass(frozen=True)
class MeasuredProgramming(_Normal):
    """A programming error that was measured at some targets: mean and deviation, linear in between.

    Attributes:
        target: (points,) siemens, ascending.
        mean: (points,) siemens.
        std: (points,) siemens.

    Raises:
        InvalidInputError: Fewer than two points, targets that do not ascend, negative or no numbers.
    """

    target: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        conductances = Many(Real("S", least=0), least=2)
        settle(self, target=conductances, mean=conductances, std=conductances)
        columns = {name: _column(getattr(self, name)) for name in ("target", "mean", "std")}
        count = len(columns["target"])
        if count < 2 or any(len(column) != count for column in columns.values()):
            raise InvalidInputError(
                "a measured programming error needs two points or more, with target, mean and std of each, got "
                f"{', '.join(f'{len(column)} of {name}' for name, column in columns.items())}"
            )
        if not (np.diff(columns["target"]) > 0).all():
            raise InvalidInputError(f"targets must ascend, each one once, got {columns['target']}; sort the table")
        for name, column in columns.items():
            object.__setattr__(self, name, column)

    @classmethod
    def from_csv(cls, path: str | Path) -> Self:
        """Read a table with the columns target_S, mean_S and std_S, or target_S and programmed_S for raw samples.

        Of raw samples, one row for each device that was programmed, mean and standard deviation are taken at each of
        the targets.

        Raises:
            InvalidInputError: The table lacks a column, or is no table of numbers.
        """
        rows = read_table(path, ("target_S", "mean_S", "std_S"), ("target_S", "programmed_S"))
        if "mean_S" in rows:
            order = np.argsort(rows["target_S"], kind="stable")
            return cls(*(tuple(rows[name][order].tolist()) for name in ("target_S", "mean_S", "std_S")))
        groups = {t: rows["programmed_S"][rows["target_S"] == t] for t in np.unique(rows["target_S"]).tolist()}
        few = [t for t, group in groups.items() if len(group) < 2]
        if few:
            raise InvalidInputError(f"{path}: two samples or more are needed at each target, got one at {few[0]:g} S")
        means = tuple(float(group.mean()) for group in groups.values())
        return cls(tuple(groups), means, tuple(float(group.std(ddof=1)) for group in groups.values()))

    def __str__(self) -> str:
        return f"measured at {len(self.target)} targets from {self.target[0]:g} to {self.target[-1]:g} S"

    def _law(self, target: FloatArray, g_max: float) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        _refuse_outside(target, self.target[0], self.target[-1], "the measured table")
        at = np.array(self.target)
        place = np.clip(np.searchsorted(at, target, side="right") - 1, 0, len(at) - 2)
        found: list[FloatArray] = []
        slopes: list[FloatArray] = []
        for values in (np.array(self.mean), np.array(self.std)):
            slope = (np.diff(values) / np.diff(at))[place]
            found.append(np.maximum(values[place] + slope * (target - at[place]), 0.0))
            slopes.append(slope)
        return found[0], found[1], slopes[0], slopes[1]


def programming_table(file: str) -> MeasuredProgramming:
    """`MeasuredProgramming.from_csv` under the name by which studies and the command line know it."""
    return MeasuredProgramming.from_csv(file)


@final
@dataclass(frozen=True)
class Levels(ProgrammingError):
    """Targets that are rounded to a finite set of conductances.

    The slope of a device is 1: rounding is passed straight through.

    Attributes:
        levels: Their number, evenly spaced from g_min to g_max, or the conductances themselves, siemens, ascending.
        rounding: To the "nearest" one, or to one of both neighbours at random, such that the mean is the target
            ("stochastic").
    """

    levels: int | tuple[float, ...] = 16
    rounding: Literal["nearest", "stochastic"] = "nearest"

    def __post_init__(self) -> None:
        settle(self, levels=Either(Whole(2, 10**6), Many(Real("S", least=0), least=2)))
        if not isinstance(self.levels, int):
            levels = _column(self.levels)
            if len(levels) < 2 or not (np.diff(levels) > 0).all():
                raise InvalidInputError(f"levels must be two conductances or more that ascend, got {levels}")
            object.__setattr__(self, "levels", levels)

    @property
    def random(self) -> bool:
        return self.rounding == "stochastic"

    def program(self, target: FloatArray, g_min: float, g_max: float, rng: np.random.Generator | None) -> Programmed:
        at = np.linspace(g_min, g_max, self.levels) if isinstance(self.levels, int) else np.array(self.levels)
        lower = np.clip(np.searchsorted(at, target, side="right") - 1, 0, len(at) - 2)
        part = np.clip((target - at[lower]) / (at[lower + 1] - at[lower]), 0.0, 1.0)
        lot = _generator(self, rng).random(target.shape) if self.random else 0.5
        return Programmed(at[lower + (part > lot if self.random else part >= lot)], np.ones_like(target))

    def moments(self, target: FloatArray, g_min: float, g_max: float) -> tuple[FloatArray, FloatArray]:
        if not self.random:
            return self.program(target, g_min, g_max, None).conductance, np.zeros_like(target)
        at = np.linspace(g_min, g_max, self.levels) if isinstance(self.levels, int) else np.array(self.levels)
        lower = np.clip(np.searchsorted(at, target, side="right") - 1, 0, len(at) - 2)
        width = at[lower + 1] - at[lower]
        part = np.clip((target - at[lower]) / width, 0.0, 1.0)
        return at[lower] + part * width, width * np.sqrt(part * (1 - part))


@final
@dataclass(frozen=True)
class Stuck(ProgrammingError):
    """Devices that do not follow their targets, one by one or with a whole line.

    Attributes:
        on: Probability that a device is stuck at g_max.
        off: Probability that a device is stuck at g_min.
        word_lines: Probability that all devices of a word line of the matrix conduct nothing.
        bit_lines: The same of a bit line.
    """

    on: float = 0.0
    off: float = 0.0
    word_lines: float = 0.0
    bit_lines: float = 0.0

    def __post_init__(self) -> None:
        settle(self, on=PART, off=PART, word_lines=PART, bit_lines=PART)
        if self.on + self.off > 1:
            raise InvalidInputError(f"on and off must add up to at most 1, got {self.on} and {self.off}")

    @property
    def random(self) -> bool:
        return max(self.on, self.off, self.word_lines, self.bit_lines) > 0

    def without(self, part: Literal["error", "stuck devices"]) -> ProgrammingError:
        return Stuck() if part == "stuck devices" else self

    def program(self, target: FloatArray, g_min: float, g_max: float, rng: np.random.Generator | None) -> Programmed:
        if not self.random:
            return Programmed.as_meant(target)
        generator = _generator(self, rng)
        lot = generator.random(target.shape)
        rows = generator.random((*target.shape[:-1], 1)) < self.word_lines
        cols = generator.random((*target.shape[:-2], 1, target.shape[-1])) < self.bit_lines
        on, off, dead = lot < self.on, lot >= 1 - self.off, np.broadcast_to(rows | cols, target.shape)
        conductance = np.where(dead, 0.0, np.where(on, g_max, np.where(off, g_min, target)))
        return Programmed(conductance, np.where(on | off | dead, 0.0, 1.0))

    def moments(self, target: FloatArray, g_min: float, g_max: float) -> tuple[FloatArray, FloatArray]:
        alive = (1 - self.word_lines) * (1 - self.bit_lines)
        free = 1 - self.on - self.off
        first = alive * (free * target + self.on * g_max + self.off * g_min)
        second = alive * (free * target**2 + self.on * g_max**2 + self.off * g_min**2)
        return first, np.sqrt(np.maximum(second - first**2, 0.0))


@final
@dataclass(frozen=True)
class Correlated(ProgrammingError):
    """A relative error that neighbouring devices share, as gradients over a wafer or a written block make it.

    Factors are 1 + sigma x, cut at 0, where x is normal with the correlation exp(-d^2 / (2 length^2)) between devices
    of one kind at a distance of d cells of the matrix.

    Attributes:
        sigma: Relative standard deviation.
        length: Of the correlation, in cells.
    """

    sigma: float
    length: float

    def __post_init__(self) -> None:
        settle(self, sigma=DEVIATION, length=Real("cells", above=0))

    @property
    def random(self) -> bool:
        return self.sigma > 0

    def program(self, target: FloatArray, g_min: float, g_max: float, rng: np.random.Generator | None) -> Programmed:
        if not self.random:
            return Programmed.as_meant(target)
        x = _generator(self, rng).standard_normal(target.shape)
        for axis in (-2, -1):  # the root of a correlation that is a product of one for the rows and one for the columns
            x = np.moveaxis(np.tensordot(_root(x.shape[axis], self.length), x, axes=([1], [x.ndim + axis])), 0, axis)
        factor = np.maximum(1 + self.sigma * x, 0.0)
        return Programmed(target * factor, factor)

    def moments(self, target: FloatArray, g_min: float, g_max: float) -> tuple[FloatArray, FloatArray]:
        from xbar_spice.hardware.variation import Variation  # noqa: PLC0415 - the same one by one

        return Variation(self.sigma).moments(target, g_min, g_max)


@final
@dataclass(frozen=True)
class InTurn(ProgrammingError):
    """Several effects, each on what the one before left; each draws from a stream of its own.

    Attributes:
        effects: Such as (Levels(16), PublishedError("hfox_milo"), "stuck(off=0.002)"); texts become what they name.
    """

    effects: tuple[ProgrammingError, ...]

    def __post_init__(self) -> None:
        if isinstance(self.effects, tuple | list):
            get = PROGRAMMING_ERRORS.given
            found = tuple(get("effects", one) if isinstance(one, str) else one for one in self.effects)
            object.__setattr__(self, "effects", found)
        settle(self, effects=Many(Instance(ProgrammingError, example="Levels(16)")))

    @property
    def random(self) -> bool:
        return any(effect.random for effect in self.effects)

    def __str__(self) -> str:
        return ", then ".join(map(str, self.effects)) or "none"

    def without(self, part: Literal["error", "stuck devices"]) -> ProgrammingError:
        return InTurn(tuple(effect.without(part) for effect in self.effects))

    def program(self, target: FloatArray, g_min: float, g_max: float, rng: np.random.Generator | None) -> Programmed:
        streams = [None] * len(self.effects) if rng is None else rng.spawn(len(self.effects))
        conductance, slope = target, np.ones_like(target)
        for effect, stream in zip(self.effects, streams, strict=True):
            after = effect.program(conductance, g_min, g_max, stream)
            conductance, slope = after.conductance, slope * after.slope
        return Programmed(conductance, slope)


def _generator(effect: ProgrammingError, rng: np.random.Generator | None) -> np.random.Generator:
    if rng is None:
        raise InvalidInputError(
            f"{effect!r} draws random numbers: pass rng=numpy.random.default_rng(seed), got no generator"
        )
    return rng


def _column(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(map(float, values))


def _refuse_outside(target: FloatArray, least: float, most: float, what: str) -> None:
    margin = 1e-9 * most if np.isfinite(most) else 0.0
    outside = target[(target < least - margin) | (target > most + margin)]
    if outside.size:
        raise InvalidInputError(
            f"{what} is known for targets from {least:g} to {most:g} S, got {outside.flat[0]:g} S; set g_min and g_max "
            "of the design within this range"
        )


def _root(count: int, length: float) -> FloatArray:
    """The symmetric root of the correlation matrix along one axis."""
    distance = np.subtract.outer(np.arange(count), np.arange(count))
    values, vectors = np.linalg.eigh(np.exp(-0.5 * (distance / length) ** 2))
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)
