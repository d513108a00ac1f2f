"""Settings that nothing uses: a class says in `NEEDS` which other field each of its fields needs to have an effect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from xbar_spice.checks.rules import given
from xbar_spice.errors import IdleSettingError

__all__ = ["idle_fields", "refuse_idle"]


def idle_fields(kind: Any, values: Mapping[str, Any]) -> dict[str, str]:
    """Settings that nothing uses, each with the setting that it needs.

    Args:
        kind: a dataclass; its `NEEDS` says by which other field each field comes to have an effect.
        values: its fields by name, or some of them.

    Example:
        >>> from xbar_spice.hardware.converters import Converters
        >>> idle_fields(Converters, {"adc_range": 0.5, "dac_bits": 4})
        {'adc_range': 'adc_bits'}
    """
    defaults = {field.name: field.default for field in fields(kind)}
    return {
        name: need
        for name, need in getattr(kind, "NEEDS", {}).items()
        if values.get(name, defaults[name]) != defaults[name] and not values.get(need, defaults[need])
    }


def refuse_idle(values: Any) -> None:
    """Refuse a frozen dataclass with settings that nothing uses."""
    held = {field.name: getattr(values, field.name) for field in fields(values)}
    for name, need in idle_fields(type(values), held).items():
        raise IdleSettingError(
            f"{name} has no effect without {need}, got {name} = {given(held[name])} and {need} = {given(held[need])}; "
            f"give {need}, or leave {name} out"
        )
