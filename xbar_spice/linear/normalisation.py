"""Normalisation over groups of channels: each sample less its mean and over its deviation, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray

__all__ = ["Normal", "by_channel", "normalised"]


@final
@dataclass(frozen=True, slots=True)
class Normal:
    """What was normalised, and what its derivative needs.

    Attributes:
        value: (numbers, batch) x less the mean of its group and sample, over the deviation; x itself without groups.
        deviation: (groups, batch); none without groups.
    """

    value: FloatArray
    deviation: FloatArray

    def pull(self, cotangent: FloatArray) -> FloatArray:
        """The cotangent of x from that of the value, (numbers, batch); the derivative is symmetric."""
        groups = len(self.deviation)
        if not groups:
            return cotangent
        normal, w = (part.reshape(groups, -1, part.shape[1]) for part in (self.value, cotangent))
        along = (w * normal).mean(axis=1, keepdims=True)
        found = (w - w.mean(axis=1, keepdims=True) - normal * along) / self.deviation[:, np.newaxis]
        return np.asarray(found.reshape(cotangent.shape))


def normalised(x: FloatArray, groups: int | None, epsilon: float) -> Normal:
    """Normalise numbers, (numbers, batch), channel by channel, over groups of channels; as they are with no groups."""
    if groups is None:
        return Normal(x, np.zeros((0, x.shape[1])))
    parts = x.reshape(groups, -1, x.shape[1])
    deviation = np.sqrt(parts.var(axis=1, keepdims=True) + epsilon)
    value = (parts - parts.mean(axis=1, keepdims=True)) / deviation
    return Normal(np.asarray(value.reshape(x.shape)), deviation[:, 0])


def by_channel(name: str, x: FloatArray, channels: int) -> FloatArray:
    """(channels, pixels, batch) of numbers, (channels pixels, batch).

    Raises:
        InvalidInputError: The channels do not make up as many numbers.
    """
    if len(x) % channels:
        raise InvalidInputError(
            f"{name}: {channels} channels do not make up {len(x)} numbers; a normalisation has one number a channel"
        )
    return x.reshape(channels, -1, x.shape[1])
