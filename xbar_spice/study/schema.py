"""Settings of a study file as pydantic models that follow the package's own dataclasses.

A field that `Design` or the solver options gain can be set in a study file, and be an axis, without a change here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, get_args, get_type_hints

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, create_model

from xbar_spice.checks import idle_fields
from xbar_spice.hardware.device import Device
from xbar_spice.hardware.subcircuit import Subcircuit
from xbar_spice.parts import DEVICES
from xbar_spice.registry import Choice, Registry
from xbar_spice.settings import KIND, entries, seconds
from xbar_spice.spice.device_models import Lookup

__all__ = ["Settings", "lookup_of", "settings_like", "unused_settings"]


def lookup_of(info: ValidationInfo) -> Lookup:
    """Where the texts of the study that is read are looked up."""
    return info.context if isinstance(info.context, Lookup) else Lookup()


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
    about = {entry.path[0]: entry.about for entry in entries(default) if len(entry.path) == 1}
    fields: dict[str, tuple[Any, Any]] = dict(more)
    for field in dataclasses.fields(default):
        value, hint = getattr(default, field.name), hints[field.name]
        said = about.get(field.name)
        text = None if said is None else said.help
        if hint is Device:
            fields[field.name] = (_named(hint), Field(DEVICES.text(value), description=text))
        elif Subcircuit in get_args(hint):
            fields[field.name] = (_named(hint) | None, Field(None, description=text))
        elif isinstance(vars(type(default)).get(field.name), Choice):
            fields[field.name] = _part(vars(type(default))[field.name].registry, value, field.name)
        elif dataclasses.is_dataclass(value):
            nested = settings_like(value, field.name)
            fields[field.name] = (nested, Field(default_factory=nested))
        elif said is not None and said.unit == "second":
            fields[field.name] = (Annotated[hint, _TIME], Field(value, description=text))
        else:
            fields[field.name] = (hint, Field(value, description=text))
    model: type[Settings] = create_model(name, __base__=Settings, **fields)  # type: ignore[call-overload]
    return model


_TIME = BeforeValidator(lambda given: seconds(given) if isinstance(given, str) else given)


def _named(kind: Any) -> Any:
    """The type of a text that names a device or an op-amp; what it names is read at once."""

    def known(text: str, info: ValidationInfo) -> str:
        lookup_of(info)(kind, text)
        return text

    return Annotated[str, AfterValidator(known)]


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
