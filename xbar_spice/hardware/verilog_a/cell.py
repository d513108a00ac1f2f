"""A cell whose law is a static Verilog-A module, compiled once for the simulator and for the exact solver."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Self, final

import numpy as np

from xbar_spice.checks import ANYTHING, Many, Real, Text, settle
from xbar_spice.errors import DeviceError
from xbar_spice.hardware.device import Device
from xbar_spice.hardware.verilog_a.compiler import compiled, expanded
from xbar_spice.hardware.verilog_a.examine import AT_READS, Findings, Structure, examined, structure_of
from xbar_spice.hardware.verilog_a.osdi import TERMINALS, Floats, Instance, Library
from xbar_spice.hardware.verilog_a.solve import StaticLaw
from xbar_spice.hardware.verilog_a.source import gather, modules, renamed

__all__ = ["VerilogACell"]

STEP = 1e-3  # of the conductance: of differences of the fourth order, whose error is then below 1e-11
WINDOW = (1e-6, 1e-4)  # siemens at which a cell is examined that has not met others yet
A_READ = 1e-6  # seconds, a long one
HARMLESS = 1e-9  # of the current: what a state may move in a read

logger = logging.getLogger(__name__)


@final
@dataclass(frozen=True)
class VerilogACell(Device):
    """A cell that is a module in Verilog-A: two terminals, and a parameter that takes the programmed conductance.

    The module is compiled to native code, which runs in this program and in that of the simulator: take modules only
    from whom you would take a program. It is loaded by a process of its own first. The module is read as an operating
    point sees it; one with a state is at rest then.

    Attributes:
        source: text of the one module, without includes and macros, as `from_file` makes it.
        module: its name.
        conductance_parameter: the parameter that takes G, siemens.
        parameters: names and values that every cell gets; what is left out keeps the module's default.
        resistance_parameter: the parameter that takes 1 / G, ohm, in place of the first one; empty for none.
        path: the file that it came from, for errors.
    """

    source: str = field(repr=False)
    module: str
    conductance_parameter: str = "g"
    parameters: tuple[tuple[str, float], ...] = ()
    resistance_parameter: str = ""
    path: str = field(default="", repr=False, compare=False)

    def __post_init__(self) -> None:
        settle(self, DeviceError, source=Text(), module=Text(), parameters=Many(Many(ANYTHING, 2)))
        if self.resistance_parameter and self.conductance_parameter not in ("", VerilogACell.conductance_parameter):
            raise DeviceError(
                "a cell takes its conductance by one parameter, got conductance_parameter="
                f"{self.conductance_parameter!r} and resistance_parameter={self.resistance_parameter!r}; leave one out"
            )
        if self.structure.terminals != TERMINALS:
            raise DeviceError(
                f"{self._where}: a cell has two terminals, word line and bit line; module {self.module} has "
                f"{self.structure.terminals} ({' '.join(self.structure.nodes[: self.structure.terminals])})"
            )
        self._require_parameter(self.programmed, ("real",))
        for name, value in self.parameters:
            Text()("a name among parameters", name, DeviceError)
            self._require_parameter(name, ("real", "integer"))
            if name == self.programmed:
                raise DeviceError(f"parameter {name} takes the conductance of each cell and cannot be fixed")
            Real()(f"parameter {name} of module {self.module}", value, DeviceError)
            if self._types[name] == "integer" and value != int(value):
                raise DeviceError(f"parameter {name} of module {self.module} must be a whole number, got {value!r}")

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        module: str = "",
        conductance_parameter: str = "g",
        parameters: Mapping[str, Any] | None = None,
        resistance_parameter: str = "",
    ) -> Self:
        """The cell of a module of a Verilog-A file, with the files of its folder that it includes.

        Args:
            path: of the file.
            module: its name; the only one with two terminals when left out.
            conductance_parameter: the parameter that takes siemens.
            parameters: values of others.
            resistance_parameter: the parameter that takes ohm instead.

        Raises:
            DeviceError: the file cannot be read, does not compile, or has no such module; the text names the file.
            EngineUnavailableError: there is no compiler; the text says how to get one.
        """
        path = Path(path).expanduser()
        text = _expansion(path)
        found = modules(text)
        if not module:
            names = [one.name for one in found if len(one.ports) == TERMINALS]
            if len(names) != 1:
                raise DeviceError(
                    f"{path}: name the module; those with two terminals are {', '.join(names) or '(none)'}"
                )
            (module,) = names
        if [one.name for one in found].count(module) != 1:
            raise DeviceError(
                f"{path}: module must be one that the file defines once "
                f"({', '.join(one.name for one in found) or 'it has none'}), got {module!r}"
            )
        given = tuple((parameters or {}).items())
        try:
            return cls(
                renamed(text, module, module), module, conductance_parameter, given, resistance_parameter, str(path)
            )
        except DeviceError as error:
            raise error if str(path) in str(error) else DeviceError(f"{path}: {error}") from error

    # --- what the module has --------------------------------------------------------------------------------------

    @property
    def unique_name(self) -> str:
        """The name of the module in the library: that of two modules of one name a simulator takes the first."""
        return _unique_name(self.module, self.source)

    @property
    def renamed(self) -> str:
        """The source of the module under that name, as it is compiled."""
        return renamed(self.source, self.module, self.unique_name)

    @property
    def library(self) -> Path:
        """The compiled library, which ngspice loads by `osdi PATH`."""
        return _library(self)

    @property
    def structure(self) -> Structure:
        """Nodes and parameters of the module."""
        return structure_of(self.library, self._where)

    @property
    def signs(self) -> list[str]:
        """What in its source may keep a state in variables, which no compiled module shows."""
        text = "".join(self.source.split())
        return [sign for sign in ("$abstime", "@(initial_step", "$bound_step") if sign in text]

    @property
    def programmed(self) -> str:
        """The parameter that differs from cell to cell."""
        return self.resistance_parameter or self.conductance_parameter

    @property
    def of_instance(self) -> bool:
        """Whether the programmed parameter belongs to instances; otherwise each cell needs a model of its own."""
        return _of_instance(self)

    @property
    def model(self) -> str:
        """The name of the model card of these cells."""
        return _model(self)

    def card(self, conductance: float | None = None) -> str:
        """What a model card says: the module and its fixed parameters, and a conductance if the model has that, too."""
        values = [*self.parameters, *([] if conductance is None else [self.setting(conductance)])]
        return " ".join([self.unique_name, *(f"{name}={value!r}" for name, value in values)])

    def setting(self, conductance: float) -> tuple[str, float]:
        """The parameter that a cell of this conductance is programmed by, and its value in siemens or ohm."""
        return self.programmed, 1.0 / conductance if self.resistance_parameter else conductance

    def findings(self, low: float = WINDOW[0], high: float = WINDOW[1]) -> Findings:
        """What a lone cell does between these conductances, siemens; measured by a process of its own.

        Raises:
            DeviceError: the module ends that process, or refuses a value.
        """
        if high <= 1.05 * low:
            low, high = 0.97 * low, 1.03 * high
        request = dict(self.parameters), self.programmed, bool(self.resistance_parameter), low, high
        return examined(self.library, self._where, request)

    @property
    def _where(self) -> str:
        return self.path or f"module {self.module}"

    @property
    def _types(self) -> dict[str, str]:
        return {one.name: one.type for one in self.structure.parameters}

    def _require_parameter(self, name: str, types: tuple[str, ...]) -> None:
        if self._types.get(name) not in types:
            known = [one.name for one in self.structure.parameters if one.type in types]
            raise DeviceError(
                f"module {self.module} has the parameters {', '.join(known) or '(none)'} (of the type "
                f"{' or '.join(types)}), got {name!r}; names count with their case"
            )

    # --- as a device ----------------------------------------------------------------------------------------------

    @property
    def linear(self) -> bool:
        return False

    @property
    def template(self) -> str:
        return "cells/verilog_a.cir.j2"

    def require_known(self, conductance: Floats) -> None:
        """Raise a DeviceError for conductances that the module refuses, and for cells that no memristor can be."""
        some = np.asarray(conductance)[np.asarray(conductance) > 0]
        if not some.size:
            return
        low, high = float(some.min()), float(some.max())
        _require_memristor(self)
        for value in (low, high):
            try:
                _law(self).joined(self.setting(value)[1])
            except DeviceError as error:
                raise DeviceError(f"{self._where}: programmed to {value:g} S: {error}") from error

    @property
    def moves(self) -> bool:
        return bool(self.structure.states)

    def require_in_time(self) -> None:
        """Raise a DeviceError for a module whose state a transient analysis loses, or does not move."""
        if strays := self.findings().strays:
            raise DeviceError(f"{self._where}: module {self.module} cannot be simulated in time: {strays}")

    def current(self, conductance: Floats, voltage: Floats) -> Floats:
        return self.evaluate(conductance, voltage)[0]

    def differential_conductance(self, conductance: Floats, voltage: Floats) -> Floats:
        return self.evaluate(conductance, voltage)[1]

    def conductance_sensitivity(self, conductance: Floats, voltage: Floats) -> Floats:
        """dI/dG by differences of the fourth order; to one side of G where the module allows no other."""
        siemens = np.broadcast_to(conductance, np.broadcast_shapes(np.shape(conductance), np.shape(voltage)))
        for weights in (CENTRAL, FORWARD, BACKWARD):
            try:
                total: Floats = np.zeros(siemens.shape)
                for place, weight in weights:
                    total = total + weight * self.evaluate(siemens * (1.0 + place * STEP), voltage)[0]
            except DeviceError:
                if weights is BACKWARD:
                    raise
            else:
                return np.divide(total, STEP * siemens, out=np.zeros_like(total), where=siemens > 0)
        raise AssertionError

    def evaluate(self, conductance: Floats, voltage: Floats) -> tuple[Floats, Floats]:
        """I(G, V) in amperes and dI/dV in siemens, by one evaluation of the module.

        Of the same cells at the same voltages as the last time, as a solver asks for the slopes after the currents,
        nothing is evaluated again.
        """
        siemens, volts = np.broadcast_arrays(np.asarray(conductance, dtype=float), np.asarray(voltage, dtype=float))
        last = _LAST.get(self.model)
        if last is not None and np.array_equal(last[0], siemens) and np.array_equal(last[1], volts):
            return last[2].copy(), last[3].copy()
        current, slope = np.zeros(volts.shape), np.zeros(volts.shape)
        known = np.isfinite(volts) & (siemens > 0)
        current[~np.isfinite(volts)] = slope[~np.isfinite(volts)] = np.nan
        values = 1.0 / siemens[known] if self.resistance_parameter else siemens[known]
        try:
            current[known], slope[known] = _law(self)(values, volts[known])
        except DeviceError as error:
            raise DeviceError(f"{self._where}: {error}") from error
        _LAST.clear()
        _LAST[self.model] = siemens.copy(), volts.copy(), current, slope
        return current.copy(), slope.copy()


CENTRAL = ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12))
FORWARD = ((0, -25 / 12), (1, 4), (2, -3), (3, 4 / 3), (4, -1 / 4))
BACKWARD = tuple((-place, -weight) for place, weight in FORWARD)
_LAST: dict[str, tuple[Floats, Floats, Floats, Floats]] = {}


@lru_cache(64)
def _expansion(path: Path) -> str:
    return expanded(path, gather(path))


@lru_cache(64)
def _unique_name(module: str, source: str) -> str:
    digest = hashlib.sha256(source.encode()).hexdigest()[:10]
    return f"{re.sub(r'[^a-z0-9_]', '_', module.lower())}_{digest}"


@lru_cache(64)
def _library(cell: VerilogACell) -> Path:
    return compiled(cell._where, cell.renamed)


@lru_cache(64)
def _of_instance(cell: VerilogACell) -> bool:
    return next(one.kind for one in cell.structure.parameters if one.name == cell.programmed) == "instance"


@lru_cache(64)
def _model(cell: VerilogACell) -> str:
    digest = hashlib.sha256(repr((cell.parameters, cell.programmed)).encode()).hexdigest()[:6]
    return f"m_{cell.unique_name}_{digest}"


@lru_cache(64)
def _law(cell: VerilogACell) -> StaticLaw:
    """The module in this process, where it is loaded only after a process of its own has had no trouble with it."""
    _require_memristor(cell)
    return StaticLaw(Instance(_loaded(cell.library), dict(cell.parameters), cell.programmed))


@lru_cache
def _loaded(path: Path) -> Library:
    return Library(path)


@lru_cache(64)
def _require_memristor(cell: VerilogACell) -> None:
    """Examine a cell once; what may be meant is logged.

    Raises:
        DeviceError: no memristor can be this cell.
    """
    found = cell.findings()
    if found.refusals:
        raise DeviceError(f"{cell._where}: module {cell.module} cannot be a memristor: {'; '.join(found.refusals)}")
    if found.frozen:
        logger.warning("%s: module %s: %s", cell._where, cell.module, found.frozen)
    if cell.structure.states:
        inside = np.abs(found.volts) <= AT_READS
        worst = float(np.abs(np.array(found.drift)[:, inside]).max())
        moves = f"; a read of {A_READ:g} s at {AT_READS:g} V would change its current by {worst * A_READ:.2g} of it"
        logger.warning(
            "%s: module %s holds a state (%s), which a read takes at rest%s",
            cell._where,
            cell.module,
            ", ".join(cell.structure.states),
            moves if worst * A_READ > HARMLESS else "",
        )
