"""Engines by name."""

from __future__ import annotations

from typing import Any

from xbar_spice.checks import checked
from xbar_spice.engines.base import Engine
from xbar_spice.parts import ENGINES

__all__ = ["get_engine"]


@checked()
def get_engine(engine: str | Engine, **options: Any) -> Engine:
    """The engine of a name; an engine that is configured already is returned as it is.

    Args:
        engine: "ideal", "nodal", "ngspice", the text of an engine of one's own, or an engine.
        **options: what the engine of this name is configured with, such as `method` and `tolerance` of "nodal".

    Raises:
        InvalidInputError: no engine has this name, or it does not know an option.
        EngineUnavailableError: the engine needs something that this machine lacks.

    Example:
        >>> get_engine("nodal", tolerance=1e-12).name
        'nodal'
    """
    return ENGINES.get(engine, **options)
