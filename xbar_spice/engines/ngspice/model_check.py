"""What a cell that is a subcircuit does on its own: measured once, before an array of such cells is believed.

Only ngspice knows the law of such a cell, and a law can be another one than its author meant: a state that an operating
point forgets, a resistance that is taken for a conductance, a power of a negative voltage that ngspice takes of its
size. A lone cell is read at a few voltages and conductances of the design. What no memristor can be is refused, and
what is merely far from the programmed conductance is said, both with the figures.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.engines.ngspice.supervised_circuit import ResidentProcess
from xbar_spice.errors import DeviceError, SimulationError, SingularCircuitError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.cells import SubcircuitCell
from xbar_spice.hardware.crossbar import Crossbar
from xbar_spice.hardware.subcircuit import Subcircuit
from xbar_spice.hardware.subcircuit.states import odd_power, states
from xbar_spice.linear.operator import FloatArray
from xbar_spice.spice.netlist import Deck, array_deck

__all__ = ["Characteristics", "characterise", "check_cells", "check_opamp"]

SMALL = 1e-3  # volts at which the small-signal conductance is taken
AT_READS = (SMALL, 0.01, 0.1, 0.3)  # volts of either sign that a cell is read at
BEYOND = 1.0  # volts at which a selector that is off until then may conduct
CONDUCTANCES = 4
FLAT = 1e-3  # power of the conductance that the current follows, below which it does not follow it
OFF = 1e-3  # share of G V below which a cell is off
FAR = 1.5  # factor between the current and G V that is worth a word where it comes no nearer at any voltage
OPEN_LOOP = 1e12  # ohm of a feedback that feeds nothing back
OPAMP_INPUT = 0.1  # volts, far more than any offset
ROUNDING = 1e-12  # share of G V below which a current is nothing but rounding
SOLVERS = 1e-5  # of the largest current, by which the linear solvers of ngspice may differ
KLU = ".options klu\n"
ODD = 1e-4  # share of the current by which both signs of a voltage may differ

logger = logging.getLogger(__name__)


@final
@dataclass(frozen=True)
class Characteristics:
    """What was measured of a lone cell.

    Attributes:
        cell: that was measured.
        conductances: (m,) siemens, ascending.
        volts: (n,) ascending, those at which ngspice found a solution.
        currents: (m, n) amperes.
    """

    cell: SubcircuitCell
    conductances: FloatArray
    volts: FloatArray
    currents: FloatArray

    @property
    def held(self) -> tuple[str, ...]:
        """What holds a state in the subcircuit; none for a static law."""
        return tuple(state.text for state in states(self.cell.subcircuit))

    @property
    def small_signal(self) -> FloatArray:
        """(m,) siemens around 0 V."""
        rise = self._at(SMALL) - self._at(-SMALL)
        return rise / (2 * SMALL)

    @property
    def asymmetry(self) -> float:
        """Largest difference between the currents of both signs of a voltage, as a share of the larger one."""
        pairs = [(self._at(volt), self._at(-volt)) for volt in AT_READS[1:]]
        shares = [np.abs(plus + minus) / np.maximum(np.abs([plus, minus]).max(axis=0), 1e-30) for plus, minus in pairs]
        return float(np.nanmax(shares)) if np.isfinite(shares).any() else float("nan")

    @property
    def ratios(self) -> FloatArray:
        """(m, n) currents over G V, where V is not 0."""
        return self.currents / np.outer(self.conductances, self.volts)

    @property
    def inside(self) -> NDArray[np.bool_]:
        """(n,) which of the voltages reads have."""
        return np.abs(self.volts) <= AT_READS[-1]

    @property
    def refusals(self) -> list[str]:
        """Why no memristor can be this cell; empty if one can."""
        if not np.isfinite(self.currents).all():
            return ["its current is not a finite number; look at its fixed parameters"]
        parameter, _ = self.cell.setting(1.0)
        return [text for text in (self._source(), self._dependence(parameter)) if text]

    @property
    def remarks(self) -> list[str]:
        """What is worth a word, but may be meant."""
        said = []
        held = self.held
        if held:
            said.append(f"{', '.join(held)} may hold a state, which an operating point forgets: it is read at rest")
        ratios = self.ratios
        nearest = np.array([row[np.argmin(np.abs(np.log(np.maximum(np.abs(row), 1e-30))))] for row in ratios])
        worst = int(np.argmax(np.abs(np.log(np.maximum(np.abs(nearest), 1e-30)))))
        if not 1 / FAR < nearest[worst] < FAR:
            said.append(
                f"programmed to {self.conductances[worst]:.3g} S, its current comes no nearer to G V than "
                f"{nearest[worst]:.3g} times that at any of {', '.join(f'{volt:g}' for volt in self.volts)} V"
            )
        return said

    def _at(self, volt: float) -> FloatArray:
        where = np.flatnonzero(self.volts == volt)
        return self.currents[:, where[0]] if where.size else np.full(len(self.conductances), np.nan)

    def _source(self) -> str:
        """Energy out of nothing."""
        volts, currents = self.volts[self.inside], self.currents[:, self.inside]
        allowed = 1e-3 * np.outer(self.conductances, volts**2)
        row, column = np.unravel_index(np.argmin(currents * volts + allowed), currents.shape)
        if currents[row, column] * volts[column] >= -allowed[row, column]:
            return self._power()
        power = self._power()
        return (
            f"it is a source of energy: {currents[row, column]:.4g} A at {volts[column]:g} V, programmed to "
            f"{self.conductances[row]:.3g} S; {power or 'give its current the sign of its voltage'}"
        )

    def _power(self) -> str:
        """An odd power of a voltage, which ngspice takes of its size, in a law that is not odd."""
        found = odd_power(self.cell.subcircuit)
        if not found or self.cell.subcircuit.compat == "lt" or not self.asymmetry > ODD:
            return ""
        return (
            f"ngspice takes {found} as a power of the size of the voltage, and its currents at both signs differ by "
            f"{self.asymmetry:.2g}; write powers as products"
        )

    def _dependence(self, parameter: str) -> str:
        """A current that does not follow the conductance, or follows its inverse."""
        sizes = np.abs(self.currents)
        on = (sizes > OFF * np.abs(np.outer(self.conductances, self.volts))).any(axis=1)
        slopes, where = [], []
        for low, high in pairwise(range(len(self.conductances))):
            with np.errstate(divide="ignore", invalid="ignore"):
                powers = np.log(sizes[high] / sizes[low]) / np.log(self.conductances[high] / self.conductances[low])
            powers = np.where(np.isfinite(powers), powers, 0.0)
            where.append(int(np.argmax(np.abs(powers))))
            slopes.append(float(powers[where[-1]]))
        volt = where[0]
        said = (
            f"{self.currents[0, volt]:.4g} A at {self.conductances[0]:.3g} S and {self.currents[-1, volt]:.4g} A at "
            f"{self.conductances[-1]:.3g} S, both at {self.volts[volt]:g} V"
        )
        if all(slope < -FLAT for slope in slopes):
            other = "conductance" if self.cell.resistance_parameter else "resistance"
            return (
                f"its current falls as its conductance grows: {said}; if {parameter} is a {other}, say "
                f"{other}_parameter = {parameter!r}"
            )
        if on.all() and all(abs(slope) < FLAT for slope in slopes):
            return (
                f"its current does not depend on {parameter}: {said}; use {parameter} in its law, and look at the "
                "range of its fixed parameters"
            )
        return ""


def characterise(cell: SubcircuitCell, low: float, high: float) -> Characteristics:
    """Read a lone cell at a few voltages and at conductances from `low` to `high` siemens.

    Raises:
        DeviceError: its subcircuit sets a state that an operating point forgets.
        SimulationError: ngspice finds no solution at any voltage.
    """
    _require_no_state(cell)
    middle = np.sqrt(low * high)
    first, last = (low, high) if high > 1.05 * low else (0.95 * middle, 1.05 * middle)
    conductances = np.geomspace(first, last, CONDUCTANCES)
    deck = array_deck(Crossbar(conductances[None], device=cell))
    # KLU answers some circuits that have no solution, such as a node that only current sources reach, without a word;
    # the other solver of ngspice finds another answer for them, or none.
    measured = _read(deck, deck.text)
    try:
        judged = _read(deck, deck.text.replace(KLU, ""))
    except SingularCircuitError as error:
        raise DeviceError(_indefinite(cell, "a solution with KLU, and a singular circuit with Sparse")) from error
    for volt in measured.keys() & judged.keys():
        sizes = [float(np.abs(currents[volt]).max()) for currents in (measured, judged)]
        rest = ROUNDING * last * abs(volt)  # all that is left of the current of a cell that is off
        if np.abs(measured[volt] - judged[volt]).max() > max(SOLVERS * max(sizes), rest):
            found = f"{sizes[0]:.4g} A with KLU and {sizes[1]:.4g} A with Sparse at {volt:g} V"
            raise DeviceError(_indefinite(cell, found))
    volts = np.array(sorted(measured))
    return Characteristics(cell, conductances, volts, np.array([measured[volt] for volt in volts.tolist()]).T)


def _indefinite(cell: SubcircuitCell, found: str) -> str:
    return (
        f"the cell {cell.subcircuit.name} has no definite current: ngspice finds {found}; look for a node that only "
        "current sources or capacitors reach, and give it a resistor to ground"
    )


def _read(deck: Deck, text: str) -> dict[float, FloatArray]:
    """Currents by voltage, as far as ngspice finds a solution.

    Raises:
        SimulationError: it finds none at any voltage.
    """
    terminals = [terminal.source for terminal in deck.terminals]
    wanted = [sign * volt for volt in AT_READS for sign in (-1.0, 1.0)]
    found: dict[float, FloatArray] = {}
    with (
        TemporaryDirectory() as folder,
        ResidentProcess(
            text, terminals, time_limit=10.0, failures=Path(folder), behaviour=deck.behaviour, unique=deck.unique
        ) as process,
    ):

        def read(volts: Sequence[float]) -> None:
            sources = np.zeros((len(terminals), len(volts)))
            sources[0] = volts
            for volt, column in zip(volts, process.read(sources)[1:].T, strict=True):
                found[volt] = column

        error = _attempt(read, wanted)
        if error is not None:  # the voltages that have a solution say what they can
            for volt in wanted:
                error = _attempt(read, [volt]) or error
        if not found:
            assert error is not None
            raise error
        _attempt(read, [-BEYOND, BEYOND])
    return found


def _attempt(read: Callable[[Sequence[float]], None], volts: Sequence[float]) -> SimulationError | None:
    """The error of a read, if it fails."""
    try:
        read(volts)
    except SimulationError as error:
        return error
    return None


def _require_no_state(cell: SubcircuitCell) -> None:
    for state in states(cell.subcircuit):
        if state.set:
            raise DeviceError(
                f"{state.text} of the cell {cell.subcircuit.name} sets a state, which an operating point forgets; "
                "write the law as a static one, with the state as a function of the conductance parameter"
            )


MEASURED: dict[SubcircuitCell, list[tuple[float, float]]] = {}
"""The ranges of conductances, siemens, in which this process has measured a cell."""


def check_cells(crossbars: Sequence[Crossbar]) -> None:
    """Measure each kind of subcircuit cell of some arrays, once for a range of conductances, and each op-amp once.

    Raises:
        DeviceError: one cannot be a memristor, or an op-amp; the text says why, with the figures.
    """
    for opamp in dict.fromkeys(crossbar.amplifier.opamp for crossbar in crossbars if crossbar.amplifier.present):
        if opamp is not None:
            check_opamp(opamp)
    ranges: dict[SubcircuitCell, tuple[float, float]] = {}
    for crossbar in crossbars:
        programmed = crossbar.conductance[crossbar.conductance > 0]
        if isinstance(crossbar.device, SubcircuitCell) and programmed.size:
            low, high = ranges.get(crossbar.device, (np.inf, 0.0))
            ranges[crossbar.device] = (min(low, float(programmed.min())), max(high, float(programmed.max())))
    for cell, (low, high) in ranges.items():
        if any(first <= 1.2 * low and high <= 1.2 * last for first, last in MEASURED.get(cell, ())):
            continue
        try:
            measured = characterise(cell, low, high)
        except SimulationError as error:  # the read will say so, with the deck of the array
            logger.debug("the cell %s could not be measured alone: %s", cell.subcircuit.name, error)
            continue
        if measured.refusals:
            raise DeviceError(f"the cell {cell.subcircuit.name} cannot be a memristor: {'; '.join(measured.refusals)}")
        for remark in measured.remarks if cell not in MEASURED else ():
            logger.warning("the cell %s: %s", cell.subcircuit.name, remark)
        MEASURED.setdefault(cell, []).append((low, high))


@lru_cache
def check_opamp(opamp: Subcircuit) -> None:
    """See that the output of an op-amp falls as its input rises: the feedback of a read would hide that it does not.

    Raises:
        DeviceError: it rises; an op-amp of which ngspice finds no solution without feedback is left to the reads.
    """
    open_loop = Amplifier(r_feedback=OPEN_LOOP, opamp=opamp)
    deck = array_deck(Crossbar(np.array([[1e-3]]), amplifier=open_loop))
    driver, amplified = deck.terminals
    with (
        TemporaryDirectory() as folder,
        ResidentProcess(
            deck.text,
            [driver.source],
            nodes=[amplified.output],
            time_limit=10.0,
            failures=Path(folder),
            behaviour=deck.behaviour,
            compiled=deck.compiled,
            unique=deck.unique,
        ) as process,
    ):
        try:
            low, high = process.read(np.array([[-OPAMP_INPUT, OPAMP_INPUT]]))[1].tolist()
        except SimulationError as error:
            logger.debug("the op-amp %s could not be measured alone: %s", opamp.name, error)
            return
    if not high < low:
        raise DeviceError(
            f"the output of the op-amp {opamp.name} must fall as its input rises, and is {low:.4g} V at {-OPAMP_INPUT} "
            f"V and {high:.4g} V at {OPAMP_INPUT} V; exchange in+ and in- in its pins, or look at its supply"
        )
