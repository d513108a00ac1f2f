"""Parameter sets of cells and op-amps, kept as TOML files in `models/`, and the SPICE libraries beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final, get_args, get_origin

from xbar_spice.checks import checked
from xbar_spice.disk import read_toml
from xbar_spice.errors import DeviceError
from xbar_spice.hardware.cells import Device, SubcircuitCell
from xbar_spice.hardware.subcircuit import Subcircuit
from xbar_spice.hardware.subcircuit.rails import on_rails
from xbar_spice.hardware.table_cell import TableCell
from xbar_spice.hardware.verilog_a import VerilogACell
from xbar_spice.parts import DEVICES
from xbar_spice.registry import Choice
from xbar_spice.spice.resources import search_path

__all__ = ["Lookup", "device_names", "load_device", "load_opamp", "opamp_names"]

TABLE = "table"
SUBCIRCUIT = "subcircuit"
VERILOG_A = "verilog_a"
PARAMETERS = ("conductance_parameter", "resistance_parameter")  # a cell has one of them
OPAMPS = "opamps"  # the folder of them within a folder of models


def device_names(models: Sequence[Path] = ()) -> tuple[str, ...]:
    """What `load_device` knows: "ohmic", and every file `NAME.toml` in the folders of models."""
    names = {file.stem for folder in search_path("models", models) for file in folder.glob("*.toml")}
    return ("ohmic", *sorted(names - {"ohmic"}))


def opamp_names(models: Sequence[Path] = ()) -> tuple[str, ...]:
    """What `load_opamp` knows: every file `opamps/NAME.toml` in the folders of models."""
    found = (file for folder in search_path("models", models) for file in (folder / OPAMPS).glob("*.toml"))
    return tuple(sorted({file.stem for file in found}))


@checked()
def load_device(name: str | Path, models: Sequence[Path] = ()) -> Device:
    """The device of a parameter set, or the law that a text names.

    A file has a `law`, the `source` of its numbers, and a table `parameters`. The law is one of `DEVICES` of
    `xbar_spice.parts`, whose fields the parameters are; or "subcircuit", with `library` (a SPICE file beside it), the
    name of a `subcircuit` with the pins word line and bit line, and its `conductance_parameter`, which gets siemens, or
    its `resistance_parameter`, which gets ohm. `compat` says which dialect the library is written in: "psa", "lt" or
    "hs". Or it is "table", with the `file` of a measured table beside it, see `TableCell.from_csv`. Or it is
    "verilog_a", with the `source_file` beside it, the name of a `module` with two terminals, and its
    `conductance_parameter` or `resistance_parameter`; the module is compiled to native code and run: load such files
    only from whom you trust.

    Args:
        name: "ohmic", the name of a file in `models/` without its ending, the path of a TOML file, or the text of a law
            with its options, such as "sinh(v0=0.3)" or "my_cells.py:Cubic(v1=0.5)".
        models: the user's own folders, searched first.

    Raises:
        DeviceError: no such file, or one that does not describe a device; the text names it.
        EngineUnavailableError: a Verilog-A module without the extra `verilog-a`, which has its compiler.

    Example:
        >>> load_device("stanford_gap")
        Sinh(v0=0.25)
    """
    if isinstance(name, str) and (name == "ohmic" or _is_law(name)):
        return DEVICES.get(name)
    path = _find(name, "device", search_path("models", models), device_names(models))
    content = read_toml(path, error=DeviceError, role="device model")
    law = content.get("law")
    if law == SUBCIRCUIT:
        subcircuit = _subcircuit(path, content, ("law", *PARAMETERS))
        given = {key: _text(path, content, key) for key in PARAMETERS if key in content}
        if len(given) != 1:
            _text(path, content, "conductance_parameter")
        try:
            return SubcircuitCell(subcircuit, **given)
        except DeviceError as error:
            raise DeviceError(f"{path}: {error}") from error
    if law == VERILOG_A:
        return _verilog_a(path, content)
    if law == TABLE:
        if set(content) - {"source", "law", "file"}:
            raise DeviceError(f"{path}: a law from a table has the keys source, law and file, got {', '.join(content)}")
        return TableCell.from_csv(path.parent / _text(path, content, "file"))
    if set(content) - {"source", "law", "parameters"} or law not in DEVICES.names:
        raise DeviceError(
            f"{path}: a device model has the keys source, law and parameters, and law is one of "
            f"{', '.join([*DEVICES.names, SUBCIRCUIT, TABLE, VERILOG_A])}; got the keys {', '.join(content)} and the "
            f"law {law!r}"
        )
    try:
        return DEVICES.get(law, **_values(content.get("parameters", {})))
    except (TypeError, ValueError, DeviceError) as error:
        raise DeviceError(f"{path}: {error}") from error


@checked()
def load_opamp(name: str | Path, models: Sequence[Path] = ()) -> Subcircuit:
    """The op-amp of a parameter set: `library`, `subcircuit` with the pins in and out, `source` and `parameters`.

    One with rails, as vendors model them, has a `supply`, volts of both rails, and with other `pins` than in+ in- v+ v-
    out also these. `compat` says which dialect the library is written in.

    Args:
        name: of a file in `models/opamps/` without its ending, or the path of a TOML file.
        models: the user's own folders, searched first.

    Raises:
        DeviceError: no such file, or one that does not describe an op-amp; the text names it.

    Example:
        >>> load_opamp("loaded").pins
        ('in', 'out')
    """
    folders = [folder / OPAMPS for folder in search_path("models", models)]
    path = _find(name, "op-amp", folders, opamp_names(models))
    content = read_toml(path, error=DeviceError, role="op-amp model")
    subcircuit = _subcircuit(path, content, ("supply", "pins"))
    if not {"supply", "pins"} & set(content):
        return subcircuit
    try:
        return on_rails(subcircuit, content.get("supply"), _roles(content))
    except DeviceError as error:
        raise DeviceError(f"{path}: {error}") from error


@final
@dataclass(frozen=True)
class Lookup:
    """Finds what texts of settings name: devices and op-amps by name or file, and the files of parts.

    Each file is read once: what it said then is what all that ask here get, in worker processes, too.

    Attributes:
        folder: Where relative paths start.
        models: The user's own folders of models, searched first.
        netlists: The user's own folders of templates, searched first.
    """

    folder: Path = Path()
    models: tuple[Path, ...] = ()
    netlists: tuple[Path, ...] = ()
    _found: dict[tuple[str, str], Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __call__(self, kind: Any, text: str) -> Any:
        """What a text names in a field of this type; a text that names nothing is returned as it is."""
        if get_origin(kind) is Choice:
            return self.part(text)
        loaders = {Device: load_device, Subcircuit: load_opamp}
        load = next((load for one, load in loaders.items() if one in (kind, *get_args(kind))), None)
        if load is None:
            return text
        if kind is Device and _is_law(text):
            return load_device(self.part(text))
        name = str(self.folder / Path(text).expanduser()) if text.endswith(".toml") else text
        key = load.__name__, name
        if key not in self._found:
            self._found[key] = load(name, self.models)
        return self._found[key]

    def part(self, text: str) -> str:
        """The text of a part whose file, if there is one, is named by its full path."""
        path, dot, rest = text.partition(".py:")
        return f"{(self.folder / Path(path.strip()).expanduser()).absolute()}{dot}{rest}" if dot else text


def _is_law(text: str) -> bool:
    """Whether a text names the class of a law, and no parameter set."""
    return ":" in text or "(" in text


def _roles(content: dict[str, Any]) -> list[str] | None:
    """What each pin of an op-amp is, as a list or as words."""
    pins = content.get("pins")
    if pins is None or isinstance(pins, list):
        return pins
    if isinstance(pins, str):
        return pins.split()
    raise DeviceError(f"pins must be what each pin of the op-amp is, such as 'in+ in- v+ v- out', got {pins!r}")


def _find(name: str | Path, what: str, folders: Sequence[Path], known: Sequence[str]) -> Path:
    if isinstance(name, Path) or name.endswith(".toml"):
        return Path(name).expanduser()
    for folder in folders:
        if name in known and (folder / f"{name}.toml").is_file():
            return folder / f"{name}.toml"
    allowed = ", ".join(map(repr, known))
    raise DeviceError(f"{what} must be one of {allowed}, or a TOML file, got {name!r}")


def _subcircuit(path: Path, content: dict[str, Any], more: Sequence[str] = ()) -> Subcircuit:
    """The subcircuit that a parameter set names, from the library beside it."""
    keys = {"source", "library", "subcircuit", "parameters", "compat", *more}
    if set(content) - keys:
        raise DeviceError(f"{path}: the keys are {', '.join(sorted(keys))}; got {', '.join(content)}")
    parameters = content.get("parameters", {})
    if not isinstance(parameters, dict):
        raise DeviceError(f"{path}: parameters must be a table of numbers, got {parameters!r}")
    library, name = path.parent / _text(path, content, "library"), _text(path, content, "subcircuit")
    compat = _text(path, content, "compat") if "compat" in content else ""
    try:
        return Subcircuit.from_file(library, name, parameters, compat)
    except DeviceError as error:
        raise DeviceError(f"{path}: {error}") from error


def _verilog_a(path: Path, content: dict[str, Any]) -> VerilogACell:
    """The cell of a module that a parameter set names, from the source beside it."""
    keys = {"source", "law", "source_file", "module", "parameters", *PARAMETERS}
    if set(content) - keys:
        raise DeviceError(f"{path}: a Verilog-A cell has the keys {', '.join(sorted(keys))}; got {', '.join(content)}")
    parameters = content.get("parameters", {})
    if not isinstance(parameters, dict):
        raise DeviceError(f"{path}: parameters must be a table of numbers, got {parameters!r}")
    file = path.parent / _text(path, content, "source_file")
    module = _text(path, content, "module") if "module" in content else ""
    given = {key: _text(path, content, key) for key in PARAMETERS if key in content}
    try:
        return VerilogACell.from_file(file, module, parameters=parameters, **given)
    except DeviceError as error:
        raise DeviceError(f"{path}: {error}") from error


def _text(path: Path, content: dict[str, Any], key: str) -> str:
    value = content.get(key)
    if not isinstance(value, str):
        raise DeviceError(f"{path}: {key} must be a text, got {value!r}")
    return value


def _values(parameters: dict[str, Any]) -> dict[str, Any]:
    """TOML's arrays as the tuples that frozen devices hold."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in parameters.items()}
