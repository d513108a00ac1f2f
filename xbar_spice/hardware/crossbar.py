"""A memristor crossbar as a frozen value: conductances, wires, and what is connected to the ends of its lines.

Rows are word lines, columns are bit lines; the ideal forward read is `i_cols = conductance.T @ v_rows`.
One wire segment lies between neighbouring cells of a line and one between a connected end and its first cell.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, final

import numpy as np

from xbar_spice.checks import Array, Instance, Many, OneOf, Optional, Real, Rule, Whole, settle, warn
from xbar_spice.errors import DeviceError, InvalidInputError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.cells import Device, Ohmic
from xbar_spice.linear.operator import FloatArray

__all__ = ["PARTS", "Connection", "Crossbar", "Hookup", "Side", "Terminations"]

Side = Literal["rows", "cols"]
Edge = Literal["left", "right", "top", "bottom"]

SIDES: tuple[Side, Side] = ("rows", "cols")
OPPOSITE: dict[Edge, Edge] = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
EDGE_SIDE: dict[Edge, Side] = {"left": "rows", "right": "rows", "top": "cols", "bottom": "cols"}
LARGEST_CELL = 1.0  # siemens; memristors have a millionth to a thousandth of that
ROUNDING = 1e-9  # of the range of a law
RESISTANCES = ("r_word", "r_bit", "r_driver", "r_sense")


@final
@dataclass(frozen=True)
class Connection:
    """What is connected to one end of every line of a side: a voltage source behind a resistance, or an amplifier.

    A sense terminal without an amplifier is a source of 0 V whose current is the result, so that both kinds of terminal
    are the same circuit.
    """

    edge: Edge
    resistance: float
    amplifier: Amplifier | None = None

    @property
    def side(self) -> Side:
        """The lines that end at this edge."""
        return EDGE_SIDE[self.edge]

    @property
    def load(self) -> float:
        """Ohm between the line and 0 V, the input resistance of an amplifier included; its value at small currents."""
        return self.resistance + (self.amplifier.input_resistance if self.amplifier else 0.0)


@final
@dataclass(frozen=True)
class Hookup:
    """The connections of one read: which ends are driven, which are sensed; other ends are open."""

    driven: tuple[Connection, ...]
    sensed: tuple[Connection, ...]

    @property
    def connections(self) -> frozenset[Connection]:
        """All connections, whatever their role: equal sets mean the same physical circuit."""
        return frozenset(self.driven + self.sensed)


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
    """

    drive: Literal["single", "double"] = "single"
    transposed: Literal["same_ends", "swapped_ends", "far_ends"] = "same_ends"

    def __post_init__(self) -> None:
        settle(self, drive=OneOf("single", "double"), transposed=OneOf("same_ends", "swapped_ends", "far_ends"))


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
        r_word: ohm per segment of a word line (row); 0 makes the whole line one node.
        r_bit: ohm per segment of a bit line (column).
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
    r_word: float = 0.0
    r_bit: float = 0.0
    r_driver: float = 0.0
    r_sense: float = 0.0
    device: Device = field(default_factory=Ohmic)
    terminations: Terminations = field(default_factory=Terminations)
    open_rows: tuple[int, ...] = ()
    amplifier: Amplifier = field(default_factory=Amplifier)
    reltol: float | None = None

    def __post_init__(self) -> None:
        settle(self, conductance=Array(), **PARTS)
        object.__setattr__(self, "conductance", _checked_conductance(self.conductance))
        for name in RESISTANCES:
            object.__setattr__(self, name, float(getattr(self, name)))
        self.device.require_known(self.conductance)
        _warn_of_doubts(self.conductance, self.device)
        rows = Many(Whole(0, self.shape[0] - 1))("open_rows", self.open_rows)
        object.__setattr__(self, "open_rows", tuple(sorted(set(rows))))

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

    def applied(self, volts: FloatArray, side: Side) -> FloatArray:
        """(ports, ...) volts of a drive as they reach the array: 0 V at lines without terminals."""
        if side == "cols" or not self.open_rows:
            return volts
        applied = volts.copy()
        applied[list(self.open_rows)] = 0.0
        return applied

    def across_cells(self, volts: FloatArray, side: Side) -> tuple[float, float]:
        """Bounds of the voltages, word line minus bit line, that the cells see in reads with (ports, ...) volts.

        All nodes lie between the voltages of the terminals. A cell of a line driven with D is as near to D, too, as
        the largest currents that its two lines could carry leave it, which is the smaller bound if resistances are low.
        """
        low, high = float(volts.min(initial=0.0)), float(volts.max(initial=0.0))
        reach = high - low
        driven = (low, high) if _checked_side(side) == "rows" else (-high, -low)
        if not reach or self.open_rows or not self.amplifier.linear:
            return -reach, reach
        currents = np.maximum(*(np.abs(self.device.current(self.conductance, np.array(v))) for v in (reach, -reach)))
        loads = {end.side: end.load for end in (*self.hookup(side).driven, *self.hookup(side).sensed)}
        rows, cols = self.shape
        lost = (loads["rows"] + (cols + 1) * self.r_word) * currents.sum(axis=1).max()
        lost += (loads["cols"] + (rows + 1) * self.r_bit) * currents.sum(axis=0).max()
        return max(driven[0] - lost, -reach), min(driven[1] + lost, reach)

    def require_known_voltages(self, volts: FloatArray, side: Side) -> None:
        """Refuse reads in which a cell could see more than its law knows.

        Args:
            volts: (ports, ...) of the driven side.
            side: the driven side.

        Raises:
            DeviceError: the cells' law has a `voltage_range` that these drives may leave.
        """
        if self.device.voltage_range is None or not np.isfinite(volts).all():
            return
        known = self.device.voltage_range
        slack = ROUNDING * max(map(abs, known))
        if volts.max(initial=0.0) - volts.min(initial=0.0) <= min(-known[0], known[1]) + slack:
            return
        across = self.across_cells(volts, side)
        if across[0] < known[0] - slack or across[1] > known[1] + slack:
            raise DeviceError(
                f"cells may see {across[0]:.4g} to {across[1]:.4g} V when side={side!r} is driven with "
                f"{volts.min(initial=0.0):.4g} to {volts.max(initial=0.0):.4g} V, and {self.device!r} is known from "
                f"{known[0]:.4g} to {known[1]:.4g} V: lower v_read, or measure further"
            )

    def segment_resistance(self, side: Side) -> float:
        """Ohm per segment of the lines of a side."""
        return self.r_word if _checked_side(side) == "rows" else self.r_bit

    def hookup(self, side: Side) -> Hookup:
        """The connections of a read that drives `side`."""
        at_left, at_bottom = self._ends("left", self.r_driver), (Connection("bottom", self.r_sense),)
        if _checked_side(side) == "rows":
            return Hookup(at_left, self._sensed(at_bottom))
        match self.terminations.transposed:
            case "same_ends":
                return Hookup(at_bottom, self._sensed(at_left))
            case "swapped_ends":
                swapped = (Connection("bottom", self.r_driver),)
                return Hookup(swapped, self._sensed(self._ends("left", self.r_sense)))
            case "far_ends":
                at_right = (Connection("right", self.r_sense),)
                return Hookup(self._ends("top", self.r_driver), self._sensed(at_right))

    def _ends(self, edge: Edge, resistance: float) -> tuple[Connection, ...]:
        """The connections at an edge, and at the opposite one too if the array is connected at both ends."""
        near = Connection(edge, resistance)
        ideal_line = resistance == 0 and self.segment_resistance(near.side) == 0
        if self.terminations.drive == "single" or ideal_line:  # both ends of an ideal line are one node
            return (near,)
        return near, Connection(OPPOSITE[edge], resistance)

    def _sensed(self, ends: tuple[Connection, ...]) -> tuple[Connection, ...]:
        """The same ends with an amplifier at each, if there are any."""
        return tuple(replace(end, amplifier=self.amplifier) for end in ends) if self.amplifier.present else ends


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


def _checked_side(side: Side) -> Side:
    checked: Side = OneOf(*SIDES)("side", side)
    return checked
