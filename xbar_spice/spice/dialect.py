"""The languages in which decks are exported: what a deck of one says, what stands beside it, and who runs it."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

from xbar_spice.errors import ReadTimeoutError, SimulationError
from xbar_spice.hardware.biases import End
from xbar_spice.hardware.crossbar import Crossbar, Edge, Side
from xbar_spice.hardware.reads import read_ends
from xbar_spice.linear.operator import FloatArray
from xbar_spice.spice.netlist import Deck, drive_volts
from xbar_spice.spice.raw_file import operating_point

__all__ = ["Dialect", "ReadDeck", "results_of", "run_batch"]

LINES = 12  # of the simulator, quoted


@final
@dataclass(frozen=True)
class ReadDeck:
    """What an exported deck says: one read of some arrays.

    Attributes:
        crossbars: the arrays.
        names: of the arrays; one empty name writes one array flat.
        drives: (ports,) volts for each array.
        side: the driven side.
        title: first line of the deck.
        comments: more to say at its head.
        netlists: folders of the user's own templates, searched first.
        root: the folder with all that the decks need, as seen from that of this deck, with a slash at its end.
    """

    crossbars: Sequence[Crossbar]
    names: Sequence[str]
    drives: Sequence[FloatArray]
    side: Side
    title: str
    comments: Mapping[str, object]
    netlists: Sequence[Path] = ()
    root: str = ""

    @property
    def ends(self) -> list[Mapping[Edge, End]]:
        """What stands at every edge of each array."""
        return [
            read_ends(crossbar, self.side, drive_volts(crossbar, drive, self.side))
            for crossbar, drive in zip(self.crossbars, self.drives, strict=True)
        ]


class Dialect(ABC):
    """A language of decks."""

    suffix: ClassVar[str]
    """Of the files."""
    by_hand: ClassVar[str] = ""
    """How a deck is run, with {} for its name; empty where decks say that themselves."""

    @abstractmethod
    def write(self, read: ReadDeck) -> Deck:
        """The deck of a read.

        Raises:
            InvalidInputError: there is something in it that this language has no words for.
        """

    def companions(self, crossbars: Sequence[Crossbar], folder: Path) -> list[Path]:
        """Write into a folder what decks of these arrays need beside them, and say which files these are."""
        return []

    @abstractmethod
    def run(self, deck: Path, folder: Path, behaviour: str, seconds: float) -> Mapping[str, float]:
        """Run a deck by a simulator that reads it.

        Args:
            deck: its file.
            folder: where its companions are.
            behaviour: mode of ngspice that the deck needs.
            seconds: that it may take.

        Returns:
            Amperes and volts by the name that `Terminal.result` has for them.

        Raises:
            EngineUnavailableError: there is no such simulator.
            SimulationError: the deck has no solution.
            ReadTimeoutError: it took longer than it may.
        """


def run_batch(command: Sequence[str], folder: Path, deck: Path, seconds: float) -> str:
    """Run a simulator in a folder; what it says.

    Raises:
        SimulationError: it ends with another status than 0; the text quotes it, and says how to run it by hand.
        ReadTimeoutError: it took longer.
    """
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise ReadTimeoutError(f"{deck}: took longer than {seconds:g} s") from None
    if done.returncode:
        ended = f"{deck}: {Path(command[0]).name} ended with status {done.returncode}"
        by_hand = f"run by hand: cd {folder} && {' '.join(command)}"
        raise SimulationError(_quoted(f"{ended}; {by_hand}", f"{done.stdout}\n{done.stderr}"))
    return done.stdout


def results_of(raw_file: Path, deck: Path, said: str) -> Mapping[str, float]:
    """The operating point that a simulator wrote.

    Raises:
        SimulationError: there is none; the text quotes what the simulator said.
    """
    found = operating_point(raw_file)
    if found is None:
        raise SimulationError(_quoted(f"{deck}: its simulator ended well, without a result", said))
    return found


def _quoted(what: str, said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()][-LINES:]
    return "\n".join([what, *(f"    {line}" for line in lines)])
