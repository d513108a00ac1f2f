"""Programming by pulses: each cell is read, and given a pulse towards its target until it is near enough."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xbar_spice.checks import (
    ANYTHING,
    DEVIATION,
    Array,
    OneOf,
    Optional,
    Real,
    Whole,
    checked,
    refuse_idle,
    settle,
)
from xbar_spice.errors import DeviceError, InvalidInputError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.crossbar import Crossbar
from xbar_spice.hardware.dynamic import BehindTransistor, DynamicDevice, GatedCell
from xbar_spice.hardware.variation import Programmed, ProgrammingError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.programming.pulses import FastPulses, Pulses, dynamic_law
from xbar_spice.programming.schemes import SCHEMES, Scheme, Selector
from xbar_spice.programming.written import Written
from xbar_spice.settings import setting

__all__ = ["WriteVerify", "write_verify"]

ENGINES = ("fast", "ngspice")
GROUP = "Pulses"  # of the settings
LEVELS = 33  # conductances at which the rate of a law is looked at for the width of a first pulse


@final
@dataclass(frozen=True)
class WriteVerify(ProgrammingError):
    """Write and verify: pulses at each cell until a read finds it within the tolerance of its target.

    The pulses of a cell have a fixed voltage and become wider by a factor while the sign of the error stays; when it
    turns, the next pulse is shorter by that factor squared, so that every cell closes in on its target. With
    `step_volts` the voltage rises as well, and starts again when the sign turns. A verifying read knows the conductance
    of the cell but for `read_noise`, and moves nothing. As `Design(programming=WriteVerify(...))` the conductances that
    the circuit reached are those of the chip.

    Attributes:
        tolerance: part of g_max - g_min that is near enough.
        scheme: what the other lines of the array get: "v/2", "v/3" or "1t1r".
        engine: "fast" (the exact network at each step, see `programming.pulses`) or "ngspice".
        together: "cell" writes one after the other, "row" those of a row that want the same sign in one pulse.
        raise_volts: of pulses that raise the conductance; the device's own when left out.
        lower_volts: of pulses that lower it.
        width: seconds of a first pulse; when left out the time in which the law moves a cell by about the tolerance.
        widen: factor of the width from pulse to pulse.
        step_volts: by which the voltage of the next pulse is larger.
        most: pulses that a cell gets in one pass before it is given up for good.
        passes: through the array, as long as others have moved a cell out of its tolerance.
        cycle_noise: relative spread of how far one and the same pulse moves a cell.
        read_noise: relative deviation of a verifying read.
        v_gate: volts of the selected row's gates above their bit lines, of scheme "1t1r": the transistor is then in
            series with the cell, as `OneTransistorOneResistor` has it, and says how much of a pulse gets there. An
            ideal switch when left out.
        v_threshold: volts at which it opens.
        beta: its transconductance parameter KP W / L, A/V^2.

    Example:
        >>> import xbar_spice as xs
        >>> crossbar = xs.Crossbar([[4e-5, 8e-5]], r_word=2.0, device=xs.load_device("yakopcic_fast"))
        >>> found = xs.write_verify(crossbar, tolerance=0.01)
        >>> bool(found.reached.all()), found.passes
        (True, 2)
    """

    in_circuit = True
    NEEDS: ClassVar = {"v_threshold": "v_gate", "beta": "v_gate"}

    tolerance: float = setting(0.01, "Part of g_max - g_min around a target that is near enough.", GROUP, unit="part")
    scheme: Scheme = setting("v/2", "What the lines of other cells get.", GROUP)
    engine: Literal["fast", "ngspice"] = setting("fast", "Who solves the pulses.", GROUP, flag="--pulse-engine")
    together: Literal["cell", "row"] = setting("cell", "What is written at a time.", GROUP)
    raise_volts: float | None = setting(
        None, "Of pulses that raise the conductance.", GROUP, unit="volt", none="those of the device"
    )
    lower_volts: float | None = setting(
        None, "Of pulses that lower it.", GROUP, unit="volt", none="those of the device"
    )
    width: float | None = setting(None, "Of a first pulse.", GROUP, unit="second", none="one that fits the device")
    widen: float = setting(1.5, "Factor of the width from pulse to pulse.", GROUP, unit="times")
    step_volts: float = setting(0.0, "By which the voltage of the next pulse is larger.", GROUP, unit="volt")
    most: int = setting(60, "Pulses in one pass after which a cell is given up.", GROUP, unit="count")
    passes: int = setting(10, "Most passes through the array.", GROUP, unit="count")
    cycle_noise: float = setting(
        0.0, "Relative spread of how far a pulse moves a cell.", GROUP, unit="part", deviation=True
    )
    read_noise: float = setting(
        0.0, "Relative deviation of a verifying read.", GROUP, unit="part", flag="--verify-noise", deviation=True
    )
    v_gate: float | None = setting(
        None, "Of the gates of a selected row, above their bit lines.", GROUP, unit="volt", none="an ideal switch"
    )
    v_threshold: float = setting(0.4, "At which a transistor opens.", GROUP, unit="volt")
    beta: float = setting(1e-3, "KP W / L of a transistor.", GROUP, unit="A/V^2")

    def __post_init__(self) -> None:
        volts = Optional(Real("V"), "for those of the device")
        settle(
            self, tolerance=Real("of g_max - g_min", above=0, below=1), scheme=OneOf(*SCHEMES), engine=OneOf(*ENGINES),
            together=OneOf("cell", "row"), raise_volts=volts, lower_volts=volts,
            width=Optional(Real("s", above=0), "for one that fits the device"), widen=Real(least=1, most=100),
            step_volts=Real("V", least=0), most=Whole(1), passes=Whole(1), cycle_noise=DEVIATION, read_noise=DEVIATION,
            v_gate=Optional(Real("V"), "for an ideal switch"), v_threshold=Real("V"), beta=Real("A/V^2", above=0),
        )  # fmt: skip
        refuse_idle(self)
        if self.v_gate is not None and self.scheme != "1t1r":
            raise InvalidInputError(
                f"v_gate is that of transistors, which only scheme '1t1r' has, got {self.scheme!r}; leave it out, or "
                "take scheme='1t1r'"
            )
        for name in ("raise_volts", "lower_volts"):
            if getattr(self, name) == 0:
                raise InvalidInputError(f"{name} must not be 0 V: nothing would move")

    def in_path(self, device: DynamicDevice) -> DynamicDevice:
        """What stands between the lines where a cell is selected: the device, perhaps behind a transistor."""
        if self.v_gate is None:
            return device
        return GatedCell(device, BehindTransistor(device.read_law, self.beta, self.v_gate - self.v_threshold))

    @property
    def random(self) -> bool:
        return self.cycle_noise > 0 or self.read_noise > 0

    def program(self, target: FloatArray, g_min: float, g_max: float, rng: np.random.Generator | None) -> Programmed:
        raise InvalidInputError(
            "write_verify writes whole arrays with their wires, and not devices alone; give it as the programming of a "
            "Design by itself, and not among other effects or as its `cycle`"
        )

    def program_array(
        self, crossbar: Crossbar, g_min: float, g_max: float, rng: np.random.Generator | None
    ) -> Programmed:
        """An array that was written; a device that was given up does not follow its target.

        Amplifiers, which sense reads, have no part in it.
        """
        return self._programmed(crossbar, None, g_min, g_max, rng)

    def rewrite_array(
        self,
        crossbar: Crossbar,
        before: FloatArray,
        g_min: float,
        g_max: float,
        rng: np.random.Generator | None,
    ) -> Programmed:
        return self._programmed(crossbar, before, g_min, g_max, rng)

    def _programmed(
        self,
        crossbar: Crossbar,
        before: FloatArray | None,
        g_min: float,
        g_max: float,
        rng: np.random.Generator | None,
    ) -> Programmed:
        sources = replace(crossbar, amplifier=Amplifier())
        if before is not None:  # drift may have left what no state has
            before = np.clip(before, *dynamic_law(sources).conductance_range)
        found = self.write(sources, before, rng, (g_min, g_max))
        slope = np.where(found.given_up | (found.target == 0), 0.0, 1.0)
        return Programmed(found.conductance, slope, found.cost(g_max - g_min))

    def write(
        self,
        crossbar: Crossbar,
        start: FloatArray | None,
        rng: np.random.Generator | None,
        window: tuple[float, float] | None = None,
    ) -> Written:
        """Write one array; see `write_verify`.

        Args:
            crossbar: Its conductances are the targets.
            start: (rows, cols) siemens before.
            rng: Of the noises.
            window: g_min and g_max, siemens; those of the device when left out.
        """
        if self.random and rng is None:
            raise InvalidInputError(
                f"{self!r} draws random numbers: pass rng=numpy.random.default_rng(seed), got no generator"
            )
        return _Writing(self, crossbar, start, rng, window).done()


@checked(start=ANYTHING, tolerance=ANYTHING, scheme=ANYTHING, engine=ANYTHING, options=ANYTHING)
def write_verify(
    crossbar: Crossbar,
    start: ArrayLike | None = None,
    scheme: Scheme = "v/2",
    tolerance: float = 0.01,
    *,
    rng: np.random.Generator | None = None,
    engine: Literal["fast", "ngspice"] = "fast",
    **options: Any,
) -> Written:
    """Write an array by pulses, cell after cell or row after row, until all cells are near enough to their targets.

    Args:
        crossbar: Its conductances are the targets, its device one that moves, its wires and terminals those that the
            pulses meet: word lines are driven at the left through `r_driver`, bit lines at the bottom through
            `r_sense`. A cell with a target of 0 S is missing.
        start: (rows, cols) siemens before; the lowest conductance of the device when left out.
        scheme: What the lines of other cells get: "v/2", "v/3", or "1t1r" (transistors of other rows are closed).
        tolerance: Part of the range of the device's conductances that is near enough.
        rng: Of `cycle_noise` and `read_noise`.
        engine: "fast" or "ngspice".
        **options: The other fields of `WriteVerify`.

    Returns:
        Conductances, pulses, disturb, energy and time.

    Raises:
        DeviceError: Cells that do not move, or conductances that no state has.
        InvalidInputError: An unknown scheme, engine or option, or a start of another shape.
        ConvergenceError: A state runs away.
        SimulationError: ngspice failed.
    """
    if unknown := sorted(set(options) - set(WriteVerify.__dataclass_fields__)):
        allowed = ", ".join(sorted(set(WriteVerify.__dataclass_fields__) - {"scheme", "tolerance", "engine"}))
        raise InvalidInputError(f"options of write_verify are {allowed}, got {', '.join(unknown)}")
    plan = WriteVerify(scheme=scheme, tolerance=tolerance, engine=engine, **options)
    before = None if start is None else Array()("start", start)
    return plan.write(crossbar, before, rng)


@final
class _Writing:
    """One run of the loop; the arguments are those of `WriteVerify.write`."""

    def __init__(
        self,
        plan: WriteVerify,
        crossbar: Crossbar,
        start: FloatArray | None,
        rng: np.random.Generator | None,
        window: tuple[float, float] | None,
    ) -> None:
        device = dynamic_law(crossbar)
        self._plan, self._crossbar, self._device, self._rng = plan, crossbar, device, rng
        self._path = plan.in_path(device)
        low, high = device.conductance_range if window is None else window
        self._within = plan.tolerance * (high - low)
        self._target = crossbar.conductance
        self._there = self._target > 0
        device.known_conductance(self._target[self._there])
        lowest = np.full(crossbar.shape, device.conductance_range[0])
        before = lowest if start is None else start
        if before.shape != crossbar.shape:
            raise InvalidInputError(f"start must have the shape of the array, {crossbar.shape}, got {before.shape}")
        try:
            self._state = device.state_of(np.where(self._there, before, lowest))
        except DeviceError as error:
            raise DeviceError(f"start: {error}") from error
        # [direction]: 0 lowers, 1 raises
        own = None if plan.raise_volts is not None and plan.lower_volts is not None else device.write_volts
        given = (plan.lower_volts, plan.raise_volts)
        self._volts = [float((own or (0, 0))[1 - k] if volt is None else volt) for k, volt in enumerate(given)]
        widths = [self._first_width(volts, (low, high)) if plan.width is None else plan.width for volts in self._volts]
        self._width = np.stack([np.full(crossbar.shape, width) for width in widths])
        self._selector = Selector(replace(crossbar, device=self._path), plan.scheme)
        self._pulses = np.zeros(crossbar.shape, dtype=np.int64)
        self._disturb, self._given_up = np.zeros(crossbar.shape), np.zeros(crossbar.shape, dtype=bool)
        self._energy = self._seconds = 0.0

    def done(self) -> Written:
        """Run it."""
        rows, cols = self._crossbar.shape
        groups = [np.arange(cols)] if self._plan.together == "row" else [np.array([col]) for col in range(cols)]
        with pulses_of(self._plan.engine) as engine:
            passes = 0
            moved = True
            while moved and passes < self._plan.passes:
                before, passes = int(self._pulses.sum()), passes + 1
                for row in range(rows):
                    for group in groups:
                        self._visit(engine, row, group)
                moved = int(self._pulses.sum()) > before
        return Written(
            self._target, self._siemens(), self._pulses, self._disturb, self._energy, self._seconds, passes,
            self._given_up, self._within,
        )  # fmt: skip

    def _visit(self, engine: Pulses, row: int, cols: NDArray[np.int64]) -> None:
        """Pulses at some cells of a row until all of them are near enough or given up."""
        last = np.full(cols.size, -1)
        repeats = np.zeros(cols.size)
        counts = np.zeros(cols.size, dtype=np.int64)
        while True:
            error = self._target[row, cols] - self._seen(row, cols)
            wanting = (np.abs(error) > self._within) & self._there[row, cols] & ~self._given_up[row, cols]
            tired = wanting & (counts >= self._plan.most)
            self._given_up[row, cols] |= tired
            wanting &= ~tired
            if not wanting.any():
                return
            up = int((wanting & (error > 0)).sum() * 2 >= wanting.sum())
            chosen = np.flatnonzero(wanting & ((error > 0) == bool(up)))
            places = cols[chosen]
            width = self._width[up, row, places]
            width = np.where(last[chosen] == up, width * self._plan.widen, width)
            width = np.where(last[chosen] == 1 - up, width / self._plan.widen**2, width)
            repeats[chosen] = np.where(last[chosen] == up, repeats[chosen] + 1, 0)
            common = float(width.min())
            self._width[up, row, places] = common
            volts = self._volts[up]
            volts += np.copysign(self._plan.step_volts * repeats[chosen].min(), volts)
            self._pulse(engine, row, places, volts, common)
            last[chosen], counts[chosen] = up, counts[chosen] + 1

    def _pulse(self, engine: Pulses, row: int, cols: NDArray[np.int64], volts: float, seconds: float) -> None:
        part = self._selector.at(row, cols, volts)
        place = np.ix_(part.rows, part.cols)
        mine = np.zeros(self._crossbar.shape, dtype=bool)
        mine[row, cols] = True
        speed = np.ones(self._crossbar.shape)
        if self._plan.cycle_noise and self._rng is not None:
            speed[mine] = np.exp(self._plan.cycle_noise * self._rng.standard_normal(cols.size))
        before = self._siemens()
        found = engine.apply(part.crossbar, self._state[place], part.biases, seconds, speed[place])
        self._state[place] = found.state
        self._disturb += np.where(mine, 0.0, self._siemens() - before)
        self._pulses[row, cols] += 1
        self._energy += found.energy
        self._seconds += seconds

    def _seen(self, row: int, cols: NDArray[np.int64]) -> FloatArray:
        """(cols,) siemens as verifying reads see them."""
        siemens = self._device.conductance_of(self._state[row, cols])
        if self._plan.read_noise and self._rng is not None:
            siemens = siemens * (1.0 + self._plan.read_noise * self._rng.standard_normal(cols.size))
        return siemens

    def _siemens(self) -> FloatArray:
        return np.where(self._there, self._device.conductance_of(self._state), 0.0)

    def _first_width(self, volts: float, window: tuple[float, float]) -> float:
        """Seconds in which a typical cell moves by the tolerance."""
        device = self._path
        low, high = np.clip(window, *device.conductance_range)
        siemens = low + (high - low) * (np.arange(LEVELS) + 0.5) / LEVELS
        state, nudge = device.state_of(siemens), 1e-6 * device.span
        slope = (device.conductance_of(state + nudge) - device.conductance_of(state - nudge)) / (2 * nudge)
        speed = np.abs(slope * device.rate(state, np.full(LEVELS, volts)))
        typical = float(np.median(speed))
        if not (np.isfinite(typical) and typical > 0):
            raise InvalidInputError(
                f"pulses of {volts:g} V do not move {device!r}; give larger raise_volts and lower_volts"
                + ("" if self._plan.v_gate is None else ", or a larger v_gate")
            )
        return self._within / typical


def pulses_of(engine: str) -> Pulses:
    """The engine of a name."""
    if engine == "fast":
        return FastPulses()
    from xbar_spice.programming.simulated import SimulatedPulses  # noqa: PLC0415 - the other one needs no simulator

    return SimulatedPulses()
