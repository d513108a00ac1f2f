"""What is connected to the ends of the lines of an array: for every end volts behind ohms, or nothing.

A read is a case of it: drivers at one side, 0 V at the other, nothing at the rest. So are the schemes of programming,
half-selected and floating lines, lines held at both ends, and every terminal with a resistance of its own.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xbar_spice.checks import Array, Many, OneOf, Real, Rule, Whole, checked, settle
from xbar_spice.errors import InvalidInputError, SingularCircuitError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.crossbar import EDGE_SIDE, Crossbar, Edge, Side
from xbar_spice.linear.operator import FloatArray

__all__ = [
    "EDGES",
    "OPPOSITE_EDGES",
    "Biases",
    "Currents",
    "End",
    "half_select",
    "held_lines",
    "name_lines",
    "require_held",
    "require_resistance",
]

EDGES: tuple[Edge, ...] = ("left", "right", "top", "bottom")
OPPOSITE_EDGES: tuple[tuple[Edge, Edge], ...] = (("left", "right"), ("top", "bottom"))
BoolArray = NDArray[np.bool_]


@final
@dataclass(frozen=True)
class _Ends(Rule[Any]):
    """Values at the ends of the lines of an edge: one for all or one a line; None and NaN are open ends."""

    unit: str
    least: float
    axes: int

    @property
    def allowed(self) -> str:
        shapes = "one number, (lines,)" if self.axes == 1 else "one number, (lines,) or (lines, batch)"
        bound = f" >= {self.least:g}" if np.isfinite(self.least) else ""
        return f"{shapes}{bound} {self.unit}, or None; NaN and None are open ends"

    def checked(self, value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, bool | np.bool_):
            raise ValueError("True and False are no numbers")
        values = Array(finite=False).checked(value).copy()
        if values.ndim > self.axes or not values.size:
            raise ValueError(f"it has the shape {values.shape}")
        if np.isinf(values).any():
            raise ValueError("there is infinity in it: leave an end open with NaN")
        if (values < self.least).any():
            raise ValueError(f"there is {np.nanmin(values):g} in it")
        values.setflags(write=False)
        return values


@final
@dataclass(frozen=True, eq=False)
class End:
    """What is connected to the lines of an array at one edge.

    Attributes:
        edge: which one.
        connected: (lines,) whether there is a terminal.
        volts: (lines, batch) of the terminals, 0 where there is none.
        ohms: (lines,) between a terminal and its line, or where one would be. The first wire segment comes on top.
        amplifier: what holds the lines at these volts; None for sources.
        gates: (lines,) volts of the gate lines beside word lines; None where gates follow their bit lines.
    """

    edge: Edge
    connected: BoolArray
    volts: FloatArray
    ohms: FloatArray
    amplifier: Amplifier | None = None
    gates: FloatArray | None = None

    @property
    def load(self) -> FloatArray:
        """(lines,) ohm between a line and its volts, the input resistance of an amplifier included."""
        return self.ohms + (self.amplifier.input_resistance if self.amplifier else 0.0)

    def returned(self, amperes: FloatArray) -> FloatArray:
        """(lines, batch) amperes that terminals return for those into them: as they are, or as amplifiers see them."""
        return self.amplifier.returned(amperes) if self.amplifier else amperes

    def lost(self, amperes: FloatArray) -> FloatArray:
        """(lines, batch) volts between a line and its level for amperes into the terminals."""
        over_ohms = self.ohms[:, np.newaxis] * amperes
        return over_ohms + self.amplifier.input_voltage(amperes) if self.amplifier else over_ohms

    def small_signal(self, amperes: FloatArray) -> tuple[End, FloatArray]:
        """A source and a resistance in the place of the amplifiers, and (lines, 1) the share they return of a change.

        Args:
            amperes: (lines, 1) into the terminals, around which currents change.
        """
        if self.amplifier is None:
            return self, np.ones_like(amperes)
        slopes = self.amplifier.returned_slope(amperes)
        inputs = (
            self.amplifier.input_resistance
            if self.amplifier.linear
            else self.amplifier.r_feedback * (1.0 - slopes[:, 0])
        )
        return replace(self, ohms=self.ohms + inputs, amplifier=None), slopes

    @property
    def side(self) -> Side:
        """The lines that end here."""
        return EDGE_SIDE[self.edge]

    @property
    def circuit(self) -> Hashable:
        """What stands here, whatever its volts: equal for ends that are one circuit."""
        gates = None if self.gates is None else self.gates.tobytes()
        return self.edge, self.connected.tobytes(), self.ohms.tobytes(), self.amplifier, gates


@final
@dataclass(frozen=True, eq=False)
class Biases:
    """For every end of every line volts behind ohms, or nothing.

    Args:
        left: volts at the left ends of the word lines: one number, (rows,), or (rows, batch) for several at once. NaN
            leaves an end open, None all of them.
        right: volts at their right ends.
        top: (cols,) volts at the top ends of the bit lines, likewise.
        bottom: volts at their bottom ends.
        r_left: ohm between these volts and the lines, one number or (rows,); the array's `r_driver` when left out. NaN
            leaves an end open, too.
        r_right: ohm at the right ends; `r_driver` when left out.
        r_top: (cols,) ohm at the top ends; `r_sense` when left out.
        r_bottom: ohm at the bottom ends; `r_sense` when left out.
        amplified: edges at which the array's amplifier holds the lines at these volts, in place of a source.
        gates: volts of the gate lines, one number or (rows,), of cells with a transistor: row select. Left out, every
            gate is `v_gate` above its own bit line.

    Raises:
        InvalidInputError: values that are infinite, ohms below 0, or arrays of more axes.

    Example:
        >>> import xbar_spice as xs
        >>> crossbar = xs.Crossbar([[1e-6, 1e-3], [1e-3, 1e-3]])
        >>> sneak = xs.Biases(left=[0.2, np.nan], top=[0.0, np.nan])  # the other lines float
        >>> xs.solve_array(crossbar, sneak).currents.top * 1e6
        array([66.86666667,  0.        ])
    """

    left: ArrayLike | None = None
    right: ArrayLike | None = None
    top: ArrayLike | None = None
    bottom: ArrayLike | None = None
    r_left: ArrayLike | None = None
    r_right: ArrayLike | None = None
    r_top: ArrayLike | None = None
    r_bottom: ArrayLike | None = None
    amplified: tuple[Edge, ...] = ()
    gates: ArrayLike | None = None

    def __post_init__(self) -> None:
        rules: dict[str, Rule[Any]] = dict.fromkeys(EDGES, _Ends("V", -np.inf, 2))
        rules |= {f"r_{edge}": _Ends("ohm", 0.0, 1) for edge in EDGES}
        settle(self, **rules, amplified=Many(OneOf(*EDGES)), gates=_Ends("V", -np.inf, 1))
        if self.gates is not None and np.isnan(self.gates).any():
            raise InvalidInputError("gates takes a voltage for each word line, got NaN; 0 V keeps a row off")
        for edge in EDGES:
            volts = getattr(self, edge)
            if volts is not None and volts.ndim == 2:
                open_ends = np.isnan(volts)
                if (open_ends.any(axis=1) != open_ends.all(axis=1)).any():
                    raise InvalidInputError(
                        f"an end is open for all vectors of a batch or for none, got {edge} with NaN in some columns "
                        "only; give them as biases of their own"
                    )
        if len(batches := {volts.shape[1] for volts in self._volts() if volts.ndim == 2}) > 1:
            raise InvalidInputError(f"one batch for all edges, got {sorted(batches)}")

    @property
    def batch(self) -> int | None:
        """How many sets of voltages there are; None for a single one without an axis of its own."""
        return next((volts.shape[1] for volts in self._volts() if volts.ndim == 2), None)

    def ends(self, crossbar: Crossbar) -> dict[Edge, End]:
        """What stands at every edge of an array.

        Raises:
            InvalidInputError: not one value for each line of the array, or amplifiers at edges of an array without.
        """
        if self.amplified and not crossbar.amplifier.present:
            raise InvalidInputError(
                f"amplifiers at {', '.join(self.amplified)} take a crossbar with amplifier=Amplifier(r_feedback=...)"
            )
        return {edge: self._end(crossbar, edge) for edge in EDGES}

    def _volts(self) -> list[FloatArray]:
        return [volts for edge in EDGES if (volts := getattr(self, edge)) is not None]

    def _end(self, crossbar: Crossbar, edge: Edge) -> End:
        side = EDGE_SIDE[edge]
        lines, batch = crossbar.ports(side), 1 if self.batch is None else self.batch
        given = np.asarray(np.nan if getattr(self, edge) is None else getattr(self, edge))
        default = crossbar.r_driver if side == "rows" else crossbar.r_sense
        ohms = np.asarray(default if getattr(self, f"r_{edge}") is None else getattr(self, f"r_{edge}"))
        for name, values in ((edge, given), (f"r_{edge}", ohms)):
            if values.ndim and values.shape[0] != lines:
                raise InvalidInputError(
                    f"{name} takes one value for each of the {lines} {'word' if side == 'rows' else 'bit'} lines, got "
                    f"shape {values.shape}"
                )
        volts = np.broadcast_to(given[:, np.newaxis] if given.ndim == 1 else given, (lines, batch))
        ohms = np.broadcast_to(ohms, lines)
        connected = ~(np.isnan(ohms) | np.isnan(volts).any(axis=1))
        at_ends = np.where(connected[:, np.newaxis], volts, 0.0)
        amplifier = crossbar.amplifier if edge in self.amplified else None
        gates = self._gates(lines) if side == "rows" else None
        return End(edge, connected, at_ends, np.nan_to_num(ohms), amplifier, gates)

    def _gates(self, rows: int) -> FloatArray | None:
        if self.gates is None:
            return None
        volts = np.asarray(self.gates)
        if volts.shape not in ((), (rows,)):
            raise InvalidInputError(
                f"gates takes one number or one for each of the {rows} word lines, got shape {volts.shape}"
            )
        return np.array(np.broadcast_to(volts, rows))


@final
@dataclass(frozen=True, eq=False)
class Currents:
    """Amperes from an array into its terminals, 0 at open ends; where amplifiers stand, what they make of it.

    Attributes:
        left: (rows,) or (rows, batch).
        right: likewise.
        top: (cols,) or (cols, batch).
        bottom: likewise.
    """

    left: FloatArray
    right: FloatArray
    top: FloatArray
    bottom: FloatArray

    @classmethod
    def of_ends(cls, ends: Mapping[Edge, End], amperes: Mapping[Edge, FloatArray], batch: int | None) -> Currents:
        """From (lines, batch) amperes of the terminals of every edge, whatever stands there at open ends."""
        found = {}
        for edge, end in ends.items():
            flowing = np.where(end.connected[:, np.newaxis], amperes[edge], 0.0)
            found[edge] = flowing[:, 0] if batch is None else flowing
        return cls(**found)


def held_lines(ends: Mapping[Edge, End], conducts: BoolArray) -> tuple[BoolArray, BoolArray]:
    """Which word lines and which bit lines some terminal holds, directly or through cells.

    Args:
        ends: what stands at every edge.
        conducts: (rows, cols) which cells connect their lines.
    """
    word, bit = (ends[near].connected | ends[far].connected for near, far in OPPOSITE_EDGES)
    count = -1
    while count < (count := int(word.sum() + bit.sum())):
        bit = bit | conducts[word].any(axis=0)
        word = word | conducts[:, bit].any(axis=1)
    return word, bit


def require_held(ends: Mapping[Edge, End], conducts: BoolArray, why: str = "") -> None:
    """Refuse lines whose level nothing says.

    Raises:
        SingularCircuitError: there are some; the text names them.
    """
    held = zip(("rows", "cols"), held_lines(ends, conducts), strict=True)
    loose = [name_lines(side, np.flatnonzero(~lines)) for side, lines in held if not lines.all()]
    if loose:
        raise SingularCircuitError(
            f"nothing holds {' and '.join(loose)}: no terminal touches them, neither directly nor through cells{why}; "
            "give one of these lines a voltage, or leave the part out"
        )


def require_resistance(crossbar: Crossbar, ends: Mapping[Edge, End]) -> None:
    """Refuse lines whose two terminals are one node.

    Raises:
        SingularCircuitError: there are some; the text names them.
    """
    for near, far in OPPOSITE_EDGES:
        one, other = ends[near], ends[far]
        if one.amplifier or other.amplifier:
            continue
        ohms = crossbar.segments(one.side).sum(axis=1) + one.ohms + other.ohms
        shorts = np.flatnonzero(one.connected & other.connected & (ohms == 0))
        if shorts.size:
            raise SingularCircuitError(
                f"{name_lines(one.side, shorts)} join two terminals without any resistance, so that nothing says how "
                f"their current divides; give r_{near} or r_{far}, or leave one end open"
            )


def name_lines(side: str, lines: NDArray[np.int64]) -> str:
    """Some lines in words."""
    kind = "word line" if side == "rows" else "bit line"
    return f"{kind}{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines))}"


@checked(volts=Real("V"))
def half_select(
    crossbar: Crossbar,
    cell: tuple[int, int],
    volts: float,
    scheme: Literal["V/2", "V/3", "floating", "grounded"] = "V/2",
) -> Biases:
    """The biases that put a voltage across one cell, its word line at the left and its bit line at the bottom.

    Args:
        crossbar: the array.
        cell: (row, column) of the selected cell.
        volts: across it, but for wires and terminals.
        scheme: what the other lines get: "V/2" half the voltage; "V/3" a third of it on word lines and two thirds on
            bit lines; "floating" nothing; "grounded" 0 V.
    """
    shares = {"V/2": (0.5, 0.5), "V/3": (1 / 3, 2 / 3), "floating": (np.nan, np.nan), "grounded": (0.0, 0.0)}
    word, bit = shares[scheme]
    row, col = (
        Whole(0, lines - 1)("cell", place)
        for place, lines in zip(Many(Whole(), 2)("cell", cell), crossbar.shape, strict=True)
    )
    left, bottom = (np.full(lines, share * volts) for lines, share in zip(crossbar.shape, (word, bit), strict=True))
    left[row], bottom[col] = volts, 0.0
    return Biases(left=left, bottom=bottom)
