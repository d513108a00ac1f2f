"""From crossbars to SPICE text."""

from xbar_spice.spice.device_models import load_device, load_opamp
from xbar_spice.spice.netlist import Deck, netlist

__all__ = ["Deck", "load_device", "load_opamp", "netlist"]
