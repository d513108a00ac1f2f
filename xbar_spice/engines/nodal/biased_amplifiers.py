"""Terminals with amplifiers that saturate: a voltage e for each on top of what its small currents explain.

An amplifier holds its line at v(I) above its level, with I the current into it. Its resistance R at small currents is
part of the terminal, so that e = v(I) - R I is left, a source that depends on the array. Newton's method for all ends,

    r = e - (v(I) - R I),    dI/de = -Y,    (1 + s Y) d = -r,    s = dv/dI - R,

takes Y, the conductances between these ends of the linearised array. With amplifiers and cells whose current rises with
their voltage there is one solution.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol, TypeVar, final

import numpy as np

from xbar_spice.errors import ConvergenceError
from xbar_spice.hardware.biases import End
from xbar_spice.hardware.crossbar import Edge
from xbar_spice.linear.operator import FloatArray

__all__ = ["saturates", "settle"]

ITERATIONS = 80
HALVINGS = 30
STEADY = 1e-13  # of the largest voltage: what is left below is rounding
S = TypeVar("S", bound="Flowing")


class Flowing(Protocol):
    """A state of an array."""

    def at_ends(self) -> dict[Edge, FloatArray]:
        """(lines, batch) amperes into the terminals of every edge."""


def saturates(ends: Mapping[Edge, End]) -> bool:
    """Whether there is an amplifier that does not answer in proportion to its current."""
    return any(end.amplifier and not end.amplifier.linear for end in ends.values())


def settle(
    ends: Mapping[Edge, End],
    solve: Callable[[Mapping[Edge, End]], S],
    conductances: Callable[[S, Callable[[FloatArray], Mapping[Edge, End]]], FloatArray],
) -> S:
    """The state of an array at one set of voltages.

    Args:
        ends: what stands at every edge.
        solve: the state with sources in the place of amplifiers.
        conductances: (amplifiers, amplifiers) siemens, dI/de of the array as it is in a state, from the ends for given
            e, (amplifiers, batch), with all other volts at 0.

    Raises:
        ConvergenceError: Newton's method did not find the state.
    """
    inputs = _Inputs(ends)
    volts = np.zeros(inputs.count)
    state = solve(inputs.raised(volts))
    residual, slopes = inputs.missed(state, volts)
    for _ in range(ITERATIONS):
        size = float(np.abs(residual).max())
        limit = STEADY * (inputs.span + float(np.abs(volts).max()))
        newton = np.eye(inputs.count) - slopes[:, np.newaxis] * conductances(state, inputs.alone)
        step, length = -np.linalg.solve(newton, residual), 1.0
        for _ in range(HALVINGS):
            tried = volts + length * step
            after = solve(inputs.raised(tried))
            missed, turned = inputs.missed(after, tried)
            if float(np.abs(missed).max()) < (1 - 1e-4 * length) * size:
                break
            if size <= limit:
                return state
            length *= 0.5
        else:
            break
        volts, state, residual, slopes = tried, after, missed, turned
        if not residual.any():
            return state
    raise ConvergenceError(
        "the amplifiers at the ends did not settle; try lower voltages, a smaller gain, or engine='ngspice'"
    )


@final
class _Inputs:
    """The inputs of all amplifiers of an array, edge after edge."""

    def __init__(self, ends: Mapping[Edge, End]) -> None:
        self._ends = ends
        self._lines = {edge: np.flatnonzero(end.connected) for edge, end in ends.items() if end.amplifier}
        self.count = sum(lines.size for lines in self._lines.values())
        self.span = max(float(np.abs(end.volts).max(initial=0.0)) for end in ends.values())

    def raised(self, volts: FloatArray) -> dict[Edge, End]:
        """The ends with (amplifiers,) volts added."""
        return self._added(self._ends, volts[:, np.newaxis])

    def alone(self, volts: FloatArray) -> dict[Edge, End]:
        """The ends with (amplifiers, batch) volts, and 0 V elsewhere."""
        silent = {
            edge: replace(end, volts=np.zeros((end.connected.size, volts.shape[1]))) for edge, end in self._ends.items()
        }
        return self._added(silent, volts)

    def _added(self, ends: Mapping[Edge, End], volts: FloatArray) -> dict[Edge, End]:
        found, first = dict(ends), 0
        for edge, lines in self._lines.items():
            there = ends[edge].volts.copy()
            there[lines] += volts[first : first + lines.size]
            found[edge], first = replace(ends[edge], volts=there), first + lines.size
        return found

    def flowing(self, state: Flowing) -> FloatArray:
        """(amplifiers, batch) amperes into the inputs."""
        at_ends = state.at_ends()
        return np.concatenate([at_ends[edge][lines] for edge, lines in self._lines.items()])

    def missed(self, state: Flowing, volts: FloatArray) -> tuple[FloatArray, FloatArray]:
        """R and s."""
        amplifier = next(end.amplifier for end in self._ends.values() if end.amplifier)
        amperes = self.flowing(state)[:, 0]
        wanted = amplifier.input_voltage(amperes) - amplifier.input_resistance * amperes
        return volts - wanted, amplifier.r_feedback * (amplifier.returned_share - amplifier.returned_slope(amperes))
