"""Engines by name."""

from __future__ import annotations

from collections.abc import Callable

from xbar_spice.engines.base import Engine
from xbar_spice.engines.ideal import IdealEngine
from xbar_spice.engines.nodal.engine import NodalEngine
from xbar_spice.errors import InvalidInputError

__all__ = ["ENGINES", "get_engine"]


def _ngspice() -> Engine:
    from xbar_spice.engines.ngspice.engine import NgspiceEngine  # noqa: PLC0415 - PySpice costs a second to import

    return NgspiceEngine()


ENGINES: dict[str, Callable[[], Engine]] = {"ideal": IdealEngine, "nodal": NodalEngine, "ngspice": _ngspice}


def get_engine(engine: str | Engine) -> Engine:
    """The engine of a name; an engine that is configured already is returned as it is.

    Raises:
        InvalidInputError: no engine has this name.
        EngineUnavailableError: the engine needs something that this machine lacks.

    Example:
        >>> get_engine("nodal").name
        'nodal'
    """
    if isinstance(engine, Engine):
        return engine
    if engine not in ENGINES:
        raise InvalidInputError(f"engine must be one of {', '.join(map(repr, ENGINES))}, got {engine!r}")
    return ENGINES[engine]()
