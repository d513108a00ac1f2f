"""Engines: ways to answer the read of an array."""

from xbar_spice.engines.base import Bank, Engine, Session
from xbar_spice.engines.registry import get_engine

__all__ = ["Bank", "Engine", "Session", "get_engine"]
