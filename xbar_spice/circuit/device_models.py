"""Published parameter sets of the static cell laws, kept as TOML files in `models/`."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xbar_spice.circuit.resources import search_path
from xbar_spice.devices import Device, Ohmic, OneTransistorOneResistor, Polynomial, Sinh
from xbar_spice.errors import DeviceError

__all__ = ["LAWS", "device_names", "load_device"]

LAWS: dict[str, type[Device]] = {
    "ohmic": Ohmic,
    "sinh": Sinh,
    "polynomial": Polynomial,
    "one_transistor_one_resistor": OneTransistorOneResistor,
}


def device_names(models: Sequence[Path] = ()) -> tuple[str, ...]:
    """What `load_device` knows: "ohmic", and every file `NAME.toml` in the folders of models."""
    names = {file.stem for folder in search_path("models", models) for file in folder.glob("*.toml")}
    return ("ohmic", *sorted(names - {"ohmic"}))


def load_device(name: str | Path, models: Sequence[Path] = ()) -> Device:
    """The device of a parameter set.

    A file has a `law`, one of `LAWS`, the `source` of its numbers, and a table `parameters` of the law's fields.

    Args:
        name: "ohmic", the name of a file in `models/` without its ending, or the path of a TOML file.
        models: the user's own folders, searched first.

    Raises:
        DeviceError: no such file, or one that does not describe a device; the text names it.

    Example:
        >>> load_device("stanford_gap")
        Sinh(v0=0.25)
    """
    if name == "ohmic":
        return Ohmic()
    path = _find(name, models)
    try:
        content = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DeviceError(f"cannot read the device model {path}: {error}") from error
    unknown = set(content) - {"source", "law", "parameters"}
    if unknown or content.get("law") not in LAWS:
        raise DeviceError(
            f"{path}: a device model has the keys source, law and parameters, and law is one of {', '.join(LAWS)}; "
            f"got the keys {', '.join(content)} and the law {content.get('law')!r}"
        )
    try:
        return LAWS[content["law"]](**_values(content.get("parameters", {})))
    except (TypeError, ValueError, DeviceError) as error:
        raise DeviceError(f"{path}: {error}") from error


def _find(name: str | Path, models: Sequence[Path]) -> Path:
    if isinstance(name, Path) or name.endswith(".toml"):
        return Path(name).expanduser()
    for folder in search_path("models", models):
        if (folder / f"{name}.toml").is_file():
            return folder / f"{name}.toml"
    raise DeviceError(f"device must be one of {', '.join(device_names(models))}, or a TOML file, got {name!r}")


def _values(parameters: dict[str, Any]) -> dict[str, Any]:
    """TOML's arrays as the tuples that frozen devices hold."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in parameters.items()}
