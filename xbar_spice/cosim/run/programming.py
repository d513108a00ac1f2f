"""A model written to its arrays: the devices of A and B, the scale of a chip, and the noise of its reads."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np

from xbar_spice.engines.base import Engine
from xbar_spice.engines.registry import get_engine
from xbar_spice.linear.operator import FloatArray
from xbar_spice.mapping.analog_matrix import AnalogMatrix, ReadTrace, program
from xbar_spice.mapping.design import Design
from xbar_spice.streams import Streams
from xbar_spice.weights import Model

__all__ = ["expected_noise", "program_model", "weight_scales"]


def program_model(
    model: Model,
    design: Design,
    engine: str | Engine,
    *,
    seed: int = 0,
    trace: ReadTrace | None = None,
    occasion: str = "",
) -> tuple[AnalogMatrix, AnalogMatrix]:
    """Program A and B; each draws its devices, and its read noise, from streams of its own, found by seed and name.

    Args:
        model: the weights; one with a `weight_range` is written to the chip that holds this range.
        design: how the arrays are built.
        engine: who answers the reads.
        seed: from which the devices are drawn.
        trace: collects a record of every read.
        occasion: one of several on which the same chip is written: its devices are the same on all of them, its read
            noise and what `Design.cycle` adds are others on each.
    """
    answering = get_engine(engine)
    scales, streams = weight_scales(model, design), Streams(seed)
    with ExitStack() as opened:
        programmed = [
            opened.enter_context(
                program(
                    W,
                    design,
                    engine=answering,
                    rng=streams.devices(name),
                    noise_rng=streams.read_noise(name, occasion),
                    name=name,
                    trace=trace,
                    siemens_per_weight=scales.get(name),
                    cycle_rng=streams.cycle(name, occasion),
                )
            )
            for name, W in (("A", model.A), ("B", model.B))
        ]
        opened.pop_all()
    return programmed[0], programmed[1]


def weight_scales(model: Model, design: Design) -> dict[str, float]:
    """Siemens per weight of "A" and "B" where the model says which weights its chip holds; empty where it does not."""
    if model.weight_range is None:
        return {}
    window = design.mapping.window(design.g_min, design.g_max)
    return {name: window / largest for name, largest in zip("AB", model.weight_range, strict=True)}


def expected_noise(model: Model, A: AnalogMatrix, B: AnalogMatrix, states: FloatArray) -> float:
    """What read noise and converters leave of the equation base + c f(z) - z = 0 of an implicit step.

    Args:
        model: the digital model, whose step length is taken for c.
        A: its programmed A.
        B: its programmed B.
        states: (steps + 1, n, samples) through which it goes.

    Returns:
        The largest root mean square of c f(z) over all states and samples, relative to |z|; 0 for exact reads.
    """
    if A.mapped.design.exact_reads and B.mapped.design.exact_reads:
        return 0.0
    z = np.concatenate(list(states), axis=1)
    z = z[:, np.isfinite(z).all(axis=0) & z.any(axis=0)]
    z = z / np.abs(z).max(axis=0)  # reads are scaled to `v_read`, so that the size of a state does not matter
    s = A.mapped.programmed @ z  # stuck devices make large products, and these large noise
    variance = B.spread(np.maximum(s, 0.0)) ** 2 + B.mapped.programmed**2 @ (A.spread(z) ** 2 * (s > 0))
    return float((model.h * np.sqrt(variance.sum(axis=0)) / np.linalg.norm(z, axis=0)).max(initial=0.0))
