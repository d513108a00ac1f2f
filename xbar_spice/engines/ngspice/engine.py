"""Reads answered by ngspice through the deck that the user can run by hand."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.engines.base import Bank, Engine
from xbar_spice.engines.ngspice.characterised import CharacterisedBank, require_linear
from xbar_spice.engines.ngspice.forks import renew_after_fork
from xbar_spice.engines.ngspice.locate import require_library
from xbar_spice.engines.ngspice.model_check import check_cells
from xbar_spice.engines.ngspice.supervised_circuit import ResidentProcess
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.biases import End
from xbar_spice.hardware.crossbar import Crossbar, Edge, Side, other
from xbar_spice.hardware.reads import circuit_of, reciprocal
from xbar_spice.linear.operator import FloatArray
from xbar_spice.linear.threads import own_cores
from xbar_spice.spice.netlist import Deck, Terminal, bank_deck, biased_deck

__all__ = ["NgspiceBank", "NgspiceEngine", "share"]

IntArray = NDArray[np.int64]

# A worker of its own costs a quarter of a second to start and 45 MB; this many cells take ngspice 0.3 ms a vector.
CELLS_WORTH_A_WORKER = 512
LONGEST_SLEEP = 0.5  # seconds
KEPT = 2  # circuits of biases with other ends that a session keeps


@final
@dataclass(frozen=True)
class NgspiceEngine(Engine):
    """ngspice through PySpice, the arrays of a bank in one circuit that stays in a worker process.

    Args:
        time_limit: seconds without a solution until a read counts as hung (it is retried once).
        start_limit: seconds that loading the circuit may take.
        netlists: folders of the user's own templates, searched first.
        failures: folder for the decks of failed reads; a temporary one for each when left out.
        workers: processes that share the arrays of a bank; one for each core, but not more than is worth their start,
            when left out. What is read does not depend on it.
        characterise: for linear cells, read the transfer matrix once and answer later reads by it.
        check_every: reads from one to the next that is driven through the netlist and compared with the matrix.
        tolerance: largest relative difference that such a comparison allows.

    Raises:
        InvalidInputError: a number that is not allowed.
        EngineUnavailableError: there is no libngspice; the text says how to get it.

    Example:
        >>> from xbar_spice.hardware.crossbar import Crossbar
        >>> engine = NgspiceEngine(time_limit=10.0)
        >>> with engine.program(Crossbar([[1e-4]], r_driver=50.0)) as session:  # doctest: +SKIP
        ...     session.read([0.1])
        array([9.95e-06])
    """

    time_limit: float = 60.0
    start_limit: float = 300.0
    netlists: tuple[Path, ...] = ()
    failures: Path | None = None
    workers: int | None = None
    characterise: bool = False
    check_every: int = 16
    tolerance: float = 1e-9

    name = "ngspice"

    def __post_init__(self) -> None:
        given: dict[str, Any] = vars(self)
        for name in ("workers", "check_every"):
            count = given[name]
            left_out = name == "workers" and count is None
            if not left_out and (not isinstance(count, int | np.integer) or count is True or count < 1):
                raise InvalidInputError(f"{name} must be a whole number >= 1, got {count!r}")
        for name, what, most in (
            ("time_limit", "be a positive number of seconds", np.inf),
            ("start_limit", "be a positive number of seconds", np.inf),
            ("tolerance", "lie between 0 and 1", 1.0),
        ):
            if not (isinstance(given[name], int | float | np.number) and 0 < given[name] < most):
                raise InvalidInputError(f"{name} must {what}, got {given[name]!r}")
        if given["characterise"] not in (True, False):
            raise InvalidInputError(f"characterise must be True or False, got {self.characterise!r}")
        if isinstance(given["netlists"], str | os.PathLike):
            raise InvalidInputError(f"netlists must be a list of folders, such as [{str(self.netlists)!r}]")
        object.__setattr__(self, "netlists", tuple(_folder("netlists", folder) for folder in self.netlists))
        if self.failures is not None:
            object.__setattr__(self, "failures", _folder("failures", self.failures))
        require_library()

    def program_bank(self, crossbars: Sequence[Crossbar]) -> Bank:
        """Prepare arrays for reads; no circuit is started before the first one.

        A kind of cell that only its subcircuit knows is measured alone before that.

        Raises:
            InvalidInputError: cells that are not linear are to be characterised.
            DeviceError: a subcircuit cell that cannot be a memristor.
        """
        check_cells(crossbars)
        if not self.characterise:
            return NgspiceBank(crossbars, self)
        require_linear(crossbars)
        return CharacterisedBank(NgspiceBank(crossbars, self), self.check_every, self.tolerance)


@final
@dataclass(frozen=True)
class Circuit:
    """Some of a bank's arrays, their deck, and the process that it lives in."""

    arrays: tuple[int, ...]
    deck: Deck
    process: ResidentProcess

    @cached_property
    def _numbers(self) -> dict[Terminal, int]:
        return {terminal: row for row, terminal in enumerate(sources(self.deck) + outputs(self.deck))}

    @cached_property
    def sources(self) -> int:
        """How many voltages it takes."""
        return len(sources(self.deck))

    @cached_property
    def amperes_per_result(self) -> FloatArray:
        """(results, 1), what turns the results of the process into the currents of the terminals."""
        return np.array([[terminal.amperes_per_result] for terminal in self._numbers])

    def rows(self, array: int, edge: Edge) -> IntArray:
        """Rows of the voltages and currents that belong to an edge of one of its arrays."""
        return np.array([self._numbers[end] for end in self.deck.at(self.arrays.index(array), edge)], dtype=np.int64)


