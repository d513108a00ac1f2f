"""How the currents of an array under biases change with everything it is made of: one adjoint array for each of them.

Let the terminals of the linearised array stand at the weights of the currents into them. With U the voltages of its
cells, c' the currents in its wires and I' those into its terminals, Tellegen's theorem gives, for S = sum(w I),

    dS/dG = -U dI/dG,    dS/dR = c c',    dS/dV = I'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from xbar_spice.checks import Array, Real, checked
from xbar_spice.engines.nodal.biased import BiasedArray, State
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.biases import EDGES, OPPOSITE_EDGES, Biases, Currents, End
from xbar_spice.hardware.crossbar import Crossbar, Edge
from xbar_spice.linear.operator import FloatArray

__all__ = ["BiasGradient", "BiasSensitivity"]


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
    """

    conductance: FloatArray
    r_word: FloatArray
    r_bit: FloatArray
    ohms: Mapping[Edge, FloatArray]
    volts: Mapping[Edge, FloatArray]
    r_feedback: float
    gain: float


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
        ConvergenceError: cells that are not linear did not settle.

    Example:
        >>> array = Crossbar([[1e-4]], r_driver=1e3, r_sense=0.0)
        >>> change = BiasSensitivity(array, Biases(left=1.1, bottom=0.0)).vjp(bottom=1.0)
        >>> change.conductance, change.volts["left"], change.ohms["left"]
        (array([[0.90909091]]), array([[9.09090909e-05]]), array([-9.09090909e-09]))
    """

    @checked(tolerance=Real(above=0, below=1))
    def __init__(self, crossbar: Crossbar, biases: Biases, *, tolerance: float = 1e-10) -> None:
        self._crossbar = crossbar
        self._ends = biases.ends(crossbar)
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
        weights = {edge: self._weights(edge, given[edge]) for edge in EDGES}
        rows, cols = self._crossbar.shape
        conductance = np.zeros((rows, cols))
        word, bit = np.zeros((rows, cols + 1)), np.zeros((cols, rows + 1))
        volts = {edge: np.zeros(weights[edge].shape) for edge in EDGES}
        first = 0
        for state in self._states:
            columns = slice(first, first + len(state.cells.high))
            held = {
                edge: replace(end, volts=end.returned(weights[edge][:, columns])) for edge, end in self._ends.items()
            }
            adjoint = self._adjoint(state, held)
            at_cells = state.volts.rounded()
            by_conductance = self._crossbar.device.conductance_sensitivity(self._crossbar.conductance, at_cells)
            conductance -= (by_conductance * adjoint.volts.rounded()).sum(axis=0)
            word += (state.word.through.rounded() * adjoint.word.through.rounded()).sum(axis=0)
            bit += (state.bit.through.rounded() * adjoint.bit.through.rounded()).sum(axis=0)
            for edge, into in adjoint.at_ends().items():
                volts[edge][:, columns] = np.where(self._ends[edge].connected[:, np.newaxis], into, 0.0)
            first = columns.stop
        ohms: dict[Edge, FloatArray] = {}
        for (near, far), lines in zip(OPPOSITE_EDGES, (word, bit), strict=True):
            lines[:, 0] *= self._ends[near].connected
            lines[:, -1] *= self._ends[far].connected
            ohms |= {near: lines[:, 0].copy(), far: lines[:, -1].copy()}
        return BiasGradient(conductance, word, bit.T, ohms, volts, *self._of_amplifiers(weights, ohms))

    def _weights(self, edge: Edge, given: float | FloatArray) -> FloatArray:
        lines, batch = self._ends[edge].volts.shape
        weights = Array()(f"weights at the {edge}", given)
        weights = weights[:, np.newaxis] if weights.ndim == 1 else weights
        if weights.ndim and weights.shape not in ((lines, batch), (lines, 1)):
            raise InvalidInputError(
                f"weights at the {edge} must be one number, ({lines},) or ({lines}, {batch}), got {weights.shape}"
            )
        connected = self._ends[edge].connected[:, np.newaxis]
        return np.where(connected, np.broadcast_to(weights, (lines, batch)), 0.0)

    def _adjoint(self, state: State, ends: Mapping[Edge, End]) -> State:
        """The linearised array with its terminals at the weights."""
        device, conductance = self._crossbar.device, self._crossbar.conductance
        if device.linear:
            (found,) = self._array.solve(ends)
            return found
        slopes = device.differential_conductance(conductance, state.volts.rounded())[0]
        (found,) = self._array.linearised(slopes).solve(ends)
        return found

    def _of_amplifiers(
        self, weights: Mapping[Edge, FloatArray], ohms: Mapping[Edge, FloatArray]
    ) -> tuple[float, float]:
        """With respect to feedback and gain A: the load R / (1 + A) and the share A / (1 + A) depend on them."""
        amplified = [edge for edge, end in self._ends.items() if end.amplifier]
        if not amplified:
            return 0.0, 0.0
        amplifier = self._crossbar.amplifier
        by_load = float(sum(ohms[edge].sum() for edge in amplified))
        returned = float(sum((weights[edge] * self._amperes[edge]).sum() for edge in amplified))
        whole = 1.0 + amplifier.gain
        return by_load / whole, returned / whole**2 - by_load * amplifier.r_feedback / whole**2
