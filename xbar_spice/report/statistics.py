"""What chips that differ have in common: medians with bootstrap intervals, paired ratios, and where a bound is passed.

Chips are resampled as a whole: a chip that is drawn twice counts twice at every point of a study, because the same seed
is the same chip on all axes (Efron and Tibshirani, An Introduction to the Bootstrap, 1993). The draws are those of a
fixed stream, so that the same results give the same page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from xbar_spice.linear.operator import FloatArray

__all__ = ["ENOUGH", "NOTHING", "Estimate", "bootstrap", "crossing", "estimates", "medians", "quantile", "slope"]

ENOUGH = 8
"""Chips below which a number is said to rest on few."""

NOTHING = 1e-12
"""An error below this is rounding: it has no law, and stretches no axis."""

_DRAWS = 400
_LAW = 3  # sizes that make a law
_LEVEL = 0.95
_BLOCK = 400_000  # numbers that are sorted at once


@final
@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes:
        value: The estimate.
        low: Lower end of the interval, which holds 95 % of what resampled chips give; the value itself of one chip.
        high: Upper end.
        chips: How many it is from.
    """

    value: float
    low: float
    high: float
    chips: int


def quantile(values: FloatArray, part: float) -> FloatArray:
    """Quantile along the last axis, by linear interpolation; NaN is left out, infinity counts.

    Example:
        >>> quantile(np.array([[1.0, 2.0, np.nan], [np.nan, np.nan, np.nan]]), 0.5).tolist()
        [1.5, nan]
    """
    ordered = np.sort(values, axis=-1)  # NaN last
    last = np.count_nonzero(~np.isnan(values), axis=-1) - 1
    place = part * np.maximum(last, 0)
    low, high = np.floor(place).astype(int), np.ceil(place).astype(int)
    below, above = (np.take_along_axis(ordered, k[..., np.newaxis], axis=-1)[..., 0] for k in (low, high))
    with np.errstate(invalid="ignore"):  # of infinity less infinity
        between = below + (place - low) * (above - below)
    return np.where(last < 0, np.nan, np.where(above == below, below, between))


def medians(values: FloatArray) -> FloatArray:
    """Medians along the last axis, (points,) of (points, chips); NaN is left out."""
    return quantile(values, 0.5)


def bootstrap(values: FloatArray, draws: int = _DRAWS) -> FloatArray:
    """(points, draws) medians of resampled chips; the same chips for all points. One chip leaves nothing to draw.

    Args:
        values: (points, chips); NaN where a chip has no value.
        draws: How often chips are drawn.
    """
    points, chips = values.shape
    if chips == 1:
        return values
    chosen = np.random.default_rng(0).integers(chips, size=(draws, chips))
    block = max(1, _BLOCK // chosen.size)
    parts = [medians(values[start : start + block][:, chosen]) for start in range(0, points, block)]
    return np.concatenate(parts) if parts else np.zeros((0, draws))


def estimates(values: FloatArray) -> list[Estimate]:
    """The median of each point over its chips, with its interval.

    Args:
        values: (points, chips); NaN where a chip has no value.
    """
    low, high = _ends(bootstrap(values))
    chips = np.count_nonzero(~np.isnan(values), axis=1)
    rows = zip(medians(values), low, high, chips, strict=True)
    return [Estimate(float(value), float(low), float(high), int(count)) for value, low, high, count in rows]


def _ends(drawn: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Lower and upper end of the interval along the last axis."""
    return quantile(drawn, (1 - _LEVEL) / 2), quantile(drawn, (1 + _LEVEL) / 2)


def crossing(sizes: FloatArray, errors: FloatArray, bound: float) -> Estimate:
    """The largest size at which the median error keeps a bound, as all smaller ones do, with its interval.

    Between two sizes it is interpolated, logarithmically where all numbers are positive. It is 0 if the smallest size
    passes the bound, and infinite if none does.

    Args:
        sizes: (sizes,) in ascending order.
        errors: (sizes, chips); NaN where a chip has no value, infinite where it did not converge.
        bound: Of the error.

    Example:
        >>> found = crossing(np.array([8.0, 16.0, 32.0]), np.array([[0.01], [0.04], [0.16]]), 0.08)
        >>> round(found.value, 3)
        22.627
    """
    errors = _known_chips(errors)
    value = _crossings(sizes, medians(errors)[:, np.newaxis], bound)[0]
    low, high = _ends(_crossings(sizes, bootstrap(errors), bound))
    chips = int(np.count_nonzero(~np.isnan(errors), axis=1).min())
    return Estimate(float(value), float(low), float(high), chips)


def _known_chips(errors: FloatArray) -> FloatArray:
    """The chips that have any value; one chip without any if none has."""
    known = ~np.isnan(errors).all(axis=0)
    return errors[:, known] if known.any() else errors[:, :1]


def slope(sizes: FloatArray, errors: FloatArray) -> Estimate:
    """Exponent p of error ~ size^p, by least squares through the medians' logarithms, with its interval.

    Args:
        sizes: (sizes,), > 0.
        errors: (sizes, chips); NaN where a chip has no value.

    Example:
        >>> round(slope(np.array([8.0, 16.0, 32.0]), np.array([[1.0], [4.0], [16.0]])).value, 6)
        2.0
    """
    errors = _known_chips(errors)
    drawn = np.concatenate([medians(errors)[:, np.newaxis], bootstrap(errors)], axis=1)
    known = np.isfinite(drawn).all(axis=1) & (drawn > NOTHING).all(axis=1)
    chips = int(np.count_nonzero(~np.isnan(errors), axis=1).min())
    if np.count_nonzero(known) < _LAW:
        return Estimate(np.nan, np.nan, np.nan, chips)
    value, *found = np.polyfit(np.log(sizes[known]), np.log(drawn[known]), 1)[0]
    low, high = _ends(np.array(found))
    return Estimate(float(value), float(low), float(high), chips)


def _crossings(sizes: FloatArray, errors: FloatArray, bound: float) -> FloatArray:
    """(draws,) of (sizes, draws); what is unknown passes the bound."""
    passed = ~(errors <= bound)
    first = np.where(passed.any(axis=0), passed.argmax(axis=0), len(sizes))
    inside = (first > 0) & (first < len(sizes))
    found = np.where(first == 0, 0.0, np.inf)
    draws = np.flatnonzero(inside)
    right, left = first[draws], first[draws] - 1
    low, high = errors[left, draws], errors[right, draws]
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(low > 0, np.log(bound / low) / np.log(high / low), (bound - low) / (high - low))
        part = np.where(np.isfinite(high), part, 0.0)
        if sizes[0] > 0:
            found[draws] = sizes[left] * (sizes[right] / sizes[left]) ** part
        else:
            found[draws] = sizes[left] + part * (sizes[right] - sizes[left])
    return found
