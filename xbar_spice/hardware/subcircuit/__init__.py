"""Subcircuits of the user's own: how their libraries are read, kept apart from each other, and wrapped."""

from xbar_spice.hardware.subcircuit.definition import Subcircuit

__all__ = ["Subcircuit"]
