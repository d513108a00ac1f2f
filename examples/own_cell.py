"""A cell law of one's own, in every engine but ngspice, which needs its two SPICE macros too: docs/extending.md."""

from dataclasses import dataclass

import numpy as np

import xbar_spice as xs
from xbar_spice.hardware.device import Device
from xbar_spice.linear.operator import FloatArray


@dataclass(frozen=True)
class Rectifying(Device):
    """A cell that conducts less backwards: I = G V (1 + tanh(V / v0) / 2)."""

    v0: float = 0.1  # volts
    linear = False
    template = "cells/rectifying.cir.j2"

    def current(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        return np.asarray(conductance * voltage * (1 + np.tanh(voltage / self.v0) / 2))

    def differential_conductance(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        bend = np.tanh(voltage / self.v0)
        return np.asarray(conductance * (1 + bend / 2 + voltage / (2 * self.v0) * (1 - bend**2)))


crossbar = xs.Crossbar(np.full((4, 4), 1e-4), r_word=5.0, r_bit=5.0, device=Rectifying())
with xs.get_engine("nodal").program(crossbar) as session:
    print("driven at the word lines:", session.read(np.full(4, 0.2)))
    print("driven at the bit lines: ", session.read(np.full(4, 0.2), side="cols"))
