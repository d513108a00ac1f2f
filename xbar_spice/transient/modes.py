"""The relaxation modes of a network that a drive excites.

With s(t) the shape of the pulse, the inner nodes obey

    C dv/dt + G v = f s + g ds/dt,

where f are the currents that the sources send in through conductances, and g the charges through capacitances. Modes x
with C x = tau G x and x' G x = 1 decouple it. G is positive definite, so nodes without capacitance are modes of tau = 0
and need no special case.

The modes are found in the Krylov space of G^-1 C that the drive spans: beginning with the final state, each vector
costs one solution with the sparse factor of G. Slow modes come out first. The space grows until what it leaves of the
equation is small; for a small array it ends by itself, and then holds every mode that the drive excites.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from scipy.sparse import csc_array
from scipy.sparse.linalg import splu

from xbar_spice.errors import ConvergenceError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.transient.network import Network
from xbar_spice.transient.shape import edge_lag_rate

__all__ = ["Modes", "excited_modes"]

VECTORS_PER_CHECK = 8
MOST_VECTORS = 480
WITHIN = 1e-11  # what is left of a vector that lies in the space but for rounding
INSTANT = 1e-13  # of the slowest time constant: nodes without capacitance, but for rounding
EARLIEST = 0.01  # of the slowest time constant: from then on the tolerance holds


@final
@dataclass(frozen=True, eq=False)
class Modes:
    """What a drive excites.

    Attributes:
        settled: (inner,) volts of the final state.
        times: (modes,) time constants tau in seconds, rising.
        shapes: (inner, modes) the modes x.
        lags: (modes,) h = x' (f - g / tau): by h l(t) mode k falls behind the drive.
    """

    settled: FloatArray
    times: FloatArray
    shapes: FloatArray
    lags: FloatArray


def excited_modes(network: Network, volts: FloatArray, rise: float, tolerance: float = 1e-8) -> Modes:
    """The modes that these voltages at the sources excite.

    Args:
        network: the array.
        volts: (sources,) volts at full drive.
        rise: seconds of the edges.
        tolerance: error of the voltages relative to those of the settled read, both in the norm v' G v, from a
            hundredth of the slowest time constant after an edge on. Earlier, the fastest modes are taken together.

    Raises:
        ConvergenceError: the space grew too large.
    """
    inner = network.inner
    conductance, capacitance = network.conductance.tocsc(), network.capacitance.tocsc()
    f = -np.asarray(conductance[:inner, inner:] @ volts)
    g = -np.asarray(capacitance[:inner, inner:] @ volts)
    if not (f.any() or g.any()):
        return Modes(np.zeros(inner), np.zeros(0), np.zeros((inner, 0)), np.zeros(0))
    space = _Space(conductance[:inner, :inner], capacitance[:inner, :inner])
    settled = space.begin(f)
    if g.any():
        space.begin(g)
    while space.grow():
        if space.size % VECTORS_PER_CHECK == 0 and space.left_over(f, g, rise) <= tolerance * np.sqrt(f @ settled):
            break
        if space.size == MOST_VECTORS:
            raise ConvergenceError(
                f"the modes of this array do not converge with {MOST_VECTORS} vectors; try a longer rise, which "
                "excites fewer of them, or engine='ngspice'"
            )
    times, turn, _, lags = space.decoupled(f, g)
    return Modes(settled, times, (turn.T @ space.basis).T, lags)


@final
class _Space:
    """A Krylov space of G^-1 C, with a basis that is orthonormal in the product v' G w."""

    def __init__(self, conductance: csc_array[Any], capacitance: csc_array[Any]) -> None:
        self._G, self._C = conductance, capacitance
        # Symmetric positive definite: diagonal pivots are stable, and keep the fill low.
        options = {"SymmetricMode": True}
        self._factor = splu(conductance, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
        self._vectors = np.empty((4 * VECTORS_PER_CHECK, conductance.shape[0]))  # with room for more
        self._projected = np.zeros((0, 0))  # basis C basis'
        self._waiting: deque[tuple[FloatArray, int]] = deque()  # and of which member of the basis each is the image
        self.size = 0

    @property
    def basis(self) -> FloatArray:
        """(size, inner), volts per square root of a watt."""
        return self._vectors[: self.size]

    def begin(self, current: FloatArray) -> FloatArray:
        """Let the space hold G^-1 of this current, and return that."""
        volts = np.asarray(self._factor.solve(current))
        self._waiting.append((volts, -1))
        return volts

    def grow(self) -> bool:
        """Add one more vector, if there is one that the space does not hold yet."""
        while self._waiting:
            vector, _ = self._waiting.popleft()
            rest, length = self._outside(vector)
            if length == 0.0:
                continue
            if self.size == len(self._vectors):
                self._vectors = np.concatenate([self._vectors, np.empty_like(self._vectors)])
            self._vectors[self.size] = rest / length
            self.size += 1
            charge = self._C @ self.basis[-1]
            overlap = self.basis @ charge
            self._projected = np.block([[self._projected, overlap[:-1, np.newaxis]], [overlap[np.newaxis]]])
            self._waiting.append((self._factor.solve(charge), self.size - 1))
            return True
        return False

    def decoupled(self, f: FloatArray, g: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Time constants, the turn (size, modes) from basis to modes, x' f, and lags h of the modes that take time."""
        times, turn = np.linalg.eigh(self._projected)
        slow = times > INSTANT * times[-1]
        times, turn = times[slow], turn[:, slow]
        sent = turn.T @ (self.basis @ f)
        return times, turn, sent, sent - turn.T @ (self.basis @ g) / times

    def left_over(self, f: FloatArray, g: FloatArray, rise: float) -> float:
        """The largest part of the equation that the space leaves after an edge, in the norm of currents i' G^-1 i."""
        times, turn, sent, lags = self.decoupled(f, g)
        if not times.size or min(origin for _, origin in self._waiting) < 0:
            return 0.0 if not times.size else np.inf
        since = times[-1] * np.geomspace(EARLIEST, 40.0, 80)
        t = np.concatenate([since[since < rise], rise + since])
        rates = np.where(t < rise, 1.0 / (rise or 1.0), 0.0) * sent[:, np.newaxis]
        rates -= lags[:, np.newaxis] * edge_lag_rate(t, times, rise)
        # C v' + G v - f s - g s' is what lies outside the space of G^-1 C times each v'.
        total = np.zeros_like(t)
        for vector, origin in self._waiting:
            total += self._outside(vector)[1] * np.abs(turn[origin] @ rates)
        return float(total.max())

    def _outside(self, vector: FloatArray) -> tuple[FloatArray, float]:
        """The part of a vector outside the space, and its length; 0 for one that lies in it but for rounding."""
        before = np.sqrt(vector @ (self._G @ vector))
        for _ in range(2):  # once more, because the first time leaves rounding errors of the size of the vector
            vector = vector - (self.basis @ (self._G @ vector)) @ self.basis
        length = np.sqrt(vector @ (self._G @ vector))
        return vector, float(length) if length > WITHIN * before else 0.0
