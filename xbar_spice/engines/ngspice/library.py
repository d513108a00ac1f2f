"""libngspice as PySpice binds it, with its messages read for what they mean. Lives in the worker process only."""

from __future__ import annotations

import os
import time
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.engines.ngspice.locate import require_library
from xbar_spice.engines.ngspice.messages import Cause, Severity, classify, diagnose

with warnings.catch_warnings():
    # PySpice's docstrings hold TeX in plain strings, an error where warnings are errors.
    warnings.simplefilter("ignore")
    from PySpice.Spice.NgSpice.Shared import NgSpiceShared, ffi

__all__ = ["LibraryFailure", "Ngspice"]

COMMANDS_KEPT = 1000  # ngspice keeps all until it is told to forget them; small, because most set a gain each
LINES_KEPT = 40  # of the simulator's last output, to be quoted in an error
NOT_SETTLED = (
    "no operating point was found, only the end of a transient analysis of 10 us, in which what the circuit stores "
    "need not have settled; try a larger reltol"
)
PROBE_DECK = "* which linear solver\nV1 1 0 1\nR1 1 0 1\n.options klu\n.op\n.end\n"


@final
class LibraryFailure(Exception):  # noqa: N818 - the supervisor turns it into one of the package's errors
    """The simulator reported a failure, or did not give the results that it was asked for."""

    def __init__(self, text: str, lines: list[str], cause: Cause = Cause.OTHER) -> None:
        super().__init__(text)
        self.text = text
        self.lines = lines
        self.cause = cause


