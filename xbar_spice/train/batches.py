"""How much the gradient of a minibatch varies with the samples that are drawn for it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import ANYTHING, Array, Whole, checked, given
from xbar_spice.errors import InvalidInputError

__all__ = ["batch_variance"]


@checked(sample_gradients=ANYTHING, batch=Whole(1))
def batch_variance(sample_gradients: ArrayLike, batch: int, *, replacement: bool = False) -> float:
    """E |g_b - g|^2 of the mean gradient of a minibatch about that of all samples.

    With s^2 the mean of |g_i - g|^2 over the m samples it is s^2 / b with replacement, and (s^2 / b) (m - b) / (m - 1)
    without.

    Args:
        sample_gradients: (m, parameters), one row for each sample, such as those of `gradients(..., by="sample")`.
        batch: b; at most m without replacement.
        replacement: Whether a sample may come twice.

    Raises:
        InvalidInputError: The shapes do not belong together.

    Example:
        >>> batch_variance([[1.0], [3.0]], 2), batch_variance([[1.0], [3.0]], 2, replacement=True)
        (0.0, 0.5)
    """
    rows = Array()("sample_gradients", sample_gradients)
    if rows.ndim != 2 or not rows.size:
        raise InvalidInputError(f"sample_gradients must have shape (samples, parameters), got {given(rows)}")
    m = len(rows)
    if not replacement and batch > m:
        raise InvalidInputError(f"batch must be <= {m} samples, got {batch}; or replacement=True")
    spread = float(np.mean(np.sum((rows - rows.mean(axis=0)) ** 2, axis=1)))
    return spread / batch * (1.0 if replacement or m == 1 else (m - batch) / (m - 1))
