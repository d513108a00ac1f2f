"""Whether an adaptive method chose its steps by the noise of products, which no shorter step cures."""

from __future__ import annotations

import numpy as np

from xbar_spice.linear.norms import norms
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.integrators.method import ForwardRun
from xbar_spice.solve.integrators.step_control import AdaptiveOptions

__all__ = ["noise_of", "said_of_noise"]

_DRAWS = 8
_LARGEST = 0.3  # noise that is advised
_DOMINATED = 0.3  # part of the error allowed in a step from which on noise, not smoothness, says how long a step is


def noise_of(field: Field, z: FloatArray) -> FloatArray:
    """Deviation of each entry of f(z) from read to read, (n, batch), as it is expected: no array is read.

    Args:
        field: f.
        z: (n, batch), finite.
    """
    twins: list[Field] = []
    for rng in (None, np.random.default_rng(0)):
        found = {name: one.noisy_twin(rng) for name, one in field.operators.items()}
        standing = {name: twin for name, twin in found.items() if twin is not None}
        if not standing:  # every matrix is digital
            return np.zeros_like(z)
        twins.append(field.replaced(standing))
    clean, drawn = twins
    value = clean.evaluate(z).value
    return np.asarray(np.sqrt(np.mean([(drawn.evaluate(z).value - value) ** 2 for _ in range(_DRAWS)], axis=0)))


def said_of_noise(run: ForwardRun, options: AdaptiveOptions, weight: float) -> str:
    """What to say of a run whose steps are as short as noise makes them; nothing of others.

    Args:
        run: By an adaptive method.
        options: How it chose its steps.
        weight: Norm of the weights of the error estimate: noise eta of f makes an error of h weight eta in a step.
    """
    z = run.z[-1]
    seen = np.isfinite(z).all(axis=0)
    steps = [taken for step in run.substeps for taken in step]
    if options.noise or not seen.any() or not steps:
        return ""
    ends = [noise_of(run.field, np.where(seen, one, 0.0)) for one in (run.z[0], z)]
    eta = np.sqrt(0.5 * (ends[0] ** 2 + ends[1] ** 2))
    if not eta.any():
        return ""
    at = [(taken.stages[0].z, taken.h * weight * eta[:, taken.samples]) for taken in steps]
    part = float(np.median(np.concatenate([options.error(error, before, before) for before, error in at])))
    if part < _DOMINATED:
        return ""
    size = np.maximum(norms(z[:, seen]), np.finfo(float).tiny)
    floor = float(np.median(abs(run.grid.h) * norms(eta[:, seen]) / size))
    spent = np.median(run.report.evaluations.sum(axis=0))
    return (
        f"it chose its steps by the noise of reads, which makes {part:.0%} of the error that rtol = {options.rtol:g} "
        f"allows in a step, and took {spent:.0f} evaluations of f for a sample; no shorter step cures noise, and more "
        f"reads only average it: give adaptive=AdaptiveOptions(noise={min(floor, _LARGEST):.1e}), or a tolerance above "
        "the noise"
    )
