"""How the currents of an array under biases change with everything it is made of: a linearised array for each of them.

Let the terminals of the linearised array stand at the weights of the currents into them. With U the voltages of its
cells, c' the currents in its wires and I' those into its terminals, Tellegen's theorem gives, for S = sum(w I),

    dS/dG = -U dI/dG,    dS/dR = c c',    dS/dV = I'.

A change of everything is a solve of its own: a resistance that grows by dR is a source of c dR in its line, and a
source in a line is one at its far terminal and at every cell behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import Array, Real, checked
from xbar_spice.engines.nodal.biased import BiasedArray
from xbar_spice.engines.nodal.biased_amplifiers import saturates
from xbar_spice.engines.nodal.transposed import transposed
from xbar_spice.engines.nodal.wiring import State
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.biases import EDGES, OPPOSITE_EDGES, Biases, Currents, End
from xbar_spice.hardware.crossbar import Crossbar, Edge
from xbar_spice.hardware.gate_lines import GateLines
from xbar_spice.linear.operator import FloatArray

__all__ = ["BiasGradient", "BiasSensitivity"]

OF_AMPLIFIERS = ("r_feedback", "gain", "saturation")


@final
@dataclass(frozen=True, eq=False)
class BiasGradient:
    """The gradient of a weighted sum of currents, over all sets of voltages.

    Attributes:
        conductance: (rows, cols) per siemens.
        r_word: (rows, cols + 1) per ohm of each segment of the word lines; their sum is that of one number for all.
        r_bit: (rows + 1, cols) likewise.
        ohms: per ohm between the volts and the lines, (lines,) of every edge; 0 at open ends.
        volts: per volt, (lines, batch) of every edge; 0 at open ends.
        r_feedback: per ohm of the amplifiers' feedback.
        gain: per unit of their gain.
        saturation: per volt of their saturation; 0 without one.
        gates: (rows,) per volt of the gate lines; 0 without any.
    """

    conductance: FloatArray
    r_word: FloatArray
    r_bit: FloatArray
    ohms: Mapping[Edge, FloatArray]
    volts: Mapping[Edge, FloatArray]
    r_feedback: float
    gain: float
    saturation: float
    gates: FloatArray


@final
class BiasSensitivity:
    """The derivative of all terminals' currents at the states of an array under biases.

    Args:
        crossbar: the array, with cells of any law whose slope is known.
        biases: one or more sets of voltages.
        tolerance: relative error of the currents.

    Attributes:
        currents: of the array itself, as `Session.bias` returns them.

    Raises:
        InvalidInputError: shapes that do not fit the array.
        SingularCircuitError: lines that no terminal holds.
        ConvergenceError: cells or amplifiers that are not linear did not settle.

    Example:
        >>> array = Crossbar([[1e-4]], r_driver=1e3, r_sense=0.0)
        >>> change = BiasSensitivity(array, Biases(left=1.1, bottom=0.0)).vjp(bottom=1.0)
        >>> change.conductance, change.volts["left"], change.ohms["left"]
        (array([[0.90909091]]), array([[9.09090909e-05]]), array([-9.09090909e-09]))
    """

    @checked(tolerance=Real(above=0, below=1))
    def __init__(self, crossbar: Crossbar, biases: Biases, *, tolerance: float = 1e-10) -> None:
        self._crossbar = crossbar
        self._batch = biases.batch
        self._ends = biases.ends(crossbar)
        gates = self._ends["left"].gates
        self._gates = None if gates is None else GateLines.beside(crossbar.device, gates)
        self._array = BiasedArray(crossbar, self._ends, tolerance)
        self._states = self._array.solve()
        flows = [state.at_ends() for state in self._states]
        self._amperes = {edge: np.concatenate([flow[edge] for flow in flows], axis=1) for edge in EDGES}
        returned = {edge: end.returned(self._amperes[edge]) for edge, end in self._ends.items()}
        self.currents = Currents.of_ends(self._ends, returned, biases.batch)

    def vjp(
        self,
        left: float | FloatArray = 0.0,
        right: float | FloatArray = 0.0,
        top: float | FloatArray = 0.0,
        bottom: float | FloatArray = 0.0,
    ) -> BiasGradient:
        """The gradient of the sum of all weights times currents.

        Args:
            left: weights of the currents at the left, one number, (rows,) or (rows, batch).
            right: at the right, likewise.
            top: (cols,) or (cols, batch) at the top.
            bottom: at the bottom.

        Raises:
            InvalidInputError: weights of another shape, or not finite.
        """
        given: dict[Edge, float | FloatArray] = {"left": left, "right": right, "top": top, "bottom": bottom}
        weights = {edge: self._at_ends(f"weights at the {edge}", edge, given[edge]) for edge in EDGES}
        rows, cols = self._crossbar.shape
        conductance = np.zeros((rows, cols))
        word, bit = np.zeros((rows, cols + 1)), np.zeros((cols, rows + 1))
        volts = {edge: np.zeros(weights[edge].shape) for edge in EDGES}
        gates = np.zeros(rows)
        for columns, state in self._parts():
            array, ends, shares = self._linear(columns, state)
            held = {edge: replace(end, volts=shares[edge] * weights[edge][:, columns]) for edge, end in ends.items()}
            tangent = self._array.tangent(state)
            if tangent.by_bit is None:
                (adjoint,) = array.solve(held)
            else:
                adjoint = transposed(array.wiring, tangent, held)
                gates += (adjoint.volts.rounded() * tangent.by_bit).sum(axis=(0, 2))
            conductance -= (self._by_conductance(state) * adjoint.volts.rounded()).sum(axis=0)
            word += (state.word.through.rounded() * adjoint.word.through.rounded()).sum(axis=0)
            bit += (state.bit.through.rounded() * adjoint.bit.through.rounded()).sum(axis=0)
            for edge, into in adjoint.at_ends().items():
                volts[edge][:, columns] = np.where(self._ends[edge].connected[:, np.newaxis], into, 0.0)
        ohms: dict[Edge, FloatArray] = {}
        for (near, far), lines in zip(OPPOSITE_EDGES, (word, bit), strict=True):
            lines[:, 0] *= self._ends[near].connected
            lines[:, -1] *= self._ends[far].connected
            ohms |= {near: lines[:, 0].copy(), far: lines[:, -1].copy()}
        of_amplifiers = dict.fromkeys(OF_AMPLIFIERS, 0.0)
        for edge, slopes in self._by_amplifiers().items():
            for name, (by_volts, by_amperes) in slopes.items():
                of_amplifiers[name] += float((volts[edge] * by_volts + weights[edge] * by_amperes).sum())
        return BiasGradient(conductance, word, bit.T, ohms, volts, **of_amplifiers, gates=gates)

    def jvp(
        self,
        conductance: ArrayLike = 0.0,
        r_word: ArrayLike = 0.0,
        r_bit: ArrayLike = 0.0,
        *,
        ohms: Mapping[Edge, ArrayLike] | None = None,
        volts: Mapping[Edge, ArrayLike] | None = None,
        r_feedback: float = 0.0,
        gain: float = 0.0,
        saturation: float = 0.0,
        gates: ArrayLike = 0.0,
    ) -> Currents:
        """By how much a small change moves the currents.

        Args:
            conductance: siemens, one number or (rows, cols); likewise all others, in the shapes of `BiasGradient`.
            r_word: ohm of the segments of the word lines.
            r_bit: ohm of the segments of the bit lines.
            ohms: of the terminals, by edge.
            volts: of the terminals, by edge; (lines,) or (lines, batch).
            r_feedback: ohm of the amplifiers' feedback.
            gain: of the amplifiers.
            saturation: volts of the amplifiers.
            gates: volts of the gate lines, one number or (rows,).

        Raises:
            InvalidInputError: a change of another shape, or not finite.
        """
        rows, cols = self._crossbar.shape
        by_cell = self._inside("conductance", conductance, (rows, cols))
        word = self._inside("r_word", r_word, (rows, cols + 1)).copy()
        bit = self._inside("r_bit", r_bit, (rows + 1, cols)).T.copy()
        given = {edge: self._at_ends(f"volts at the {edge}", edge, (volts or {}).get(edge, 0.0)) for edge in EDGES}
        for (near, far), lines in zip(OPPOSITE_EDGES, (word, bit), strict=True):
            for edge, place in ((near, 0), (far, -1)):
                lines[:, place] += self._at_ends(f"ohms at the {edge}", edge, (ohms or {}).get(edge, 0.0))[:, 0]
        at_gates = self._inside("gates", gates, (rows,))
        moved = {edge: np.zeros(self._amperes[edge].shape) for edge in EDGES}
        change = {"r_feedback": r_feedback, "gain": gain, "saturation": saturation}
        for edge, slopes in self._by_amplifiers().items():
            for name, (by_volts, by_amperes) in slopes.items():
                given[edge] = given[edge] + by_volts * change[name]
                moved[edge] += by_amperes * change[name]
        for columns, state in self._parts():
            array, ends, shares = self._linear(columns, state)
            shifts: list[FloatArray] = []
            behind: dict[Edge, FloatArray] = {}
            for (_, far), lines, carried in zip(OPPOSITE_EDGES, (word, bit), (state.word, state.bit), strict=True):
                lost = np.cumsum(lines * carried.through.rounded(), axis=2)
                shifts.append(-lost[:, :, :-1])
                behind[far] = lost[:, :, -1].T
            tangent, at_bit = self._array.tangent(state), np.swapaxes(shifts[1], 1, 2)
            offset = tangent.slope * (shifts[0] - at_bit) + self._by_conductance(state) * by_cell
            if tangent.by_bit is not None:
                offset += tangent.by_bit * (at_bit - at_gates[:, np.newaxis])
            held = {
                edge: replace(end, volts=given[edge][:, columns] + behind.get(edge, 0.0)) for edge, end in ends.items()
            }
            (found,) = array.shifted(offset).solve(held)
            for edge, into in found.at_ends().items():
                moved[edge][:, columns] += shares[edge] * into
        return Currents.of_ends(self._ends, moved, self._batch)

    def _parts(self) -> list[tuple[slice, State]]:
        """The states and their places in the batch."""
        ends = np.cumsum([0, *(len(state.cells.high) for state in self._states)]).tolist()
        return [(slice(*ends[k : k + 2]), state) for k, state in enumerate(self._states)]

    def _linear(
        self, columns: slice, state: State
    ) -> tuple[BiasedArray, Mapping[Edge, End], Mapping[Edge, float | FloatArray]]:
        """The linearised array, what stands at its ends, and the share that each returns of a change."""
        tangent = self._array.tangent(state)
        if not saturates(self._ends):
            share = self._crossbar.amplifier.returned_share
            shares = {edge: share if end.amplifier else 1.0 for edge, end in self._ends.items()}
            return self._array.linearised(tangent), self._ends, shares
        small = {edge: end.small_signal(self._amperes[edge][:, columns]) for edge, end in self._ends.items()}
        ends = {edge: end for edge, (end, _) in small.items()}
        return self._array.linearised(tangent, ends), ends, {edge: share for edge, (_, share) in small.items()}

    def _by_conductance(self, state: State) -> FloatArray:
        law, conductance = self._crossbar.device, self._crossbar.conductance
        if self._gates:
            bit = state.bit_volts.rounded()
            return self._gates.conductance_sensitivity(conductance, state.volts.rounded(), bit)
        return law.conductance_sensitivity(conductance, state.volts.rounded())

    def _by_amplifiers(self) -> dict[Edge, dict[str, tuple[FloatArray, FloatArray]]]:
        """(lines, batch) volts and amperes per unit of the parameters of the amplifiers, by edge."""
        return {
            edge: {
                name: (end.connected[:, np.newaxis] * by_volts, end.connected[:, np.newaxis] * by_amperes)
                for name, (by_volts, by_amperes) in end.amplifier.by_parameters(self._amperes[edge]).items()
            }
            for edge, end in self._ends.items()
            if end.amplifier
        }

    def _at_ends(self, name: str, edge: Edge, given: ArrayLike) -> FloatArray:
        """(lines, batch) of one number or an array, 0 at open ends."""
        lines, batch = self._ends[edge].volts.shape
        values = Array()(name, given)
        values = values[:, np.newaxis] if values.ndim == 1 else values
        if values.ndim and values.shape not in ((lines, batch), (lines, 1)):
            raise InvalidInputError(f"{name} must be one number, ({lines},) or ({lines}, {batch}), got {values.shape}")
        connected = self._ends[edge].connected[:, np.newaxis]
        return np.where(connected, np.broadcast_to(values, (lines, batch)), 0.0)

    def _inside(self, name: str, given: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
        values = Array()(f"the change of {name}", given)
        if values.shape not in ((), shape):
            raise InvalidInputError(f"the change of {name} must be one number or of shape {shape}, got {values.shape}")
        return np.broadcast_to(values, shape)
