"""What a compiled module is, found by a process of its own that loads it first: a broken library ends that one alone.

Memory shows in three ways. A node inside with a term under `ddt` is a state. A module without one whose current depends
on the time that it is told, or on the kind of analysis, keeps something in its variables, which simulators do not
move: its state is frozen. And a state may move during a read, by a rate that the equations give at the static point.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, final

import numpy as np

from xbar_spice.disk import read_json, write
from xbar_spice.errors import DeviceError, XbarError
from xbar_spice.hardware.verilog_a.compiler import run_limited
from xbar_spice.hardware.verilog_a.osdi import DYNAMIC, TERMINALS, Floats, Instance, Library, Parameter, messages
from xbar_spice.hardware.verilog_a.solve import StaticLaw

__all__ = ["Findings", "Structure", "examined", "structure_of"]

VOLTS = (0.001, 0.01, 0.1, 0.2, 0.3, 0.5, 1.0)  # of either sign
AT_READS = 0.3  # volts, the largest that reads usually have
LEVEL = 0.25  # volts by which both terminals are lifted
TIMES = (0.0, 1e-9, 1e-6, 1e-3, 1.0)  # seconds that a module is told
LATER = 1e-6  # seconds, after any start that a module may make
CONDUCTANCES = 4
DIFFERENT = 1e-9  # of a current
NO_START = 1e30  # infinity has no place in JSON
BEGINS = 1e-6  # of a current, within which a transient analysis begins as a read
LOST = 1e-3  # of G V^2: power that rounding and leakage may show with the wrong sign
FOLLOWS = 1e-3  # power of the conductance that the current follows, below which it does not follow it
SECONDS = 20.0  # a few operating points take a hundredth of that

# As the worker of ngspice, without the packages' own start: empty packages that know where their modules are.
START = """\
import sys, types
for name in ("xbar_spice", "xbar_spice.hardware", "xbar_spice.hardware.verilog_a"):
    package = types.ModuleType(name)
    package.__path__ = ["/".join([sys.argv[1], *name.split(".")[1:]])]
    sys.modules[name] = package