@final
class Ngspice(NgSpiceShared):  # type: ignore[misc]  # PySpice has no types
    """The one simulator of this process: libngspice holds its state in globals.

    The callbacks replace those of PySpice, which take every line on stderr for an error and build Python objects
    for every vector of every solution.
    """

    def __init__(self) -> None:
        self._wanted: list[bytes] = []
        self._missing: list[str] = []
        self._places: list[int] = []  # of the wanted vectors among those of the analysis
        self._kind: type[float] | type[complex] = float
        self._collected: list[list[float]] = []
        self._volts: list[list[float]] = []
        self._rows: dict[bytes, int] = {}
        self._first = 0
        self._now: list[float] = []
        self._recent: deque[str] = deque(maxlen=LINES_KEPT)
        self._failures: list[str] = []
        self.warnings: list[str] = []
        self.busy = 0.0  # seconds spent on commands
        self._commands = 0  # that the simulator keeps
        self._path = require_library()
        with _no_user_files():
            super().__init__(send_data=True)
        # ngspice >= 40 estimates the memory of a run beforehand, overflows on long sweeps, and refuses them.
        self.run("set no_mem_check")

    @property
    def library_path(self) -> str:
        """What PySpice hands to the loader; its own names miss Debian's libngspice.so.0."""
        return self._path

    # --- commands -------------------------------------------------------------------------------------------------

    def run(self, *commands: str, tolerated: Sequence[Cause] = ()) -> None:
        """Run commands that the engine wrote.

        PySpice runs one at a time, logs each, and copies what was printed, which takes a small read a tenth more.

        Args:
            *commands: The commands; what they print is looked at when all have run.
            tolerated: Failures for these causes do not count, because the analysis goes on after them.

        Raises:
            LibraryFailure: the simulator reported a failure.
        """
        self._failures.clear()
        self.clear_output()
        start = time.perf_counter()
        try:
            self._commands += len(commands)
            if self._commands > COMMANDS_KEPT:
                self._ngspice_shared.ngSpice_Command(ffi.NULL)
                self._commands = 0
            for command in commands:
                if self._ngspice_shared.ngSpice_Command(command.encode()):
                    raise self.failure(f"ngspice refused {command!r}")
        finally:
            self.busy += time.perf_counter() - start
        self._check(tolerated)

    def behave(self, behaviour: str, compiled: Sequence[str]) -> None:
        """Read decks in one of the simulator's modes from now on, if it is not empty, and load libraries of models."""
        if behaviour:
            self.run(f"set ngbehavior={behaviour}")
        for path in compiled:
            self.run(f"osdi {path}")

    def load(self, lines: list[str]) -> None:
        """Load a circuit.

        Raises:
            LibraryFailure: the simulator could not read it as it stands.
        """
        self._failures.clear()
        try:
            self.load_circuit("\n".join(lines))  # which adds the empty line that ngspice wants after `.end`
        except NameError as error:
            raise self.failure(str(error)) from error
        self._check()

    def give_up_circuit(self) -> None:
        """Take the circuit out again, if there is one, and forget what was said about it."""
        with suppress(LibraryFailure):
            self.run("remcirc")
        self._recent.clear()
        self.warnings.clear()

    @cached_property
    def klu(self) -> bool:
        """Whether KLU solves; found by one resistor, because older versions ignore the option silently.

        To be asked for before a circuit is loaded.
        """
        self._recent.clear()
        self.load(PROBE_DECK.splitlines())
        self.run("op")
        self.run("destroy all")
        self.run("remcirc")
        return any("klu" in line.lower() for line in self._recent)

    # --- results ----------------------------------------------------------------------------------------------------

    def collect(self, names: Sequence[str], kind: type[float] | type[complex]) -> None:
        """Say which vectors are the results of each point from now on, and whether they are complex."""
        self._wanted = [name.lower().encode() for name in names]
        self._places, self._missing = [], []
        self._kind = kind
        self._collected.clear()

    def collected(self, points: int | None = None) -> NDArray[Any]:
        """The results of the last points, (points, names), or of all; they are forgotten by this.

        Raises:
            LibraryFailure: there are fewer points, or none, or a vector is missing.
        """
        found = self._collected[-points:] if points else self._collected[:]
        self._collected.clear()
        if self._missing:
            raise self.failure(f"the circuit has no {', '.join(self._missing)}")
        if len(found) < (points or 1):
            raise self.failure(
                f"{points} solutions were asked for, {len(found)} came" if points else "no solution came"
            )
        results = np.array(found)
        return results if self._kind is float else results.view(complex)

    # --- voltages of external sources -----------------------------------------------------------------------------

    def drive_sources(self, names: list[str]) -> None:
        """Say which rows of the voltages belong to which external sources."""
        self._rows = {name.lower().encode(): row for row, name in enumerate(names)}

    def drive_points(self, first: int, volts: NDArray[np.float64]) -> None:
        """Voltages of the next solutions: column k of (sources, points) belongs to point `first` + k of the plot."""
        self._volts = volts.T.tolist()
        self._first = first
        self._now = self._volts[0]

    # --- callbacks: an exception in one is printed into the log and 0 is returned -----------------------------------

    @staticmethod
    def _get_vsrc_data(voltage: Any, time: float, name: Any, ident: int, user_data: Any) -> int:
        self = ffi.from_handle(user_data)
        voltage[0] = self._now[self._rows[ffi.string(name)]]
        return 0

    @staticmethod
    def _send_data(data: Any, count: int, ident: int, user_data: Any) -> int:
        """A point of the analysis is done: keep its results and turn to the voltages of the next one."""
        self = ffi.from_handle(user_data)
        # To ask for each vector by name afterwards would take ngspice a tenth of a small read.
        vectors = data.vecsa
        if not data.vecindex or len(self._places) < len(self._wanted):
            names = {ffi.string(vectors[k].name).lower(): k for k in range(data.veccount)}
            self._places = [names[name] for name in self._wanted if name in names]
            self._missing = [name.decode() for name in self._wanted if name not in names]
        if len(self._places) == len(self._wanted):
            if self._kind is float:
                self._collected.append([vectors[k].creal for k in self._places])
            else:
                self._collected.append([part for k in self._places for part in (vectors[k].creal, vectors[k].cimag)])
        following = data.vecindex + 1 - self._first
        if 0 <= following < len(self._volts):
            self._now = self._volts[following]
        return 0

    @staticmethod
    def _send_char(message: Any, ident: int, user_data: Any) -> int:
        self = ffi.from_handle(user_data)
        stream, _, line = ffi.string(message).decode("utf-8", "replace").partition(" ")
        line = line.strip()
        with suppress(OSError):  # on a full disk the log has an end, but no line goes unread
            os.write(2, f"{line}\n".encode())  # unbuffered, so that it is there even if the library crashes next
        self._stdout.append(line)  # where PySpice reads the version from
        if not line:
            return 0
        self._recent.append(line)
        severity = classify(line, stream)
        if severity is Severity.SUCCESS:
            self._failures.clear()
        elif severity is Severity.FAILURE:
            self._failures.append(line)
        elif severity is Severity.WARNING:
            self.warnings.append(line)
        return 0

    @staticmethod
    def _exit(status: int, immediate: bool, quit_asked: bool, ident: int, user_data: Any) -> int:
        self = ffi.from_handle(user_data)
        if not self._failures:
            # What it would do after this is not to be relied on; the supervisor knows how to go on.
            os.write(2, f"ngspice exits with status {status}\n".encode())
            os._exit(status)
        return status

    def _check(self, tolerated: Sequence[Cause] = ()) -> None:
        if any(diagnose([line]) not in tolerated for line in self._failures):
            raise self.failure("")

    def failure(self, text: str) -> LibraryFailure:
        """A failure in the simulator's words if it has reported one, and else in these."""
        failures = self._failures or [text]
        # That an operating point was left to settle says less than why, and why it did not.
        said = [line for line in failures if diagnose([line]) is not Cause.SETTLED] or [NOT_SETTLED]
        return LibraryFailure(said[0], list(self._recent), diagnose(failures))


@contextmanager
def _no_user_files() -> Iterator[None]:
    """Keep the library from `.spiceinit` and `spice.rc`, which it looks for where the user works and at home.

    They may change how decks are read and how exactly they are solved. Only the initialisation sees another place, so
    that relative names of files in a deck still mean what they say.
    """
    nowhere = str(Path(__file__).parent)  # a folder that is there and has no such files
    working, home = os.open(".", os.O_RDONLY), os.environ.get("HOME")  # open, it may have been deleted and be left
    os.chdir(nowhere)
    os.environ["HOME"] = nowhere
    try:
        yield
    finally:
        os.fchdir(working)
        os.close(working)
        if home is None:
            del os.environ["HOME"]
        else:
            os.environ["HOME"] = home