class Lines(NamedTuple):
    """Where a circuit has the terminals of one side of an array in a read.

    Attributes:
        ports: lines of that side, with terminals or without.
        connected: those that have terminals.
        rows: one set of rows of the circuit's voltages and currents for each edge at which they have some.
    """

    ports: int
    connected: IntArray
    rows: list[IntArray]


@final
class NgspiceBank(Bank):
    """Arrays in one circuit, or in a few side by side.

    Arrays in one circuit are solved at once: the solver sees that its matrix falls apart. Circuits in several worker
    processes are solved on several cores; the currents are the same (under KLU bit for bit). Both directions of a read
    share a circuit when the same ends of the lines are connected through the same resistances; otherwise each direction
    has its own, in a process of its own because a simulator can keep one only.
    """

    def __init__(self, crossbars: Sequence[Crossbar], engine: NgspiceEngine) -> None:
        super().__init__(crossbars)
        self._engine = engine
        self._groups = share([crossbar.conductance.size for crossbar in self.crossbars], engine.workers)
        self._circuits: dict[Side, list[Circuit]] = {}
        self._wired: dict[tuple[int, Side], tuple[Lines, Lines]] = {}
        self._biased: dict[Hashable, Circuit] = {}
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Have threads for the circuits of this program; those of the original are not in a copy of it."""
        self._threads = ThreadPoolExecutor(len(self._groups), "ngspice")  # which starts none before it needs them

    @property
    def source(self) -> str:
        return "netlist"

    @property
    def busy(self) -> float:
        """Seconds that the present workers have spent inside the simulator's library, added up."""
        return sum(process.busy for process in self.processes)

    @property
    def processes(self) -> list[ResidentProcess]:
        """The circuits of all reads so far, each once."""
        read = [circuit for circuits in self._circuits.values() for circuit in circuits]
        return list({id(c.process): c.process for c in (*read, *self._biased.values())}.values())

    def _read(self, drives: Sequence[FloatArray], side: Side) -> list[FloatArray]:
        circuits = self._circuits_for(side)
        volts = [self._volts(circuit, drives, side) for circuit in circuits]
        sensed: list[FloatArray] = [np.zeros(0)] * len(self.crossbars)
        for circuit, results in zip(circuits, self._solve(circuits, volts), strict=True):
            currents = results * circuit.amperes_per_result
            for index in circuit.arrays:
                _, lines = self._lines(circuit, index, side)
                found = np.zeros((lines.ports, currents.shape[1]))  # an open line carries nothing
                found[lines.connected] = reduce(np.add, [currents[rows] for rows in lines.rows])
                sensed[index] = found
        return sensed

    def _volts(self, circuit: Circuit, drives: Sequence[FloatArray], side: Side) -> FloatArray:
        volts = np.zeros((circuit.sources, drives[0].shape[1]))
        for index in circuit.arrays:
            lines, _ = self._lines(circuit, index, side)
            for rows in lines.rows:
                volts[rows] = drives[index][lines.connected]
        return volts

    def _lines(self, circuit: Circuit, index: int, side: Side) -> tuple[Lines, Lines]:
        """The driven and the sensed lines of an array; found once, which takes a good part of a small read."""
        if (index, side) not in self._wired:
            crossbar, opposite = self.crossbars[index], other(side)
            hookup = crossbar.hookup(side)
            driven, sensed = ([circuit.rows(index, edge) for edge in e] for e in (hookup.driven, hookup.sensed))
            self._wired[index, side] = (
                Lines(crossbar.ports(side), np.array(crossbar.connected(side), dtype=np.int64), driven),
                Lines(crossbar.ports(opposite), np.array(crossbar.connected(opposite), dtype=np.int64), sensed),
            )
        return self._wired[index, side]

    def _bias(self, ends: Mapping[Edge, End]) -> Mapping[Edge, FloatArray]:
        found = {edge: np.zeros(end.volts.shape) for edge, end in ends.items()}
        for columns in _of_equal_levels(ends):
            some = {edge: replace(end, volts=end.volts[:, columns]) for edge, end in ends.items()}
            circuit = self._biased_circuit(some)
            rows = {edge: circuit.rows(0, edge) for edge in some}
            volts = np.zeros((circuit.sources, columns.size))
            for edge, end in some.items():
                if not end.amplifier:
                    volts[rows[edge]] = end.volts[end.connected]
            results = circuit.process.read(volts) * circuit.amperes_per_result
            for edge, end in some.items():
                found[edge][np.ix_(end.connected, columns)] = results[rows[edge]]
        return found

    def _biased_circuit(self, ends: Mapping[Edge, End]) -> Circuit:
        """The circuit of an array with such ends, whatever the voltages of sources; few of them are kept."""
        key = circuit_of(ends), tuple(end.volts[:, 0].tobytes() for end in ends.values() if end.amplifier)
        if key not in self._biased:
            while len(self._biased) >= KEPT:
                self._biased.pop(next(iter(self._biased))).process.close()
            deck = biased_deck(self.crossbars[0], ends, netlists=self._engine.netlists)
            self._biased[key] = self._started((0,), deck)
        return self._biased[key]

    def _solve(self, circuits: Sequence[Circuit], volts: Sequence[FloatArray]) -> list[FloatArray]:
        if len(circuits) == 1:
            return [circuits[0].process.read(volts[0])]
        reads: list[Future[FloatArray]] = []
        try:
            for circuit, part in zip(circuits, volts, strict=True):
                reads.append(self._threads.submit(circuit.process.read, part, circuit.process.closings))
            _wait_for(reads)
        except BaseException:  # Ctrl-C: nobody waits for the results any more
            for circuit in circuits:
                circuit.process.close()
            _wait_for(reads)
            raise
        return [read.result() for read in reads]

    def _circuits_for(self, side: Side) -> list[Circuit]:
        if side not in self._circuits:
            shared = other(side) in self._circuits and all(map(reciprocal, self.crossbars))
            self._circuits[side] = (
                self._circuits[other(side)] if shared else [self._circuit(arrays, side) for arrays in self._groups]
            )
        return self._circuits[side]

    def _circuit(self, arrays: tuple[int, ...], side: Side) -> Circuit:
        deck = bank_deck([self.crossbars[index] for index in arrays], side, netlists=self._engine.netlists)
        return self._started(arrays, deck)

    def _started(self, arrays: tuple[int, ...], deck: Deck) -> Circuit:
        """A circuit with a process of its own, which starts at its first read."""
        process = ResidentProcess(
            deck.text,
            [terminal.source for terminal in sources(deck)],
            nodes=[terminal.output for terminal in outputs(deck)],
            time_limit=self._engine.time_limit,
            start_limit=self._engine.start_limit,
            failures=self._engine.failures,
            unique=deck.unique,
            behaviour=deck.behaviour,
            compiled=deck.compiled,
        )
        process.awake = len(self._groups) == 1 and own_cores() > 1
        return Circuit(arrays, deck, process)

    def close(self) -> None:
        """End the worker processes."""
        super().close()
        for process in self.processes:
            process.close()
        self._circuits, self._biased = {}, {}
        self._threads.shutdown()


