"""Cells that move: published laws of how a state follows the voltage, each with the static law of its reads."""

from xbar_spice.hardware.dynamic.cell import DynamicDevice
from xbar_spice.hardware.dynamic.flow import moved
from xbar_spice.hardware.dynamic.gated import BehindTransistor, GatedCell
from xbar_spice.hardware.dynamic.hp_drift import HpDrift, HpJoglekar
from xbar_spice.hardware.dynamic.pershin import Pershin
from xbar_spice.hardware.dynamic.stanford_gap import StanfordGap
from xbar_spice.hardware.dynamic.vteam import Vteam
from xbar_spice.hardware.dynamic.yakopcic import Yakopcic

__all__ = ["BehindTransistor", "DynamicDevice", "GatedCell", "HpDrift", "HpJoglekar", "Pershin", "StanfordGap", "Vteam",
           "Yakopcic", "moved"]  # fmt: skip
