"""The arrays of A and B in a loop with op-amps: one settling of the circuit solves (I - c B D A) d = F.

           ┌─────────┐   ┌──────┐  s = -A d / |A|  ┌─────────┐   ┌─────────┐
    d ──┬─>│ array A │──>│ TIAs │─────────────────>│ gates D │──>│ array B │──┐ -k_B B D A d / |A|
        │  └─────────┘   └──────┘                  └─────────┘   └─────────┘  │
        │                   ┌─────────────────────────────┐                   │
        └───────────────────│ op-amps, G0 = k_B / (c |A|) │<──────────────────┴── -G0 F
                            └─────────────────────────────┘

At the summing nodes of the op-amps that hold d, Kirchhoff's law reads G0 d - c G0 B D A d - G0 F = 0. Nothing is
programmed but A and B, and a new mask only moves the gates. The transposed loop drives the same arrays from their
other side, B^T first: (I - c A^T D B^T) x = r. With ideal op-amps and gates the loop solves the system of the arrays'
own reads, whatever their wires; what is left is the gain of the op-amps and the resistance of the gates.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.checks import checked
from xbar_spice.engines.base import Closeable, Engine
from xbar_spice.engines.nodal.engine import NodalEngine
from xbar_spice.errors import InvalidInputError
from xbar_spice.feedback.amplified import AmplifiedMatrix, Network
from xbar_spice.feedback.answer import SolveRecord, choose_engine
from xbar_spice.feedback.deck import FeedbackDeck, Sheet, Slopes, loop_deck
from xbar_spice.feedback.opamp import OpAmp
from xbar_spice.feedback.stability import loop_rates, require_stability
from xbar_spice.feedback.wiring import wire
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.crossbar import Side
from xbar_spice.linear.operator import FloatArray
from xbar_spice.mapping.analog_matrix import AnalogMatrix
from xbar_spice.mapping.matrix import MappedMatrix
from xbar_spice.read_context import current_stage

__all__ = ["FeedbackLoop"]

Networks = tuple[Network, Network]
Pair = tuple[AmplifiedMatrix, AmplifiedMatrix]

PAIRS = 16  # step sizes whose amplifiers are kept
MASKS = 4096  # whose rates are kept; the iterations of a step and its adjoint ask for the same ones


@final
class FeedbackLoop(Closeable):
    """The linear solver "feedback" of Newton's method and of the adjoint.

    Args:
        A: programmed m x n matrix.
        B: programmed n x m matrix.
        opamp: every op-amp.
        r_switch: ohm of each gate.
        engine: "nodal", or "ngspice" for the deck itself; or a configured engine.
        check_stability: whether each loop is checked before it is used; needs linear cells.
        trace: gets a `SolveRecord` of every solve; needs linear cells.

    Raises:
        InvalidInputError: the shapes do not belong together, a value is out of range, or the engine knows no circuits.

    Example:
        >>> from xbar_spice.mapping.analog_matrix import program
        >>> with program([[2.0]]) as A, program([[-1.0]]) as B, FeedbackLoop(A, B, opamp=OpAmp(np.inf)) as loop:
        ...     loop.solve(np.array([[True, False]]), 0.5, np.array([[3.0, 3.0]])).round(3)  # (1 + 0.5 2 D) d = 3
        array([[1.5, 3. ]])
    """

    @checked()
    def __init__(
        self,
        A: AnalogMatrix,
        B: AnalogMatrix,
        *,
        opamp: OpAmp | None = None,
        r_switch: float = 100.0,
        engine: str | Engine = "nodal",
        check_stability: bool = True,
        trace: list[SolveRecord] | None = None,
    ) -> None:
        if A.shape != B.shape[::-1]:
            raise InvalidInputError(f"a loop needs A (m, n) and B (n, m), without a bias, got {A.shape} and {B.shape}")
        if not 0 <= r_switch < np.inf:
            raise InvalidInputError(f"r_switch must be finite and >= 0 ohm, got {r_switch}")
        self.A, self.B = A, B
        self.opamp = opamp or OpAmp()
        self.r_switch = float(r_switch)
        self.check_stability = check_stability
        self._trace = trace
        self._circuits = choose_engine(engine)
        self._pairs: dict[tuple[float, bool], Pair] = {}
        self._rates: dict[tuple[bool, float, bytes], NDArray[np.complex128]] = {}

    def solve(self, slopes: Slopes, c: float, rhs: FloatArray, *, transposed: bool = False) -> FloatArray:
        """Let the circuit settle for each sample.

        Args:
            slopes: D, (m, batch); bits are switches, other slopes multipliers.
            c: > 0.
            rhs: (n, batch).
            transposed: whether to solve (I - c A^T D B^T) x = rhs.

        Returns:
            (n, batch); NaN where the right-hand side is not finite.

        Raises:
            StabilityError: the loop of a sample does not settle.
            InvalidInputError: wrong shapes, or c <= 0.
            SimulationError: the simulator behind the engine failed.
        """
        n, m = self.B.shape
        if rhs.ndim != 2 or rhs.shape[0] != n or slopes.shape != (m, rhs.shape[1]):
            raise InvalidInputError(
                f"this loop takes slopes ({m}, batch) and right-hand sides ({n}, batch), got {slopes.shape} and "
                f"{rhs.shape}"
            )
        start = time.perf_counter()
        finite = np.flatnonzero(np.isfinite(rhs).all(axis=0))
        x = np.full(rhs.shape, np.nan)
        if finite.size:
            used, wanted = slopes[:, finite], rhs[:, finite]
            slowest = self._slowest(used, c, transposed) if self.check_stability else float("nan")
            x[:, finite] = self._settled(used, c, wanted, transposed)
            if self._trace is not None:
                seconds = time.perf_counter() - start
                self._trace.append(self._record(used, c, wanted, x[:, finite], transposed, slowest, seconds))
        return x

    def rates(self, slopes: Slopes, c: float, *, transposed: bool = False) -> NDArray[np.complex128]:
        """Rates at which the loop of one sample settles, slopes (m,): 1/s, one for each op-amp, slowest first.

        The loop is stable if all have a positive real part; it then needs ln(1/e) / rate to come within e.

        Raises:
            InvalidInputError: c <= 0, or nonlinear cells.
        """
        key = (transposed, float(c), np.asarray(slopes).tobytes())
        if key not in self._rates:
            if len(self._rates) >= MASKS:
                self._rates.clear()
            self._rates[key] = loop_rates(*self._pair(c, transposed), np.asarray(slopes, dtype=float))
        return self._rates[key]

    def deck(
        self,
        slopes: Slopes,
        c: float,
        rhs: FloatArray,
        *,
        transposed: bool = False,
        title: str = "feedback loop of two arrays",
        comments: Mapping[str, object] | None = None,
        tran: tuple[float, float] | None = None,
        netlists: Sequence[Path] = (),
    ) -> FeedbackDeck:
        """The netlist of one solve; its nodes carry `volts_per_unit` times the solution.

        Args:
            slopes: (m,).
            c: > 0.
            rhs: (n,).
            transposed: as for `solve`.
            title: first line.
            comments: more to say at the head of the deck.
            tran: step and end in seconds, to see the circuit settle from 0 V.
            netlists: folders of the user's own templates, searched first.
        """
        right = rhs[:, np.newaxis]
        matrix = "A^T D B^T" if transposed else "B D A"
        said = dict(comments or {}) | {
            "solves": f"(I - c {matrix}) d = F, c = {float(c)!r}",
            "scale": f"{float(self.volts_per_unit(right)[0])!r} V per unit of F and d; the sources carry -F",
        }
        volts = -(right * self.volts_per_unit(right))[:, 0]
        sheet = Sheet(title, said, netlists, tran)
        return loop_deck(self._pair(c, transposed), volts, slopes, sheet, transposed=transposed)

    def volts_per_unit(self, rhs: FloatArray) -> FloatArray:
        """(batch,) volts of a right-hand side of 1: its largest entry is at the read voltage of A."""
        largest = np.abs(rhs).max(axis=0)
        return self.A.mapped.design.v_read / np.where(largest > 0, largest, 1.0)

    def close(self) -> None:
        """End the simulators; the matrices stay open."""
        self._circuits.close()

    def _settled(self, slopes: Slopes, c: float, rhs: FloatArray, transposed: bool) -> FloatArray:
        scale = self.volts_per_unit(rhs)
        stages, volts = self._pair(c, transposed), -rhs * scale
        if self._circuits.simulates:
            switched = slopes.dtype == np.bool_
            key = (transposed, float(c), switched)

            def deck() -> FeedbackDeck:
                sheet = Sheet("feedback loop", netlists=self._circuits.netlists)
                return loop_deck(stages, volts[:, 0], slopes[:, 0], sheet, transposed=transposed)

            return self._circuits.read(key, deck, np.vstack([volts, slopes])) / scale
        return _solved(stages, slopes, volts) / scale

    def _pair(self, c: float, transposed: bool) -> Pair:
        """The two matrices with their amplifiers."""
        if not 0 < c < np.inf:
            raise InvalidInputError(f"c must be finite and > 0, for 1/c is a conductance of the loop, got {c}")
        key = (float(c), transposed)
        if key not in self._pairs:
            if len(self._pairs) >= PAIRS:
                self._pairs.clear()
            self._pairs[key] = self._connected(c, transposed)
        return self._pairs[key]

    def _connected(self, c: float, transposed: bool) -> Pair:
        one, two = self._networks[transposed]
        size = float(np.linalg.norm((self.B if transposed else self.A).weights, 2)) or 1.0
        held = two.wiring.siemens_per_weight / (c * size)
        first = AmplifiedMatrix(one, self.opamp, one.wiring.siemens_per_weight * size)
        return first, AmplifiedMatrix(two, self.opamp, held, injection=held)

    @cached_property
    def _networks(self) -> tuple[Networks, Networks]:
        """Of the forward and of the transposed loop."""
        A, B, ohm = self.A.mapped, self.B.mapped, self.r_switch
        forward = Network(wire(A, "rows")), Network(wire(B, "rows"), ohm)
        return forward, (Network(wire(B, "cols")), Network(wire(A, "cols"), ohm))

    @cached_property
    def _read_matrices(self) -> tuple[tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]:
        """What reads of the two matrices multiply by: A and B forwards, B^T and A^T from the other side."""
        A, B = self.A.mapped, self.B.mapped
        return (_read_matrix(A, "rows"), _read_matrix(B, "rows")), (_read_matrix(B, "cols"), _read_matrix(A, "cols"))

    def _slowest(self, slopes: Slopes, c: float, transposed: bool) -> float:
        """The slowest rate of all samples, 1/s."""
        slowest = np.inf
        for sample in range(slopes.shape[1]):
            rates = self.rates(slopes[:, sample], c, transposed=transposed)
            what = f"the {'transposed ' if transposed else ''}feedback loop of right-hand side {sample}, c = {c:g},"
            require_stability(rates, what, "take smaller time steps, or solve this system by gmres")
            slowest = min(slowest, float(rates[0].real))
        return slowest

    def _record(
        self,
        slopes: Slopes,
        c: float,
        rhs: FloatArray,
        x: FloatArray,
        transposed: bool,
        slowest: float,
        seconds: float,
    ) -> SolveRecord:
        weights = (self.B.weights.T, self.A.weights.T) if transposed else (self.A.weights, self.B.weights)
        of_reads, digital = (
            _solve_each(_systems(first, c * second, slopes), rhs)
            for first, second in (self._read_matrices[transposed], weights)
        )
        at = current_stage()
        return SolveRecord(
            phase=at.phase or "",
            step=at.step,
            newton=at.newton,
            krylov=at.krylov,
            direction="transposed" if transposed else "forward",
            batch=rhs.shape[1],
            error=_worst(x, of_reads),
            digital_error=_worst(x, digital),
            time_constant=1.0 / slowest,
            seconds=seconds,
        )


def _read_matrix(mapped: MappedMatrix, side: Side) -> FloatArray:
    """The matrix by which a read that drives this side multiplies, without amplifiers if there is none with them."""
    inputs = np.eye(mapped.shape[1] if side == "rows" else mapped.shape[0])
    linear = [array if array.amplifier.linear else replace(array, amplifier=Amplifier()) for array in mapped.crossbars]
    with NodalEngine().program_bank(linear) as bank:
        return mapped.products(bank.read(mapped.drives(inputs, side), side), inputs, side)


def _solved(stages: Pair, slopes: Slopes, volts: FloatArray) -> FloatArray:
    """The solution in volts: d = S2 D S1 d + K f, with what the stages make of their inputs."""
    (forth, _), (back, injected) = stages[0].amplified, stages[1].amplified
    return _solve_each(_systems(forth, back, slopes), injected @ volts)


def _systems(first: FloatArray, second: FloatArray, slopes: Slopes) -> FloatArray:
    """(batch, n, n) I - second D first."""
    return np.eye(len(second)) - (second * slopes.T[:, np.newaxis, :]) @ first


def _solve_each(systems: FloatArray, rhs: FloatArray) -> FloatArray:
    """The solution of each system for its column."""
    return np.asarray(np.linalg.solve(systems, rhs.T[:, :, np.newaxis])[:, :, 0].T, dtype=float)


def _worst(x: FloatArray, exact: FloatArray) -> float:
    size = np.linalg.norm(exact, axis=0)
    return float(np.divide(np.linalg.norm(x - exact, axis=0), size, out=np.zeros_like(size), where=size > 0).max())