def _of_equal_levels(ends: Mapping[Edge, End]) -> list[IntArray]:
    """Vectors of a batch that go through one circuit each, because amplifiers hold their lines at the same levels."""
    batch = ends["left"].volts.shape[1]
    levels = [end.volts[end.connected] for end in ends.values() if end.amplifier]
    if not levels:
        return [np.arange(batch)]
    _, kinds = np.unique(np.vstack(levels), axis=1, return_inverse=True)
    return [np.flatnonzero(kinds.ravel() == kind) for kind in range(int(kinds.max(initial=-1)) + 1)]


def _folder(name: str, folder: object) -> Path:
    if not isinstance(folder, str | os.PathLike):
        raise InvalidInputError(f"{name} must name folders by text or paths, got {folder!r}")
    return Path(folder)


def _wait_for(reads: Sequence[Future[FloatArray]]) -> None:
    """Wait until all reads have ended, well or badly.

    Ctrl-C does not wake a thread that was just about to fall asleep, so this one never sleeps for long.
    """
    while wait(reads, timeout=LONGEST_SLEEP).not_done:
        pass


def share(cells: Sequence[int], workers: int | None = None) -> list[tuple[int, ...]]:
    """Which arrays a worker has, so that all have about as many cells.

    Args:
        cells: of each array.
        workers: their number; as many as there are cores and work for when left out. A process of a study and one that
            was started by `multiprocessing` have their siblings on the other cores, and take one.

    Returns:
        Indices of the arrays of each worker, ascending.

    Example:
        >>> share([1024, 256, 256, 512], workers=2)
        [(0,), (1, 2, 3)]
    """
    if workers is None:
        workers = min(own_cores(), max(1, sum(cells) // CELLS_WORTH_A_WORKER))
    groups: list[list[int]] = [[] for _ in range(min(workers, len(cells)) or 1)]
    loads = [0] * len(groups)
    for index in sorted(range(len(cells)), key=lambda index: -cells[index]):
        least = loads.index(min(loads))
        groups[least].append(index)
        loads[least] += cells[index]
    return [tuple(sorted(group)) for group in groups]


def sources(deck: Deck) -> list[Terminal]:
    """The terminals that are voltage sources."""
    return [terminal for terminal in deck.terminals if terminal.source]


def outputs(deck: Deck) -> list[Terminal]:
    """The terminals that are amplifiers."""
    return [terminal for terminal in deck.terminals if terminal.output]
