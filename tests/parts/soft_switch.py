"""A cell of a user's own that moves: it opens and closes without a threshold, and the slower the nearer to its ends."""

from dataclasses import dataclass

import numpy as np

from xbar_spice.hardware.cells import Sinh
from xbar_spice.hardware.dynamic import DynamicDevice


@dataclass(frozen=True)
class SoftSwitch(DynamicDevice):
    """dx/dt = k sinh(V / v1) times 1 - x upwards and x downwards; G = g_off + (g_on - g_off) x."""

    g_off: float = 1e-6
    g_on: float = 1e-4
    k: float = 10.0  # per second
    v1: float = 0.06  # volts

    limits = (0.0, 1.0)
    read_law = Sinh(0.4)  # I = G v0 sinh(V / v0) while the state stands still
    write_volts = (0.9, -0.9)  # that raise and that lower the conductance
    subcircuit_name = "soft_switch"
    library = """\
.subckt soft_switch word bit x0=0 g_off=1e-6 g_on=1e-4 k=10 v1=0.06
Cstate x 0 1 ic={x0}
Bstate 0 x I={k}*sinh(v(word,bit)/{v1})*(v(word,bit)>0?1-v(x):v(x))
Bcell word bit I=({g_off}+({g_on-g_off})*v(x))*0.4*sinh(v(word,bit)/0.4)
.ends soft_switch
"""

    def conductance_of(self, state):
        return self.g_off + (self.g_on - self.g_off) * self.within(state)

    def state_of(self, conductance):
        return self.within((self.known_conductance(conductance) - self.g_off) / (self.g_on - self.g_off))

    def rate(self, state, volts):
        return self.k * np.sinh(volts / self.v1) * np.where(volts > 0, 1.0 - state, state)
