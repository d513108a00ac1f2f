"""A feedback array: op-amps and one programmed matrix that solve W x = b in one step.

Op-amp i holds the summing node of output i at 0 V and drives input i, so that the array itself closes the loop (Sun et
al., PNAS 116, 2019, 4123). With f = -b at conductances G0 as the input and D the sum of all conductances at each node,
Kirchhoff's law at the nodes reads for op-amps of gain a and lines without resistance

    (G + D / a) v = -G0 f,    x = (k / G0) v,    G = G+ - G- / (1 + 2 / a) = k W for large a,

the minus devices being driven through inverters. It settles if the eigenvalues of D^-1 G + 1/a have positive real parts
and the inverters are fast; `rates` has the inverters in it. For the systems I - c B D A of implicit steps W would have
to be programmed anew for every mask; `FeedbackLoop` is the circuit for those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xbar_spice.checks import Array, checked
from xbar_spice.engines.base import Closeable, Engine
from xbar_spice.errors import InvalidInputError
from xbar_spice.feedback.amplified import AmplifiedMatrix, Network
from xbar_spice.feedback.answer import choose_engine
from xbar_spice.feedback.deck import FeedbackDeck, Sheet, array_deck
from xbar_spice.feedback.opamp import OpAmp
from xbar_spice.feedback.stability import array_rates, require_stability
from xbar_spice.feedback.wiring import wire
from xbar_spice.linear.operator import FloatArray
from xbar_spice.mapping.matrix import MappedMatrix

__all__ = ["FeedbackSolver"]


@final
class FeedbackSolver(Closeable):
    """Solves W x = b, or W^T x = b, with a square matrix on arrays.

    Args:
        mapped: W, n x n.
        opamp: every op-amp.
        input_conductance: G0, siemens; that of a weight of 1 when left out.
        engine: "nodal", or "ngspice" for the deck itself; or a configured engine.
        transposed: whether the arrays are driven from their other side, for W^T.
        check_stability: whether the circuit is checked before it is used; needs linear cells.

    Raises:
        InvalidInputError: W is not square, a value is out of range, or the engine knows no circuits.

    Example:
        >>> from xbar_spice.mapping.matrix import map_weights
        >>> with FeedbackSolver(map_weights([[2.0, -1.0], [0.0, 1.0]]), opamp=OpAmp(1e9)) as solver:
        ...     solver.solve([3.0, 1.0]).round(6)
        array([2., 1.])
    """

    @checked()
    def __init__(
        self,
        mapped: MappedMatrix,
        *,
        opamp: OpAmp | None = None,
        input_conductance: float | None = None,
        engine: str | Engine = "nodal",
        transposed: bool = False,
        check_stability: bool = True,
    ) -> None:
        if mapped.shape[0] != mapped.shape[1]:
            raise InvalidInputError(f"a feedback array needs a square matrix, got {mapped.shape}")
        conductance = mapped.siemens_per_weight if input_conductance is None else float(input_conductance)
        if not 0 < conductance < np.inf:
            raise InvalidInputError(f"input_conductance must be finite and > 0 S, got {conductance}")
        self.mapped = mapped
        wiring = wire(mapped, "cols" if transposed else "rows")
        self._stage = AmplifiedMatrix(Network(wiring), opamp or OpAmp(), feedback=0.0, injection=conductance)
        self._check = check_stability
        self._circuits = choose_engine(engine)

    @cached_property
    def rates(self) -> NDArray[np.complex128]:
        """Rates at which the circuit settles, 1/s, one for each op-amp, slowest first; stable if all real parts > 0."""
        return array_rates(self._stage)

    def solve(self, b: ArrayLike) -> FloatArray:
        """Let the circuit settle.

        Args:
            b: (n,) or (n, batch), finite.

        Returns:
            x, of the shape of b.

        Raises:
            StabilityError: the circuit does not settle.
            InvalidInputError: b has another shape or is not finite.
            SimulationError: the simulator behind the engine failed.
        """
        given = Array(finite=False)("b", b)
        columns = given[:, np.newaxis] if given.ndim == 1 else given
        if columns.ndim != 2 or columns.shape[0] != self.mapped.shape[0] or not np.isfinite(columns).all():
            n = self.mapped.shape[0]
            raise InvalidInputError(f"b must be finite and of shape ({n},) or ({n}, batch), got {given.shape}")
        if self._check:
            require_stability(self.rates, "the feedback array", self._advice())
        volts = -columns * self.volts_per_unit(columns)
        if self._circuits.simulates:
            found = self._circuits.read("array", lambda: self._deck(volts[:, 0], Sheet("feedback array")), volts)
        else:
            found = self._held_by(volts)
        x = found * self.scale / self.volts_per_unit(columns)
        return x[:, 0] if given.ndim == 1 else x

    def deck(
        self,
        b: ArrayLike,
        *,
        title: str = "feedback array",
        comments: Mapping[str, object] | None = None,
        tran: tuple[float, float] | None = None,
        netlists: Sequence[Path] = (),
    ) -> FeedbackDeck:
        """The netlist of one solve, b (n,).

        Args:
            b: right-hand side.
            title: first line.
            comments: more to say at the head of the deck.
            tran: step and end in seconds, to see the circuit settle from 0 V.
            netlists: folders of the user's own templates, searched first.
        """
        column = Array()("b", b)[:, np.newaxis]
        volts = self.volts_per_unit(column)
        said = dict(comments or {}) | {
            "solves": "W x = b",
            "scale": f"{float(volts[0])!r} V per unit of b, {float(volts[0] / self.scale)!r} V per unit of x; "
            "the sources carry -b",
        }
        return self._deck(-(column * volts)[:, 0], Sheet(title, said, netlists, tran))

    def volts_per_unit(self, b: FloatArray) -> FloatArray:
        """(batch,) volts of a right-hand side of 1: its largest entry is at the read voltage."""
        largest = np.abs(b).max(axis=0)
        return self.mapped.design.v_read / np.where(largest > 0, largest, 1.0)

    def close(self) -> None:
        """End the simulator."""
        self._circuits.close()

    @property
    def scale(self) -> float:
        """Volts of x for a volt of b, k / G0."""
        return self.mapped.siemens_per_weight / self._stage.injection

    @cached_property
    def _system(self) -> FloatArray:
        """(nodes, op-amps) siemens: T + C + load / gain; the op-amps of the result drive the rails."""
        system = self._stage.held.copy()
        system[:, : self._stage.arrays.inputs] += self._stage.through
        return system

    def _held_by(self, volts: FloatArray) -> FloatArray:
        """(n, batch) volts of the op-amps for (n, batch) volts of the right-hand side."""
        injected = np.zeros((len(self._system), volts.shape[1]))  # nothing is injected where currents are inverted
        injected[: len(volts)] = -self._stage.injection * volts
        return np.asarray(np.linalg.solve(self._system, injected)[: len(volts)], dtype=float)

    def _deck(self, volts: FloatArray, sheet: Sheet) -> FeedbackDeck:
        return array_deck(self._stage, volts, sheet)

    def _advice(self) -> str:
        if (np.linalg.eigvals(self._stage.through[: self._stage.arrays.outputs]).real < 0).all():
            return "the eigenvalues of W are negative: solve -W x = -b instead"
        return "W needs eigenvalues with positive real parts"
