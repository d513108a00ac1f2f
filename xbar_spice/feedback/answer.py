"""Who answers for a feedback circuit: linear algebra, or ngspice with the deck in a worker process; and its record."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

from xbar_spice.engines.base import Closeable, Engine
from xbar_spice.engines.registry import get_engine
from xbar_spice.errors import InvalidInputError
from xbar_spice.feedback.deck import FeedbackDeck
from xbar_spice.linear.operator import FloatArray

if TYPE_CHECKING:
    from xbar_spice.engines.ngspice.engine import NgspiceEngine
    from xbar_spice.engines.ngspice.supervised_circuit import ResidentProcess

__all__ = ["Answers", "SolveRecord", "choose_engine", "solves_record"]

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
        from xbar_spice.engines.ngspice.supervised_circuit import ResidentProcess  # noqa: PLC0415 - only where there is ngspice

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


@final
@dataclass(frozen=True, slots=True)
class SolveRecord:
    """One solve of a batch by the circuit.

    Attributes:
        phase: what it served: krylov, adjoint; empty outside a solver.
        step: time step, or None.
        newton: Newton iteration, or None.
        krylov: iteration of the linear solve, or None.
        direction: "forward" or "transposed".
        batch: number of right-hand sides.
        error: |x - exact| / |exact| of the worst sample, exact being the solution with the arrays' own reads.
        digital_error: the same, exact being the solution with the wanted weights.
        time_constant: seconds, 1 / the slowest rate at which one of the samples settles; NaN if that is not checked.
        seconds: wall time of the solve.
    """

    phase: str
    step: int | None
    newton: int | None
    krylov: int | None
    direction: Literal["forward", "transposed"]
    batch: int
    error: float
    digital_error: float
    time_constant: float
    seconds: float


def solves_record(solves: Sequence[SolveRecord]) -> dict[str, Any]:
    """What the circuit's solves were like, as plain values: their number by direction, worst errors, slowest mode."""
    directions = ("forward", "transposed")
    return {
        "solves": {name: sum(solve.batch for solve in solves if solve.direction == name) for name in directions},
        "worst_error": max(solve.error for solve in solves),
        "worst_digital_error": max(solve.digital_error for solve in solves),
        "slowest_time_constant": max(solve.time_constant for solve in solves),
    }
