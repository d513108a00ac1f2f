"""A compiled Verilog-A module as the Open Source Device Interface (OSDI 0.4 and later) shows it, bound by cffi.

The interface: a library has a table of descriptors. A descriptor lists nodes (terminals first), parameters and the
entries of the Jacobian, and has functions that set up a model and an instance, evaluate the instance at node voltages,
and write its residuals (currents out of the nodes, and the equations of branch currents) and their derivatives. Model
and instance are blocks of memory of the caller's; nodes that the module joins (`V(a, b) <+ 0`) are flags in the second.

A library is native code: a broken one ends the process that loads it. `library` lets a throwaway process load it first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.errors import DeviceError

__all__ = ["DYNAMIC", "KELVIN", "STATIC", "Evaluation", "Instance", "Library", "Parameter"]

Floats = NDArray[np.float64]

OLDEST = (0, 4)
KELVIN = 300.15  # of a simulation that says nothing else; ngspice has 27 degrees Celsius
SIMULATOR = {"gmin": 1e-12, "gdev": 1e-12, "tnom": 27.0, "sourceScaleFactor": 1.0}  # what `$simparam` knows, as there
GROUND = 2**32 - 1
TERMINALS = 2

SET, OF_INSTANCE = 1, 4  # ways to access a parameter
KINDS = ("model", "instance", "result")
TYPES = ("real", "integer", "text")
RESIDUALS, JACOBIANS = 1 | 2, 4 | 8  # resistive and reactive ones
DC, TRANSIENT, AT_REST = 2048, 8192, 32768
STATIC = DC | AT_REST
DYNAMIC = TRANSIENT
ENDED = 2 | 4 | 8  # by $fatal, $finish or $stop
SEVERE = 4  # of a message

DECLARATIONS = """
typedef struct { char **names; double *values; char **text_names; char **texts; } Settings;
typedef struct { Settings settings; double time; double *solution; double *states; double *next_states;
                 uint32_t flags; } Point;
typedef struct { uint32_t code; uint32_t parameter; } Fault;
typedef struct { uint32_t flags; uint32_t count; Fault *faults; } Faults;
typedef struct { uint32_t first; uint32_t second; } Pair;
typedef struct { Pair nodes; uint32_t reactive_offset; uint32_t flags; } Entry;
typedef struct { char *name; char *units; char *residual_units; uint32_t resistive; uint32_t reactive;
                 uint32_t limited; uint32_t limited_reactive; bool flow; } Node;
typedef struct { char **names; uint32_t aliases; char *description; char *units; uint32_t flags;
                 uint32_t length; } Quantity;
