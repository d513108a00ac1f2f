"""Settings of a study file as pydantic models that follow the package's own dataclasses.

A field that `Design` or the solver options gain can be set in a study file, and be an axis, without a change here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, create_model

from xbar_spice.checks import idle_fields
from xbar_spice.errors import IdleSettingError
from xbar_spice.hardware.cells import Device
from xbar_spice.hardware.subcircuit import Subcircuit
from xbar_spice.registry import Choice, Registry
from xbar_spice.spice.device_models import device_names, load_device, load_opamp, opamp_names

__all__ = ["DEVICES", "Settings", "build", "settings_like", "unused_settings"]

KIND = "kind"  # the key of a table under which the text of a part stands

DEVICES: dict[str, Device] = {name: load_device(name) for name in device_names()}
OPAMPS: dict[str, Subcircuit] = {name: load_opamp(name) for name in opamp_names()}


class Settings(BaseModel):
    """A part of a study file: unknown keys and values of another type are errors."""

    # TOML has types: "16" is not the number 16.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def settings_like(default: Any, name: str, **more: tuple[Any, Any]) -> type[Settings]:
    """A model with the fields, types and values of a dataclass instance, nested ones included.

    Args:
        default: the instance; its values become the defaults.
        name: of the model.
        **more: further fields, each as (type, default).

    Example:
        >>> from xbar_spice.hardware.variation import Variation
        >>> settings_like(Variation(), "Devices")(stuck_on=0.5).stuck_on
        0.5
    """
    hints = get_type_hints(type(default))
    fields: dict[str, tuple[Any, Any]] = dict(more)
    for field in dataclasses.fields(default):
        value = getattr(default, field.name)
        if isinstance(value, Device):
            fields[field.name] = (Annotated[str, AfterValidator(_known_device)], _name_of(value))
        elif hints[field.name] == Subcircuit | None:
            fields[field.name] = (Literal[tuple(OPAMPS)] | None, None)
        elif isinstance(vars(type(default)).get(field.name), Choice):
            fields[field.name] = _part(vars(type(default))[field.name].registry, value, field.name)
        elif dataclasses.is_dataclass(value):
            nested = settings_like(value, field.name)
            fields[field.name] = (nested, Field(default_factory=nested))
        else:
            fields[field.name] = (hints[field.name], value)
    model: type[Settings] = create_model(name, __base__=Settings, **fields)  # type: ignore[call-overload]
    return model


def build(default: Any, values: dict[str, Any]) -> Any:
    """The dataclass that settings describe: `default` with the values of a dumped model; others are ignored.

    Example:
        >>> from xbar_spice.mapping.design import Design

        >>> build(Design(), {"tile": 8, "device": "ohmic", "engine": "nodal"}).tile
        8
    """
    hints = get_type_hints(type(default))
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(default):
        if field.name not in values:
            continue
        old, value = getattr(default, field.name), values[field.name]
        if isinstance(old, Device):
            value = _device(value)
        elif hints[field.name] == Subcircuit | None:
            value = None if value is None else OPAMPS[value]
        elif isinstance(value, dict) and value.get(KIND) is not None:
            value = value[KIND]
        elif dataclasses.is_dataclass(old) and isinstance(value, dict):
            value = build(old, value)
        changes[field.name] = value
    try:
        return dataclasses.replace(default, **changes)
    except IdleSettingError:  # another case of the study uses it, see `unused_settings`
        idle = idle_fields(type(default), changes)
        return dataclasses.replace(default, **{name: changes[name] for name in changes.keys() - idle.keys()})


def unused_settings(default: Any, cases: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Settings that no case uses, each with the one that it needs; their paths within the dumped models.

    Args:
        default: the dataclass instance that the settings describe.
        cases: the dumped model of each case.

    Example:
        >>> from xbar_spice.mapping.matrix import Design
        >>> amplifiers = [{"r_feedback": ohm, "gain": 10.0} for ohm in (0.0, 1e4)]
        >>> list(unused_settings(Design(), [{"amplifier": amplifier} for amplifier in amplifiers[:1]]))
        [('amplifier.gain', 'amplifier.r_feedback')]
        >>> list(unused_settings(Design(), [{"amplifier": amplifier} for amplifier in amplifiers]))
        []
    """
    for field in dataclasses.fields(default):
        part = getattr(default, field.name)
        tables = [case[field.name] for case in cases if isinstance(case.get(field.name), Mapping)]
        idle = {name: need for table in tables for name, need in idle_fields(type(part), table).items()}
        for name, need in idle.items():
            if not any(table.get(need) for table in tables):
                yield f"{field.name}.{name}", f"{field.name}.{need}"


def _part(registry: Registry[Any], value: Any, name: str) -> tuple[Any, Any]:
    """Type and default of a field that holds a part: a text, or the options of the built-in one as a table."""
    if not dataclasses.fields(value):
        return str, registry.text(value)
    nested = settings_like(value, name, **{KIND: (str | None, None)})
    as_table = BeforeValidator(lambda given: {KIND: given} if isinstance(given, str) else given)
    return Annotated[nested, as_table, AfterValidator(_either)], Field(default_factory=nested)


def _either(part: Settings) -> Settings:
    fields = type(part).model_fields
    more = [name for name in fields if name != KIND and getattr(part, name) != fields[name].get_default()]
    if getattr(part, KIND) is not None and more:
        raise ValueError(f"a text names a part with its options, as in 'file.py:Class(option=1)'; leave out {more}")
    return part


def _known_device(name: str) -> str:
    _device(name)
    return name


def _device(name: str) -> Device:
    return DEVICES[name] if name in DEVICES else load_device(name)


def _name_of(device: Device) -> str:
    return next(name for name, known in DEVICES.items() if known == device)
