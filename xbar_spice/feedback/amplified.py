"""One matrix of a feedback circuit: its arrays, with an op-amp at each summing node, solved by linear algebra.

The arrays pass T r - L x into the summing nodes, r being the voltages of the rails and x those of the nodes. Op-amps
with the outputs o hold the nodes at x = -o / gain through conductances C from outputs to nodes, and a current J f comes
from outside. Kirchhoff's law at the nodes:

    T r + C o + J f = load x,    load = L + what C and J add at each node,    hence    (C + load / gain) o = -T r - J f.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from xbar_spice.feedback.opamp import OpAmp
from xbar_spice.feedback.wiring import Wiring
from xbar_spice.linear.operator import FloatArray

__all__ = ["AmplifiedMatrix", "Dynamics", "Network"]


@final
@dataclass(frozen=True, eq=False)
class Network:
    """The arrays of a matrix as rails and summing nodes see them; solved when it is first asked for.

    Attributes:
        wiring: where the lines of the arrays go.
        r_source: ohm between each rail and the voltage that drives it.
    """

    wiring: Wiring
    r_source: float = 0.0

    @property
    def inputs(self) -> int:
        """Length of the vector that is multiplied."""
        return self.wiring.inputs

    @property
    def outputs(self) -> int:
        """Length of the product."""
        return self.wiring.outputs

    @property
    def drive(self) -> FloatArray:
        """T, (nodes, rails) siemens; the rails of inverted voltage follow the others, and likewise the nodes.

        Raises:
            InvalidInputError: cells whose current is not proportional to their voltage.
        """
        return self._solved[0]

    @property
    def load(self) -> FloatArray:
        """L, (nodes, nodes) siemens."""
        return self._solved[1]

    @cached_property
    def _solved(self) -> tuple[FloatArray, FloatArray]:
        whole = self.wiring.conductance()
        rails = self.wiring.rails
        drive, load = -whole[rails:, :rails], whole[rails:, rails:]
        if self.r_source > 0:  # what the lines draw lowers the rail, for all arrays on it
            share = np.linalg.inv(np.eye(rails) + self.r_source * whole[:rails, :rails])
            load = load - self.r_source * drive @ share @ drive.T
            drive = drive @ share
        return drive, load


@final
@dataclass(frozen=True, eq=False)
class Dynamics:
    """How the op-amps of a matrix move: d(outputs)/dt = -speed (own @ outputs + coupling @ inputs).

    The inverters of the rails come first, then the op-amps of the result, then those that invert currents.
    """

    own: FloatArray
    coupling: FloatArray


@final
@dataclass(frozen=True, eq=False)
class AmplifiedMatrix:
    """A matrix with its amplifiers.

    Attributes:
        arrays: its arrays.
        opamp: what holds the nodes.
        feedback: siemens from the output of each op-amp back to its summing node; 0 where only the arrays do that.
        injection: J, siemens through which each summing node gets a current from outside; 0 for none.
    """

    arrays: Network
    opamp: OpAmp
    feedback: float
    injection: float = 0.0

    @property
    def inverters(self) -> int:
        """Number of rails of inverted voltage."""
        return self.arrays.wiring.rails - self.arrays.inputs

    @property
    def crossing(self) -> float:
        """Siemens of the amplifiers that invert currents: their feedback, and between their output and the node."""
        return self.feedback or self.injection

    @cached_property
    def returns(self) -> FloatArray:
        """C, (nodes, op-amps) siemens."""
        outputs, nodes = self.arrays.outputs, self.arrays.wiring.nodes
        conductance = self.feedback * np.eye(nodes)
        if nodes > outputs:
            conductance[outputs:, outputs:] = conductance[:outputs, outputs:] = self.crossing * np.eye(outputs)
        return conductance

    @cached_property
    def load(self) -> FloatArray:
        """(nodes, nodes) siemens."""
        added = self.returns.sum(axis=1)
        added[: self.arrays.outputs] += self.injection
        return self.arrays.load + np.diag(added)

    @cached_property
    def through(self) -> FloatArray:
        """(nodes, inputs) siemens: T with the inverted rails folded into the others."""
        inputs = self.arrays.inputs
        if not self.inverters:
            return self.arrays.drive
        # Two equal resistances around an op-amp: w = -v / (1 + 2 / gain).
        return self.arrays.drive[:, :inputs] - self.arrays.drive[:, inputs:] / (1.0 + 2.0 / self.opamp.gain)

    @property
    def held(self) -> FloatArray:
        """C + load / gain, (nodes, op-amps) siemens."""
        return self.returns + self.load / self.opamp.gain

    @cached_property
    def amplified(self) -> tuple[FloatArray, FloatArray]:
        """What the inputs and the injected voltages make of the results: (outputs, inputs) and (outputs, outputs)."""
        outputs = self.arrays.outputs
        result = -np.asarray(np.linalg.inv(self.held), dtype=float)[:outputs]
        return result @ self.through, self.injection * result[:, :outputs]

    @cached_property
    def _to_nodes(self) -> FloatArray:
        """(nodes, rails + op-amps) what each of them makes of the nodes' voltages."""
        return np.asarray(np.linalg.solve(self.load, np.hstack([self.arrays.drive, self.returns])), dtype=float)

    def dynamics(self, share: FloatArray | None = None) -> Dynamics:
        """The linear system of the op-amps, each with one pole.

        Args:
            share: (inputs,) part of each input, and of its inverse, that reaches the rails; all of it by default.
        """
        inputs, inverters, nodes = self.arrays.inputs, self.inverters, self.arrays.wiring.nodes
        parts = np.ones(inputs) if share is None else share
        to_nodes = self._to_nodes
        own = np.zeros((inverters + nodes, inverters + nodes))
        own[:inverters, :inverters] = 0.5 * np.eye(inverters)
        own[inverters:, :inverters] = to_nodes[:, inputs : inputs + inverters] * parts[:inverters]
        own[inverters:, inverters:] = to_nodes[:, inputs + inverters :]
        own += np.eye(len(own)) / self.opamp.gain
        coupling = np.zeros((inverters + nodes, inputs))
        coupling[:inverters] = 0.5 * np.eye(inputs)[:inverters]
        coupling[inverters:] = to_nodes[:, :inputs] * parts
        return Dynamics(own, coupling)