typedef struct {
  char *name; uint32_t nodes_count; uint32_t terminals_count; Node *nodes;
  uint32_t entries_count; Entry *entries; uint32_t joinable_count; Pair *joinable; uint32_t joined_offset;
  void *noise; uint32_t noise_count;
  uint32_t parameters_count; uint32_t instance_parameters_count; uint32_t results_count; Quantity *quantities;
  uint32_t map_offset; uint32_t pointers_offset; uint32_t states_count; uint32_t states_offset; uint32_t bound_offset;
  uint32_t instance_size; uint32_t model_size;
  void *(*access)(void *instance, void *model, uint32_t number, uint32_t way);
  void (*set_up_model)(void *handle, void *model, Settings *settings, Faults *faults);
  void (*set_up_instance)(void *handle, void *instance, void *model, double kelvin, uint32_t terminals,
                          Settings *settings, Faults *faults);
  uint32_t (*evaluate)(void *handle, void *instance, void *model, Point *point);
  void *load_noise;
  void (*load_residual)(void *instance, void *model, double *out);
  void (*load_reactive_residual)(void *instance, void *model, double *out);
  void *others[7];
  void *given_of_model; void *given_of_instance;
  uint32_t resistive_count; uint32_t reactive_count;
  void (*write_jacobian)(void *instance, void *model, double *out);
  void (*write_reactive_jacobian)(void *instance, void *model, double *out);
} Descriptor;
extern uint32_t OSDI_VERSION_MAJOR;
extern uint32_t OSDI_VERSION_MINOR;
extern uint32_t OSDI_NUM_DESCRIPTORS;
extern Descriptor OSDI_DESCRIPTORS[];
extern void (*osdi_log)(void *handle, char *text, uint32_t level);
"""


@final
@dataclass(frozen=True)
class Parameter:
    """A parameter of a module: its name, whose it is ("model" or "instance"), and its type."""

    name: str
    kind: str
    type: str


@final
@dataclass(frozen=True)
class Evaluation:
    """What instances give at node voltages.

    Attributes:
        residual: (cells, nodes) amperes out of each node.
        jacobian: (cells, nodes, nodes) its derivatives.
        charge: (cells, nodes) coulomb, of which the current out of a node is the derivative in time.
        capacitance: (cells, nodes, nodes) its derivatives.
    """

    residual: Floats
    jacobian: Floats
    charge: Floats
    capacitance: Floats


@final
class Library:
    """The first module of a library that is loaded into this process."""

    def __init__(self, path: Path) -> None:
        ffi = interface()
        self._library: Any = ffi.dlopen(str(path.absolute()))
        version = self._library.OSDI_VERSION_MAJOR, self._library.OSDI_VERSION_MINOR
        if version < OLDEST or not self._library.OSDI_NUM_DESCRIPTORS:
            raise DeviceError(f"{path} is no library of OSDI 0.4 or later with a module in it")
        self._library.osdi_log = _take_message()
        self.descriptor: Any = self._library.OSDI_DESCRIPTORS[0]

    @cached_property
    def nodes(self) -> list[str]:
        """Names, terminals first; branch currents that are unknown stand among them."""
        return [_text(self.descriptor.nodes[k].name) for k in range(self.descriptor.nodes_count)]

    @cached_property
    def currents(self) -> list[bool]:
        """Which of these are such currents."""
        return [bool(self.descriptor.nodes[k].flow) for k in range(self.descriptor.nodes_count)]

    @cached_property
    def parameters(self) -> dict[str, tuple[int, Parameter]]:
        """Number and description of each parameter, by its name."""
        found = {}
        for number in range(self.descriptor.parameters_count):
            quantity = self.descriptor.quantities[number]
            name = _text(quantity.names[0])
            if name.startswith("$"):
                continue  # what every module has, such as $mfactor
            kind, type_ = KINDS[quantity.flags >> 30], TYPES[quantity.flags & 3]
            if quantity.length <= 1:
                found[name] = number, Parameter(name, kind, type_)
        return found

    @cached_property
    def entries(self) -> list[tuple[int, int, bool, bool]]:
        """Row, column, and whether it is resistive and reactive, of each entry of the Jacobian."""
        entries = [self.descriptor.entries[k] for k in range(self.descriptor.entries_count)]
        return [(one.nodes.first, one.nodes.second, bool(one.flags & 4), bool(one.flags & 8)) for one in entries]

    @cached_property
    def joinable(self) -> list[tuple[int, int]]:
        """Pairs of nodes that the module may make one; the second may be the ground."""
        pairs = [self.descriptor.joinable[k] for k in range(self.descriptor.joinable_count)]
        return [(pair.first, pair.second) for pair in pairs]


@final
class Instance:
    """One instance, which stands for all cells in turn.

    Args:
        library: of its module.
        parameters: values of the parameters that are fixed.
        programmed: the parameter that differs from cell to cell.

    Raises:
        DeviceError: the module refuses a value.
    """

    def __init__(self, library: Library, parameters: Mapping[str, float], programmed: str) -> None:
        if not library.entries:
            raise DeviceError(
                "its module has no current between its terminals; contribute to it, as I(word, bit) <+ ..."
            )
        ffi = self._ffi = interface()
        self.library, self._programmed = library, programmed
        device = self._device = library.descriptor
        self._model = ffi.new("double[]", device.model_size // 8 + 1)
        self._instance = ffi.new("double[]", device.instance_size // 8 + 1)
        names = [ffi.new("char[]", name.encode()) for name in SIMULATOR]
        self._kept = [
            names,
            ffi.new("char *[]", [*names, ffi.NULL]),
            ffi.new("double[]", list(SIMULATOR.values())),
            ffi.new("char *[]", [ffi.NULL]),
        ]
        _, listed, values, none = self._kept
        self._settings = ffi.new("Settings *", {"names": listed, "values": values, "text_names": none, "texts": none})
        self._faults = ffi.new("Faults *")
        self._null, self._set_up = ffi.NULL, device.set_up_instance
        self._nodes = len(library.nodes)
        self._map = ffi.cast("uint32_t *", ffi.cast("char *", self._instance) + device.map_offset)
        for name, value in parameters.items():
            self._set(name, value)
        self._set_up_model()
        number, parameter = library.parameters[programmed]
        self._of_model = parameter.kind == "model"
        way = SET if self._of_model else SET | OF_INSTANCE
        self._place = ffi.cast("double *", device.access(self._owner(), self._model, number, way))
        states = ffi.new("double[]", max(1, device.states_count))
        self._point = ffi.new("Point *", {"settings": self._settings[0], "states": states, "next_states": states})
        self._kept.append(states)
        rows, cols, resistive, reactive = (np.array(part) for part in zip(*library.entries, strict=True))
        self._resistive = rows[resistive], cols[resistive]
        self._reactive = rows[reactive], cols[reactive]

    def _owner(self) -> Any:
        return self._ffi.NULL if self._of_model else self._instance

    def _set(self, name: str, value: float) -> None:
        number, parameter = self.library.parameters[name]
        place = self._device.access(self._ffi.NULL, self._model, number, SET)
        if parameter.type == "integer":
            self._ffi.cast("int32_t *", place)[0] = int(value)
        else:
            self._ffi.cast("double *", place)[0] = value

    def _set_up_model(self) -> None:
        self._device.set_up_model(self._ffi.NULL, self._model, self._settings, self._faults)
        self._refuse()

    def _refuse(self) -> None:
        if self._faults.flags & ENDED:
            self._faults.flags = 0
            raise DeviceError(_ended())
        if self._faults.count:
            number = self._faults.faults[0].parameter
            name = _text(self._device.quantities[number].names[0])
            count, self._faults.count = self._faults.count, 0
            raise DeviceError(f"the value of {name} is outside the range that its module allows ({count} in all)")

    def program(self, value: float) -> None:
        """Have a cell of this value of the programmed parameter.

        Raises:
            DeviceError: the module refuses it.
        """
        self._place[0] = value
        if self._of_model:
            self._set_up_model()
        self._set_up(self._null, self._instance, self._model, KELVIN, TERMINALS, self._settings, self._faults)
        if self._faults.count or self._faults.flags:
            self._refuse()

    def joined(self) -> tuple[int, ...]:
        """Which node each node is one with, of the cell that was programmed; the number of nodes is the ground.

        Terminals keep their own.
        """
        offset, nodes = self._device.joined_offset, list(range(self._nodes + 1))
        flags = self._ffi.cast("bool *", self._ffi.cast("char *", self._instance) + offset)
        for number, (first, second) in enumerate(self.library.joinable):
            if flags[number]:
                one, other = nodes[first], nodes[self._nodes if second == GROUND else second]
                kept, gone = sorted((one, other)) if self._nodes not in (one, other) else (self._nodes, min(one, other))
                nodes = [kept if node == gone else node for node in nodes]
        return tuple(nodes[: self._nodes])

    def evaluate(
        self, values: Floats, volts: Floats, analysis: int = STATIC, time: float = 0.0, nodes: tuple[int, ...] = ()
    ) -> Evaluation:
        """Evaluate cells one after the other.

        Args:
            values: (cells,) of the programmed parameter.
            volts: (cells, nodes) of all nodes against ground.
            analysis: what the module is told: STATIC or DYNAMIC.
            time: seconds that it is told.
            nodes: as `joined`; all apart when left out.

        Raises:
            DeviceError: the module refuses a value, or ends the simulation.
        """
        ffi, device, cells = self._ffi, self._device, len(values)
        width = self._nodes + 1
        self._map[0 : self._nodes] = nodes or tuple(range(self._nodes))
        solution = np.zeros((cells, width))
        solution[:, : self._nodes] = volts
        residual, charge = np.zeros((cells, width)), np.zeros((cells, width))
        slopes = np.zeros((cells, max(1, len(self._resistive[0]))))
        capacitances = np.zeros((cells, max(1, len(self._reactive[0]))))
        at_solution, at_residual, at_charge, at_slopes, at_capacitances = (
            ffi.cast("double *", array.ctypes.data) for array in (solution, residual, charge, slopes, capacitances)
        )
        dynamic = bool(len(self._reactive[0]))
        point, instance, model, null = self._point, self._instance, self._model, ffi.NULL
        # Looked up once: each look-up makes a new object.
        evaluate, load, write = device.evaluate, device.load_residual, device.write_jacobian
        load_charge, write_charge = device.load_reactive_residual, device.write_reactive_jacobian
        wide = slopes.shape[1], capacitances.shape[1]
        point.flags, point.time = RESIDUALS | JACOBIANS | analysis, time
        last, ordered = float("nan"), values.tolist()
        for cell in np.argsort(values, kind="stable").tolist():  # the same cell stands in every vector of a batch
            value = ordered[cell]
            if value != last:
                self.program(value)
                last = value
            point.solution = at_solution + cell * width
            if evaluate(null, instance, model, point) & ENDED:
                raise DeviceError(_ended())
            load(instance, model, at_residual + cell * width)
            write(instance, model, at_slopes + cell * wide[0])
            if dynamic:
                load_charge(instance, model, at_charge + cell * width)
                write_charge(instance, model, at_capacitances + cell * wide[1])
        return Evaluation(
            residual[:, : self._nodes],
            self._dense(slopes, self._resistive, nodes),
            charge[:, : self._nodes],
            self._dense(capacitances, self._reactive, nodes),
        )

    def _dense(self, entries: Floats, places: tuple[Any, Any], nodes: tuple[int, ...]) -> Floats:
        """(cells, nodes, nodes) of the entries of each cell, those of joined nodes added up."""
        width = self._nodes + 1
        dense = np.zeros((len(entries), width, width))
        rows, cols = (np.array(nodes)[part] for part in places) if nodes else places
        for number, (row, col) in enumerate(zip(rows, cols, strict=True)):
            dense[:, row, col] += entries[:, number]
        return dense[:, : self._nodes, : self._nodes]


@lru_cache
def interface() -> Any:
    """The declarations of the interface.

    Raises:
        DeviceError: cffi is not installed.
    """
    try:
        from cffi import FFI  # noqa: PLC0415 - needed for such cells alone
    except ImportError as error:
        raise DeviceError("a Verilog-A cell needs cffi: pip install 'xbar-spice[verilog-a]'") from error
    ffi = FFI()
    ffi.cdef(DECLARATIONS)
    return ffi


def _ended() -> str:
    return f"its module ended the simulation: {'; '.join(messages()) or 'it said nothing'}"


_MESSAGES: list[str] = []


def messages() -> list[str]:
    """What modules have said in earnest since this was asked last."""
    said, _MESSAGES[:] = _MESSAGES[-3:], []
    return said


@lru_cache
def _take_message() -> Any:
    ffi = interface()

    @ffi.callback("void(void *, char *, uint32_t)")  # type: ignore[untyped-decorator]
    def take(handle: Any, text: Any, level: int) -> None:
        if level & 7 >= SEVERE and len(_MESSAGES) < 100:
            _MESSAGES.append(_text(text).strip())

    return take


def _text(place: Any) -> str:
    return interface().string(place).decode("utf-8", "replace") if place != interface().NULL else ""
