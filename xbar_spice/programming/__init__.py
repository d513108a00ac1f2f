"""Programming by pulses: cells that move, in the circuit of their array, until a read finds them at their targets."""

from xbar_spice.programming.pulses import FastPulses, Pulsed, Pulses
from xbar_spice.programming.schemes import SCHEMES, Scheme
from xbar_spice.programming.write import WriteVerify, write_verify
from xbar_spice.programming.written import Written

__all__ = ["SCHEMES", "FastPulses", "Pulsed", "Pulses", "Scheme", "WriteVerify", "Written", "write_verify"]
