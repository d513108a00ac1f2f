"""Engines by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xbar_spice.checks import checked
from xbar_spice.engines.base import Engine
from xbar_spice.engines.ideal import IdealEngine
from xbar_spice.engines.nodal.engine import NodalEngine
from xbar_spice.errors import InvalidInputError

__all__ = ["ENGINES", "get_engine"]


def _ngspice(**options: Any) -> Engine:
    from xbar_spice.engines.ngspice.engine import NgspiceEngine  # noqa: PLC0415 - PySpice costs a second to import

    return NgspiceEngine(**options)


ENGINES: dict[str, Callable[..., Engine]] = {"ideal": IdealEngine, "nodal": NodalEngine, "ngspice": _ngspice}


@checked()
def get_engine(engine: str | Engine, **options: Any) -> Engine:
    """The engine of a name; an engine that is configured already is returned as it is.

    Args:
        engine: "ideal", "nodal", "ngspice", or an engine.
        **options: what the engine of this name is configured with, such as `method` and `tolerance` of "nodal".

    Raises:
        InvalidInputError: no engine has this name, or it does not know an option.
        EngineUnavailableError: the engine needs something that this machine lacks.

    Example:
        >>> get_engine("nodal", tolerance=1e-12).name
        'nodal'
    """
    if isinstance(engine, Engine):
        if options:
            raise InvalidInputError(f"{engine.name!r} is configured already, got {', '.join(options)} on top")
        return engine
    if engine not in ENGINES:
        raise InvalidInputError(f"engine must be one of {', '.join(map(repr, ENGINES))}, got {engine!r}")
    try:
        return ENGINES[engine](**options)
    except TypeError as error:
        raise InvalidInputError(f"engine {engine!r} cannot take the options {', '.join(options)}: {error}") from error
