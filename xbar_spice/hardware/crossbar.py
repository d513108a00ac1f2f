"""A memristor crossbar as a frozen value: conductances, wires, and what is connected to the ends of its lines.

Rows are word lines, columns are bit lines; the ideal forward read is `i_cols = conductance.T @ v_rows`.
One wire segment lies between neighbouring cells of a line and one between a connected end and its first cell.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, final

import numpy as np

from xbar_spice.checks import Array, Instance, Many, OneOf, Optional, Real, Rule, Whole, settle, warn
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.cells import Device, Ohmic
from xbar_spice.linear.operator import FloatArray
from xbar_spice.settings import setting

__all__ = ["PARTS", "Crossbar", "Edge", "Hookup", "Side", "Terminations", "other"]

Side = Literal["rows", "cols"]
Edge = Literal["left", "right", "top", "bottom"]

SIDES: tuple[Side, Side] = ("rows", "cols")
OPPOSITE: dict[Edge, Edge] = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
EDGE_SIDE: dict[Edge, Side] = {"left": "rows", "right": "rows", "top": "cols", "bottom": "cols"}
LARGEST_CELL = 1.0  # siemens; memristors have a millionth to a thousandth of that
RESISTANCES = ("r_word", "r_bit", "r_driver", "r_sense")


@final
@dataclass(frozen=True)
class Hookup:
    """Which edges a read drives and which it senses; the others are open. `read_ends` says what stands there."""

    driven: tuple[Edge, ...]
    sensed: tuple[Edge, ...]


@final
@dataclass(frozen=True)
class Terminations:
    """Which ends of the lines a read uses.

    Attributes:
        drive: "single" drives one end of each line, "double" both ends.
        transposed: where a transposed read meets the array.
            "same_ends": the columns are driven and the rows sensed where the forward read senses and drives them,
            through the very same resistances. Without amplifiers it is the same circuit, hence by reciprocity exactly
            the transposed matrix for linear cells. Amplifiers stand at the sensed ends, so they move: the two matrices
            then differ by what the input resistance of an amplifier does.
            "swapped_ends": the same ends, but `r_driver` goes with the drivers and `r_sense` with the sense amplifiers.
            "far_ends": columns driven at the top through `r_driver`, rows sensed at the right through `r_sense`.
        sense: "double" senses both ends of each line, and adds their currents.
    """

    drive: Literal["single", "double"] = setting(
        "single", "Connect one end of the word lines to drivers, or both.", "Wires and terminals"
    )
    transposed: Literal["same_ends", "swapped_ends", "far_ends"] = setting(
        "same_ends", "Where a transposed read meets the array.", "Wires and terminals"
    )
    sense: Literal["single", "double"] = setting(
        "single", "Connect one end of the bit lines to sense terminals, or both.", "Wires and terminals"
    )

    def __post_init__(self) -> None:
        ends = OneOf("single", "double")
        settle(self, drive=ends, transposed=OneOf("same_ends", "swapped_ends", "far_ends"), sense=ends)


@final
@dataclass(frozen=True)
class _Ohms(Rule[Any]):
    """Ohm of every segment of the lines of a side: one number, or an array of numbers."""

    allowed: str = Real("ohm", least=0).allowed

    def checked(self, value: Any) -> Any:
        if np.ndim(value) == 0:
            return Real("ohm", least=0).checked(value)
        ohms = Array().checked(value).copy()
        if (ohms < 0).any():
            raise ValueError(f"there is {ohms.min():g} in it")
        ohms.setflags(write=False)
        return ohms


PARTS: dict[str, Rule[Any]] = {
    **dict.fromkeys(RESISTANCES, Real("ohm", least=0)),
    "device": Instance(Device, example="Ohmic()", advice='load_device("...") makes one from a name'),
    "terminations": Instance(Terminations, example='Terminations(drive="double", transposed="far_ends")'),
    "amplifier": Instance(
        Amplifier, example="Amplifier(r_feedback=1e4, gain=1e5)", advice="leave it out for a sense terminal at 0 V"
    ),
    "reltol": Optional(Real(above=0, below=1), "for that of the kind of cell"),
}
"""What wires, terminals and cells of an array may be."""


@final
@dataclass(frozen=True, eq=False)
class Crossbar:
    """A programmed array with its wires and terminations.

    Args:
        conductance: (rows, cols), siemens; 0 is a missing cell. Any array-like; kept as a read-only copy.
        r_word: ohm per segment of a word line (row); 0 makes the whole line one node. One number, (rows,) for one of
            each line, or (rows, cols + 1) for one of each segment, from the left terminal to the right one.
        r_bit: ohm per segment of a bit line (column); one number, (cols,), or (rows + 1, cols) from top to bottom.
        r_driver: ohm between each source and its line.
        r_sense: ohm between each line and its sense terminal at 0 V.
        device: law of the cells.
        terminations: which ends of the lines a read uses.
        open_rows: word lines that no terminal touches. They float at the voltage at which they carry no current; drives
            of such lines do nothing, and a read that senses them finds 0 A.
        amplifier: what holds the sensed ends of the lines at 0 V, behind `r_sense`; without one, a source of 0 V does.
        reltol: what ngspice's Newton method stops by, relative to each voltage and current; by kind of cell when left
            out, see `circuit.tolerances`. Stands in the decks; other engines have tolerances of their own.

    Raises:
        InvalidInputError: a value is not finite, negative, or of the wrong shape, or there is no such word line.

    Example:
        >>> Crossbar([[1e-4, 2e-4], [3e-4, 4e-4]], r_word=1.0, r_bit=1.0).shape
        (2, 2)
    """

    conductance: FloatArray
    r_word: float | FloatArray = 0.0
    r_bit: float | FloatArray = 0.0
    r_driver: float = 0.0
    r_sense: float = 0.0
    device: Device = field(default_factory=Ohmic)
    terminations: Terminations = field(default_factory=Terminations)
    open_rows: tuple[int, ...] = ()
    amplifier: Amplifier = field(default_factory=Amplifier)
    reltol: float | None = None

    def __post_init__(self) -> None:
        settle(self, conductance=Array(), **PARTS | {"r_word": _Ohms(), "r_bit": _Ohms()})
        object.__setattr__(self, "conductance", _checked_conductance(self.conductance))
        for name in ("r_driver", "r_sense"):
            object.__setattr__(self, name, float(getattr(self, name)))
        rows, cols = self.shape
        word, bit = ((rows,), (rows, cols + 1)), ((cols,), (rows + 1, cols))
        object.__setattr__(self, "r_word", _checked_segments("r_word", self.r_word, *word))
        object.__setattr__(self, "r_bit", _checked_segments("r_bit", self.r_bit, *bit))
        self.device.require_known(self.conductance)
        _warn_of_doubts(self.conductance, self.device)
        open_rows = Many(Whole(0, rows - 1))("open_rows", self.open_rows)
        object.__setattr__(self, "open_rows", tuple(sorted(set(open_rows))))

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        rows, cols = self.conductance.shape
        return rows, cols

    @property
    def linear(self) -> bool:
        """Whether the result of a read is proportional to the drive."""
        return self.device.linear and self.amplifier.linear

    def ports(self, side: Side) -> int:
        """Number of lines of a side."""
        return self.shape[0] if _checked_side(side) == "rows" else self.shape[1]

    def connected(self, side: Side) -> tuple[int, ...]:
        """The lines of a side that have terminals."""
        open_lines = self.open_rows if side == "rows" else ()
        return tuple(line for line in range(self.ports(side)) if line not in open_lines)

    @property
    def bare_rows(self) -> tuple[int, ...]:
        """Open word lines without any cell: nothing fixes their voltage, and they are no part of the circuit."""
        return tuple(row for row in self.open_rows if not self.conductance[row].any())

    @property
    def floating_rows(self) -> tuple[int, ...]:
        """Open word lines with cells, which alone fix their voltage."""
        return tuple(row for row in self.open_rows if self.conductance[row].any())

    def applied(self, volts: FloatArray, side: Side) -> FloatArray:
        """(ports, ...) volts of a drive as they reach the array: 0 V at lines without terminals."""
        if side == "cols" or not self.open_rows:
            return volts
        applied = volts.copy()
        applied[list(self.open_rows)] = 0.0
        return applied

    @property
    def even(self) -> bool:
        """Whether all segments of the word lines are equal, and all of the bit lines."""
        return isinstance(self.r_word, float) and isinstance(self.r_bit, float)

    def segment_resistance(self, side: Side) -> float:
        """Ohm per segment of the lines of a side.

        Raises:
            InvalidInputError: the segments of this side differ.
        """
        name = "r_word" if _checked_side(side) == "rows" else "r_bit"
        ohms: float | FloatArray = getattr(self, name)
        if not isinstance(ohms, float):
            raise InvalidInputError(
                f"this takes wires of one resistance, got {name} of shape {ohms.shape}; give one number, or use reads, "
                "biases, solve_array or sensitivities, which take segments of any"
            )
        return ohms

    def segments(self, side: Side) -> FloatArray:
        """(lines, cells + 1) ohm of the segments of the lines of a side, from left to right or from top to bottom."""
        rows, cols = self.shape
        if _checked_side(side) == "rows":
            ohms = np.asarray(self.r_word)
            return np.broadcast_to(ohms[:, np.newaxis] if ohms.ndim == 1 else ohms, (rows, cols + 1))
        return np.broadcast_to(self.r_bit, (rows + 1, cols)).T

    def hookup(self, side: Side) -> Hookup:
        """The edges of a read that drives `side`."""
        return self._hookups[_checked_side(side)]

    @cached_property
    def _hookups(self) -> dict[Side, Hookup]:
        """Of both sides: every read asks for its own several times."""
        return {side: self._hookup(side) for side in SIDES}

    def _hookup(self, side: Side) -> Hookup:
        drive, sense = self.terminations.drive, self.terminations.sense
        near: tuple[tuple[Edge, str], tuple[Edge, str]] = (("left", drive), ("bottom", sense))
        if side == "cols":
            far = self.terminations.transposed == "far_ends"
            near = (("top", drive), ("right", sense)) if far else (near[1], near[0])
        names = self.resistance_names(side)
        driven, sensed = (self._edges(edge, ends, getattr(self, names[EDGE_SIDE[edge]])) for edge, ends in near)
        return Hookup(driven, sensed)

    def resistance_names(self, side: Side) -> dict[Side, Literal["r_driver", "r_sense"]]:
        """Which resistance is at the ends of word lines, and which at those of bit lines, when `side` is driven."""
        if side == "cols" and self.terminations.transposed != "same_ends":
            return {"rows": "r_sense", "cols": "r_driver"}
        return {"rows": "r_driver", "cols": "r_sense"}

    def _edges(self, edge: Edge, ends: str, resistance: float) -> tuple[Edge, ...]:
        """An edge, and the opposite one too if its lines are connected at both ends."""
        if ends == "single":
            return (edge,)
        if resistance == 0 and not self.segments(EDGE_SIDE[edge]).any():  # both ends of an ideal line are one node
            return (edge,)
        return edge, OPPOSITE[edge]


def other(side: Side) -> Side:
    """The side that is sensed when this one is driven."""
    return "cols" if side == "rows" else "rows"


def _checked_conductance(conductance: FloatArray) -> FloatArray:
    values = np.array(conductance)
    if values.ndim != 2 or not values.size:
        raise InvalidInputError(f"conductance must have shape (rows, cols) with at least one cell, got {values.shape}")
    if (values < 0).any():
        raise InvalidInputError(
            f"conductance must be >= 0 S, got {values.min():g}; map signed weights with xbar_spice.mapping.matrix"
        )
    values.setflags(write=False)
    return values


def _checked_segments(
    name: str, ohms: float | FloatArray, each_line: tuple[int, ...], each_segment: tuple[int, ...]
) -> float | FloatArray:
    """One number where all are equal, which the fastest methods need."""
    if np.ndim(ohms) and np.shape(ohms) not in (each_line, each_segment):
        raise InvalidInputError(
            f"{name} must be one number, of shape {each_line} for one of each line, or {each_segment} for one of each "
            f"segment, got shape {np.shape(ohms)}"
        )
    least, most = float(np.min(ohms)), float(np.max(ohms))
    return least if least == most else ohms


def _warn_of_doubts(conductance: FloatArray, device: Device) -> None:
    """Say what hardly can be meant; the texts are the same for all arrays of a design, so that each is said once."""
    if conductance.max() > LARGEST_CELL:
        warn(f"cells of more than {LARGEST_CELL:g} S carry amperes: conductance is in siemens, and 100 uS are 1e-4 S")
    if device.fitted_range is not None:
        low, high = device.fitted_range
        cells = conductance[conductance > 0]
        if ((cells < low) | (cells > high)).any():
            warn(
                f"cells outside {low:g} .. {high:g} S, where {type(device).__name__} was fitted: keep g_min, g_max and "
                "what variation makes of them inside, or fit the device anew"
            )


_ONE_SIDE = OneOf(*SIDES)


def _checked_side(side: Side) -> Side:
    checked: Side = _ONE_SIDE("side", side)
    return checked