from xbar_spice.hardware.verilog_a.examine import main
main(sys.argv[2:])
"""
PACKAGE = Path(__file__).parents[2]


@final
@dataclass(frozen=True)
class Structure:
    """What a module has.

    Attributes:
        nodes: names of its nodes, terminals first.
        terminals: how many of them are terminals.
        parameters: name, whose it is, and type of each parameter.
        states: names of nodes inside with a term under `ddt`.
        dynamic: whether anything at all stands under `ddt`.
    """

    nodes: tuple[str, ...]
    terminals: int
    parameters: tuple[Parameter, ...]
    states: tuple[str, ...]
    dynamic: bool


@final
@dataclass(frozen=True)
class Findings:
    """What was measured of cells of a module, alone.

    Attributes:
        conductances: (m,) siemens.
        volts: (n,) ascending.
        currents: (m, n) amperes at rest; not a number where nothing settles.
        slopes: (m, n) siemens.
        moved: (m, n) part by which the current depends on time or analysis, though the module has no state.
        drift: (m, n) relative change of the current in a second of its states, at the voltage of a read.
        starts: (m, n) part by which the current at the start of a transient analysis is another than in a read, of a
            module with states; 1e30 where such an analysis has no start.
        grounded: (m, n) part of the current that comes from the ground, or changes with the level of both terminals.
        said: what the module said, or why something was not found.
    """

    conductances: tuple[float, ...]
    volts: tuple[float, ...]
    currents: tuple[tuple[float, ...], ...]
    slopes: tuple[tuple[float, ...], ...]
    moved: tuple[tuple[float, ...], ...]
    drift: tuple[tuple[float, ...], ...]
    starts: tuple[tuple[float, ...], ...]
    grounded: tuple[tuple[float, ...], ...]
    said: tuple[str, ...]

    @property
    def frozen(self) -> str:
        """What shows hidden memory; empty for none."""
        moved = np.nan_to_num(np.array(self.moved))
        if not moved.size or moved.max() <= DIFFERENT:
            return ""
        row, column = np.unravel_index(int(np.argmax(moved)), moved.shape)
        return (
            f"its current depends on the time or the analysis that it is told (by {moved[row, column]:.3g} of it at "
            f"{self.volts[column]:g} V) though no node inside holds a state: what it keeps in variables a simulator "
            "freezes"
        )

    @property
    def strays(self) -> str:
        """Why a simulation in time is none of this cell; empty if it is one."""
        starts = np.nan_to_num(np.array(self.starts))
        if not starts.size or starts.max() <= BEGINS:
            return self.frozen
        row, column = np.unravel_index(int(np.argmax(starts)), starts.shape)
        away = "nowhere" if starts[row, column] == NO_START else f"{starts[row, column]:.2g} of its current away"
        return (
            f"a transient analysis does not begin at the state of a read, but {away} at {self.volts[column]:g} V: "
            'not all simulators say analysis("static") at its start, so hold the state by '
            '`if (analysis("static") || $abstime <= 0)`'
        )

    @property
    def refusals(self) -> list[str]:
        """Why no memristor can be this cell; empty if one can."""
        currents, volts = np.array(self.currents), np.array(self.volts)
        if not np.isfinite(currents).all():
            return [f"it has no operating point: {'; '.join(self.said) or 'its current is not a finite number'}"]
        found = []
        grounded = np.nan_to_num(np.array(self.grounded))
        if grounded.max() > DIFFERENT:
            row, column = np.unravel_index(int(np.argmax(grounded)), grounded.shape)
            found.append(
                f"it has a third terminal, the ground: at {volts[column]:g} V {grounded[row, column]:.2g} of its "
                "current goes there, or depends on the level of its terminals; write its branches between its "
                "terminals, as V(word, bit)"
            )
        inside = np.abs(volts) <= AT_READS
        allowed = LOST * np.outer(self.conductances, volts**2)
        power = np.where(inside, currents * volts + allowed, np.inf)
        row, column = np.unravel_index(int(np.argmin(power)), power.shape)
        if power[row, column] < 0:
            found.append(
                f"it is a source of energy: {currents[row, column]:.4g} A at {volts[column]:g} V, programmed to "
                f"{self.conductances[row]:.3g} S; give its current the sign of its voltage"
            )
        with np.errstate(divide="ignore", invalid="ignore"):
            sizes = np.log(np.abs(currents[[0, -1]]))
            powers = (sizes[1] - sizes[0]) / np.log(self.conductances[-1] / self.conductances[0])
        strongest = int(np.argmax(np.abs(np.nan_to_num(powers))))
        said = (
            f"{currents[0, strongest]:.4g} A at {self.conductances[0]:.3g} S and {currents[-1, strongest]:.4g} A at "
            f"{self.conductances[-1]:.3g} S, both at {volts[strongest]:g} V"
        )
        if (np.nan_to_num(powers) < -FOLLOWS).any() and not (powers > FOLLOWS).any():
            found.append(
                f"its current falls as its conductance grows: {said}; give the parameter that takes siemens as "
                "conductance_parameter, or the one that takes ohm as resistance_parameter"
            )
        elif (np.abs(np.nan_to_num(powers)) < FOLLOWS).all():
            found.append(f"its current does not depend on its conductance: {said}; name another parameter")
        return found


@lru_cache
def structure_of(path: Path, source: str) -> Structure:
    """What the module of a library has; found by a process of its own.

    Raises:
        DeviceError: the library cannot be loaded, or has no module.
    """
    found = _kept(path, source, ["structure", str(path)])
    parameters = tuple(Parameter(**one) for one in found["parameters"])
    return Structure(tuple(found["nodes"]), found["terminals"], parameters, tuple(found["states"]), found["dynamic"])


def examined(path: Path, source: str, request: Sequence[Any]) -> Findings:
    """The behaviour of cells.

    Args:
        path: of the library.
        source: where it came from, for errors.
        request: fixed parameters, the programmed one, whether it takes ohm, and the lowest and highest siemens.

    Raises:
        DeviceError: the module ends the process, or refuses what it is given.
    """
    found = _kept(path, source, ["behaviour", str(path), json.dumps(list(request))])
    return Findings(**{key: _tuples(value) for key, value in found.items()})


def _kept(path: Path, source: str, arguments: list[str]) -> dict[str, Any]:
    """The answer of the process, kept beside the library for as long as that is the same."""
    library = path.read_bytes()
    digest = hashlib.sha256(library + Path(__file__).read_bytes() + "\0".join(arguments).encode()).hexdigest()
    place = path.with_name(f"{path.stem}.{digest[:16]}.json")
    if place.is_file():
        return read_json(place)
    with TemporaryDirectory(prefix="xbar-va-") as folder:
        command = [sys.executable, "-P", "-c", START, str(PACKAGE), *arguments, str(Path(folder) / "answer.json")]
        try:
            status, _, errors = run_limited(command, Path(folder), seconds=SECONDS)
        except subprocess.TimeoutExpired:
            raise DeviceError(
                f"{source}: its module was not done with a few operating points after {SECONDS:g} s; look for loops "
                "that do not end"
            ) from None
        answer = Path(folder) / "answer.json"
        if status or not answer.is_file():
            ended = f"by signal {-status}" if status < 0 else f"with status {status}"
            said = "; ".join(line for line in errors.splitlines()[-2:] if line.strip())
            raise DeviceError(
                f"{source}: the process that tried its compiled module ended {ended} ({said or 'it said nothing'}); "
                "such a library is not loaded anywhere"
            )
        found = json.loads(answer.read_text(encoding="utf-8"))
    if "refused" in found:
        raise DeviceError(f"{source}: {found['refused']}")
    with suppress(XbarError):  # a full disk costs the next program this look
        write(place, json.dumps(found))
    return dict(found)


def _tuples(value: Any) -> Any:
    """Lists as tuples; what JSON has no number for comes back as not a number."""
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    return float("nan") if value is None else value


# --- in the process of its own ----------------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> None:
    """Answer one request and write it into the file that is named last."""
    word, path, *rest, answer = arguments
    try:
        library = Library(Path(path))
        found = (
            asdict(_structure(library)) if word == "structure" else asdict(_behaviour(library, *json.loads(rest[0])))
        )
    except (DeviceError, OSError) as error:
        found = {"refused": str(error)}
    Path(answer).write_text(json.dumps(_plain(found)), encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _structure(library: Library) -> Structure:
    rows = {row for row, _, _, reactive in library.entries if reactive}
    return Structure(
        tuple(library.nodes),
        int(library.descriptor.terminals_count),
        tuple(parameter for _, parameter in library.parameters.values()),
        tuple(library.nodes[row] for row in sorted(rows) if row >= TERMINALS),
        bool(rows),
    )


def _behaviour(
    library: Library, parameters: dict[str, float], programmed: str, ohms: bool, low: float, high: float
) -> Findings:
    instance = Instance(library, parameters, programmed)
    conductances = np.geomspace(low, high, CONDUCTANCES)
    volts = np.array([-volt for volt in VOLTS[::-1]] + list(VOLTS))
    shape = CONDUCTANCES, volts.size
    currents, slopes, moved, drift, starts, grounded = (np.full(shape, np.nan) for _ in range(6))
    said: list[str] = []
    law, structure = StaticLaw(instance), _structure(library)
    others = [StaticLaw(instance, DYNAMIC, time) for time in TIMES]
    lifted = StaticLaw(instance, level=LEVEL)
    for row, column in np.ndindex(*shape):
        value = np.array([1.0 / conductances[row] if ohms else conductances[row]])
        volt = volts[[column]]
        try:
            with np.errstate(all="ignore"):
                current, slope = law(value, volt)
                currents[row, column], slopes[row, column] = current[0], slope[0]
                _, at = law.point(value, volt, law.joined(float(value[0])))
                aside = abs(float(at.residual[0, :TERMINALS].sum())), abs(float(lifted(value, volt)[0][0] - current[0]))
                grounded[row, column] = max(aside) / max(abs(current[0]), 1e-30)
                if structure.states:
                    drift[row, column] = _drift(law, instance, value, volt)
                    starts[row, column] = _start(others[0], value, volt, float(current[0]))
                else:
                    told = [float(other(value, volt)[0][0]) for other in others]
                    moved[row, column] = max(abs(one - current[0]) for one in told) / max(abs(current[0]), 1e-30)
        except DeviceError as error:
            said.append(str(error))
    said += messages()
    return Findings(
        tuple(conductances.tolist()),
        tuple(volts.tolist()),
        _rows(currents),
        _rows(slopes),
        _rows(moved),
        _rows(drift),
        _rows(starts),
        _rows(grounded),
        tuple(dict.fromkeys(said)),
    )


def _rows(array: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in array.tolist())


def _start(law: StaticLaw, value: Floats, volt: Floats, current: float) -> float:
    """By which part of the current another one flows where a transient analysis begins."""
    try:
        begun = float(law(value, volt)[0][0])
    except DeviceError:
        return NO_START
    return abs(begun - current) / max(abs(current), 1e-30)


def _drift(law: StaticLaw, instance: Instance, value: Floats, volt: Floats) -> float:
    """Relative change of the current in a second, as its states set out from the static point."""
    nodes = law.joined(float(value[0]))
    state, rest = law.point(value, volt, nodes)
    later = instance.evaluate(value, state, DYNAMIC, LATER, nodes)
    inner = law.inner(nodes)
    moving = [node for node in inner if later.capacitance[0, node].any()]
    still = [node for node in inner if node not in moving]
    if not moving:
        return 0.0
    residual, jacobian = later.residual[0], later.jacobian[0]
    rates = np.linalg.solve(later.capacitance[0][np.ix_(moving, moving)], -residual[moving])
    change = jacobian[0, moving]
    if still:
        follows = np.linalg.solve(jacobian[np.ix_(still, still)], jacobian[np.ix_(still, moving)])
        change = change - jacobian[0, still] @ follows
    return float(change @ rates / rest.residual[0, 0]) if rest.residual[0, 0] else 0.0
