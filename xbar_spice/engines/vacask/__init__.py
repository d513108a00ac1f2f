"""A second simulator behind the protocol of engines, as a judge of the others."""

from xbar_spice.engines.vacask.engine import VacaskEngine

__all__ = ["VacaskEngine"]
