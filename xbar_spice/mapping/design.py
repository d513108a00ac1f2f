"""How weight matrices are built as arrays: everything about a chip but the weights and the seed."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field, replace
from typing import Any, Literal, final

from numpy.typing import ArrayLike

from xbar_spice.checks import Array, Flag, OneOf, Optional, Real, Rule, Text, Whole, settle, warn
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.cells import Device, Ohmic
from xbar_spice.hardware.converters import GROUP as READOUT
from xbar_spice.hardware.converters import Converter, Converters
from xbar_spice.hardware.crossbar import PARTS, Crossbar, Terminations
from xbar_spice.hardware.digital_numbers import GROUP as NUMBERS
from xbar_spice.hardware.digital_numbers import DigitalNumbers
from xbar_spice.hardware.drift import DriftLaw, NoDrift
from xbar_spice.hardware.read_noise import Noise, ReadNoise
from xbar_spice.hardware.technology import SOURCES, technology_named
from xbar_spice.hardware.variation import ProgrammingError, Variation
from xbar_spice.mapping.base import Mapping
from xbar_spice.mapping.pairs import Differential
from xbar_spice.parts import CONVERTERS, DEVICES, DRIFT_LAWS, MAPPINGS, NOISES, PROGRAMMING_ERRORS
from xbar_spice.registry import Choice
from xbar_spice.settings import Setting, setting

__all__ = ["GROUPS", "Design"]

ARRAYS, WIRES, DEVICE, SIMULATOR = "Arrays", "Wires and terminals", "Devices", "Simulator"
GROUPS = (
    ARRAYS,
    WIRES,
    DEVICE,
    "Amplifiers, one at each sensed line",
    READOUT,
    NUMBERS,
    SIMULATOR,
)
"""Headings of the settings of a circuit, in their order."""


class Unasked(float):
    """A number that nobody gave, so that something else may set it."""

    __slots__ = ()


RULES: dict[str, Rule[Any]] = {
    "tile": Optional(Whole(1), "for one array"),
    "active_rows": Optional(Whole(1), "for all word lines at once"),
    "g_min": Real("S", least=0),
    "g_max": Real("S", least=1e-30, most=1e6),  # far beyond any device, and far from overflow
    "v_read": Real("V", least=1e-30, most=1e6),
    **PARTS,
    "headroom": Real(least=1),
    "compensated": Flag(),
    "skip_empty": Flag(),
    "rewritten": Flag(),
    "conductances": Optional(Text(), "for devices as programmed"),
    "technology": Optional(Text(), "for wires as given"),
    "technology_source": Optional(OneOf(*SOURCES), "for the one by default"),
    "after": Real("s", least=0),
    "coverage": Real(above=0, most=1),
    "scale": OneOf("matrix", "tile", "column"),
    "order": OneOf("given", "conductance"),
}


@final
@dataclass(frozen=True)
class Design:
    """How a weight matrix is built as arrays.

    Attributes:
        mapping: how weights become devices: "differential" puts G+ and G- in two separate arrays, "interleaved" as
            neighbouring bit lines of one; or a `Mapping` of one's own. Kept as the object that a name stands for.
        tile: largest number of inputs and of outputs of one array; None builds one array whatever its size.
        active_rows: how many neighbouring word lines of an array are read at a time, the access transistors of all
            others being off; their currents are added digitally. None reads all at once.
        skip_empty: leave out the tiles whose weights are all zero.
        rewritten: of a model with weights for each step, one set of arrays for a matrix of all steps, which is written
            before the reads of a step unless it holds the weights already; else each step has arrays of its own. See
            `SharedArrays` for what is the same in every write and what is not.
        g_min: lowest programmed conductance, siemens.
        g_max: highest programmed conductance, siemens.
        r_word: ohm per segment of a word line.
        r_bit: ohm per segment of a bit line.
        r_driver: ohm of each driver.
        r_sense: ohm of each sense terminal.
        v_read: volts that the largest entry of every input vector is scaled to.
        device: law of the cells.
        terminations: which ends of the lines a read uses.
        variation: what programming does to the devices: `Variation`, or a `ProgrammingError` of one's own.
        cycle: what every programming adds to what `variation` left, drawn anew on each occasion on which a chip is
            written, as in a training on it; `variation` is the chip's own and stays.
        conductances: an .npz file with the measured conductances of a chip, which take the place of all that is drawn:
            one array of shape (devices, inputs, outputs), siemens, for each matrix by its name, such as "A".
        programming: another word for `variation`, which is where it is kept; give one of them.
        amplifier: what senses the lines; a source of 0 V unless it has a feedback resistor.
        noise: what every read adds: `ReadNoise`, or a `Noise` of one's own.
        converters: resolution of drives and sense currents: `Converters`, or a `Converter` of one's own.
        numbers: what the digital part computes with: `DigitalNumbers(4, 12)` is a fixed point <4, 12>.
        headroom: how many times the range of conductances holds the largest weight.
        drift: what becomes of the programmed conductances with time, such as `Drift(nu=0.05)`.
        after: seconds between programming and the reads, which drift needs.
        coverage: part of the weights that this range is made for, by size; larger ones are clipped. 1 holds them all.
        scale: what shares one conductance per weight: the whole "matrix", or every "tile", or every "column" of a
            tile, which are then scaled up to fill the range and scaled back digitally.
        order: of the lines of an array: as "given", or by "conductance", which puts the word lines with the largest
            sum next to the sensed ends and the bit lines with the largest sum next to the drivers.
        technology: whose wires the arrays have, such as "22nm", "22nm(kelvin=350)" or "geometry(width=4e-8,
            thickness=7.6e-8, pitch=8e-8)": sets `r_word` and `r_bit` unless they are given.
        technology_source: where the numbers of a node come from, a name of `SOURCES`.
        reltol: what ngspice's Newton method stops by, see `Crossbar`.
        compensated: program the conductances that undo wires, drivers and sense terminals, see `compensate`; what
            the variation will do to a device is not known then.
    """

    mapping: Choice[Mapping] = Choice(
        MAPPINGS, Differential(), Setting("How signed weights become devices on the lines of arrays.", ARRAYS)
    )
    tile: int | None = setting(
        None, "Largest number of inputs and of outputs of one array.", ARRAYS, unit="count", none="no limit"
    )
    g_min: float = setting(1e-6, "Lowest programmed conductance.", DEVICE, unit="siemens")
    g_max: float = setting(1e-4, "Highest programmed conductance.", DEVICE, unit="siemens")
    r_word: float = setting(Unasked(0.0), "Resistance of each segment of a word line.", WIRES, unit="ohm")
    r_bit: float = setting(Unasked(0.0), "Resistance of each segment of a bit line.", WIRES, unit="ohm")
    r_driver: float = setting(0.0, "Output resistance of each driver.", WIRES, unit="ohm")
    r_sense: float = setting(0.0, "Resistance of each sense terminal.", WIRES, unit="ohm")
    v_read: float = setting(0.2, "Read voltage of the largest entry of an input vector.", WIRES, unit="volt")
    device: Device = setting(
        Ohmic,
        "Law of the cells: a parameter set of `models/` by its name, the path of a .toml file, or a class.",
        DEVICE,
        registry=DEVICES,
    )
    terminations: Terminations = field(default_factory=Terminations)
    variation: Choice[ProgrammingError] = Choice(
        PROGRAMMING_ERRORS,
        Variation(),
        Setting(
            "What programming does to devices, where the settings of `relative` that follow do not say it.", DEVICE
        ),
    )
    amplifier: Amplifier = field(default_factory=Amplifier)
    noise: Choice[Noise] = Choice(
        NOISES,
        ReadNoise(),
        Setting(
            "What every read adds, where the settings of `normal` that follow do not say it.",
            READOUT,
            flag="--read-noise",
        ),
    )
    converters: Choice[Converter] = Choice(
        CONVERTERS,
        Converters(),
        Setting("What converters do, where the settings of `uniform` that follow do not say it.", READOUT),
    )
    numbers: DigitalNumbers = field(default_factory=DigitalNumbers)
    headroom: float = setting(
        1.0, "How many times the range of conductances holds the largest weight.", ARRAYS, unit="times"
    )
    compensated: bool = setting(
        False,
        "Program the conductances that undo wires, drivers and sense terminals.",
        ARRAYS,
        flag="--compensated/--uncompensated",
    )
    skip_empty: bool = setting(
        False, "Leave out tiles whose weights are all zero.", ARRAYS, flag="--skip-empty/--keep-empty"
    )
    rewritten: bool = setting(
        False,
        "Write the weights of all steps to one set of arrays in turn, before the reads of each step.",
        ARRAYS,
        flag="--rewritten/--arrays-of-each-step",
    )
    drift: Choice[DriftLaw] = Choice(
        DRIFT_LAWS, NoDrift(), Setting("What becomes of the programmed conductances with time.", DEVICE)
    )
    after: float = setting(
        0.0, "Time between programming and the reads, such as 3600 or '1 day'; needed by drift.", DEVICE, unit="second"
    )
    coverage: float = setting(
        1.0,
        "Part of the weights, by size, that the range of conductances is made for; larger ones are clipped.",
        ARRAYS,
        unit="part",
    )
    scale: Literal["matrix", "tile", "column"] = setting("matrix", "What shares one conductance per weight.", ARRAYS)
    order: Literal["given", "conductance"] = setting(
        "given", "Order of the lines of an array: as given, or by the sum of their conductances.", ARRAYS
    )
    reltol: float | None = setting(
        None,
        "Relative tolerance of ngspice's Newton method; it stands in the decks.",
        SIMULATOR,
        unit="part",
        none="by kind of cell",
    )
    active_rows: int | None = setting(
        None,
        "Word lines that are read at a time, the others being off; their sums are added digitally.",
        ARRAYS,
        unit="count",
        none="all",
    )
    cycle: Choice[ProgrammingError] = Choice(
        PROGRAMMING_ERRORS,
        Variation(),
        Setting("What each programming adds anew, as in a training; as variation.", DEVICE, whole=True),
    )
    conductances: str | None = setting(None, "File (.npz) of measured devices, in place of all that is drawn.", DEVICE)
    technology: str | None = setting(
        None, "Whose wires: sets r_word and r_bit unless they are given, such as 22nm.", WIRES
    )
    technology_source: str | None = setting(
        None, "Where the numbers of the technology come from.", WIRES, none="NeuroSim V1.3"
    )
    programming: InitVar[str | ProgrammingError | None] = None

    def __post_init__(self, programming: str | ProgrammingError | None) -> None:
        if programming is not None:
            chosen = PROGRAMMING_ERRORS.given("programming", programming)
            if self.variation not in (Variation(), chosen):
                raise InvalidInputError(
                    f"programming and variation are two words for one thing, got programming={programming!r} and "
                    f"variation={self.variation!r}; give one of them, and replace(design, variation=...) in a design "
                    "that has one"
                )
            object.__setattr__(self, "variation", chosen)
        self._settle_wires()
        if self.active_rows is not None and (self.terminations.transposed, self.terminations.sense) != (
            "same_ends",
            "single",
        ):
            raise InvalidInputError(
                "active_rows takes terminations with transposed='same_ends' and sense='single': wires below the rows "
                f"that are read count with the terminals of the bit lines, got {self.terminations!r}"
            )
        if not self.g_min < self.g_max:
            raise InvalidInputError(f"0 <= g_min < g_max (siemens) is needed, got {self.g_min} and {self.g_max}")
        if (self.after > 0) != (self.drift != NoDrift()):
            raise InvalidInputError(
                f"drift and after need each other, got drift={self.drift!r} and after={self.after:g} s; give both, "
                "such as drift=PcmDrift(), after=86400.0, or neither"
            )
        if self.conductances is not None:
            self.refuse_measured(self.conductances)
        if self.rewritten and (self.order != "given" or self.conductances is not None):
            given = "measured conductances" if self.conductances is not None else f"order={self.order!r}"
            raise InvalidInputError(
                f"rewritten arrays keep their lines where they are, and their devices change with every write; got "
                f"{given}: leave that out, or take rewritten=False"
            )
        if self.compensated and not (self.device.linear and self.amplifier.linear):
            raise InvalidInputError(
                "only linear cells with linear amplifiers can be compensated, got "
                f"{self.device!r} and {self.amplifier!r}; try compensated=False, or Ohmic() without saturation"
            )
        self.crossbar([[self.g_min, self.g_max]])  # checks the resistances, and warns of the conductances

    def refuse_measured(self, what: str) -> None:
        """Refuse a measured map of conductances for a design that would draw or change devices itself."""
        if self.variation != Variation() or self.cycle != Variation() or self.after or self.compensated:
            raise InvalidInputError(
                f"measured conductances ({what}) are the chip itself; leave out variation, cycle, drift and compensated"
            )

    def _settle_wires(self) -> None:
        """Take the wires that were not given from the technology."""
        unasked = [name for name in ("r_word", "r_bit") if isinstance(getattr(self, name), Unasked)]
        settle(self, **RULES)
        if self.technology is None and self.technology_source is not None:
            raise InvalidInputError(f"technology_source={self.technology_source!r} has no effect without technology")
        wires = None if self.technology is None else technology_named(self.technology, self.technology_source)
        if wires and wires.extrapolated and unasked:
            warn(f"wires of {wires.name} ({wires.source}) are extrapolated: {wires.extrapolated}")
        for name in unasked:
            object.__setattr__(self, name, Unasked(getattr(wires, name, 0.0)))

    @property
    def random(self) -> bool:
        """True if runs with other seeds differ."""
        return any(part.random for part in (self.variation, self.cycle, self.noise, self.drift, self.numbers))

    @property
    def exact_reads(self) -> bool:
        """True if reads are what the arrays answer, without noise and rounding."""
        return not self.noise.random and self.converters.ideal and not self.numbers.of_activations

    @property
    def at_once(self) -> Design:
        """The same with all rows read together."""
        return self if self.active_rows is None else replace(self, active_rows=None)

    def crossbar(self, conductance: ArrayLike, below: int = 0) -> Crossbar:
        """An array of this design with these conductances.

        Args:
            conductance: (rows, cols) siemens of the word lines that are read together.
            below: how many others lie between them and the terminals of the bit lines. Their transistors are off, so
                that nothing is left of them but wire.
        """
        return Crossbar(
            Array()("conductance", conductance),
            r_word=self.r_word,
            r_bit=self.r_bit,
            r_driver=self.r_driver,
            r_sense=self.r_sense + below * self.r_bit,
            device=self.device,
            terminations=self.terminations,
            amplifier=self.amplifier,
            reltol=self.reltol,
        )
