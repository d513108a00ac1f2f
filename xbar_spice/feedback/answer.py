"""Who answers for a feedback circuit: linear algebra, or ngspice with the deck resident in a worker process."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TYPE_CHECKING, final

from xbar_spice.engines.base import Closeable, Engine
from xbar_spice.engines.registry import get_engine
from xbar_spice.errors import InvalidInputError
from xbar_spice.feedback.deck import FeedbackDeck
from xbar_spice.linear.operator import FloatArray

if TYPE_CHECKING:
    from xbar_spice.engines.ngspice.engine import NgspiceEngine
    from xbar_spice.engines.ngspice.process import ResidentProcess

__all__ = ["Answers", "choose_engine"]

RESIDENT = 4  # circuits that stay in their processes; a step size and a direction make one


@final
class Answers(Closeable):
    """The resident circuits of a solver; none if it is linear algebra that answers.

    Args:
        engine: the engine of the circuits, None for linear algebra.
    """

    def __init__(self, engine: NgspiceEngine | None) -> None:
        self._engine = engine
        self._resident: dict[Hashable, ResidentProcess] = {}

    @property
    def simulates(self) -> bool:
        """Whether ngspice answers."""
        return self._engine is not None

    @property
    def netlists(self) -> tuple[Path, ...]:
        """Folders of the user's own templates."""
        return self._engine.netlists if self._engine else ()

    def read(self, key: Hashable, deck: Callable[[], FeedbackDeck], volts: FloatArray) -> FloatArray:
        """Voltages of a deck's nodes, (nodes, batch), for voltages of its sources, (sources, batch).

        Args:
            key: by which the circuit is found again.
            deck: makes it if it is not there yet.
            volts: of the sources.

        Raises:
            SimulationError: the simulator failed.
        """
        from xbar_spice.engines.ngspice.process import ResidentProcess  # noqa: PLC0415 - only where there is ngspice

        if self._engine is None:
            raise InvalidInputError("linear algebra answers here, there is no circuit to read")
        if key not in self._resident:
            while len(self._resident) >= RESIDENT:
                self._resident.pop(next(iter(self._resident))).close()
            made = deck()
            self._resident[key] = ResidentProcess(
                made.text,
                made.sources,
                nodes=made.nodes,
                time_limit=self._engine.time_limit,
                start_limit=self._engine.start_limit,
                failures=self._engine.failures,
                unique=made.unique,
            )
        return self._resident[key].read(volts)[len(volts) :]

    def close(self) -> None:
        """End the worker processes; a later read starts new ones."""
        for process in self._resident.values():
            process.close()
        self._resident = {}


def choose_engine(engine: str | Engine) -> Answers:
    """The answers of an engine.

    Raises:
        InvalidInputError: an engine that knows no circuits.
        EngineUnavailableError: the engine needs something that this machine lacks.
    """
    chosen = get_engine(engine)
    if chosen.name == "nodal":
        return Answers(None)
    if chosen.name != "ngspice":
        raise InvalidInputError(f"a feedback circuit is solved by the engine 'nodal' or 'ngspice', got {chosen.name!r}")
    return Answers(chosen)  # type: ignore[arg-type] # of this name there is one
