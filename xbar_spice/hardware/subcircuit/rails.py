"""Op-amps with more pins than input and output: a subcircuit around one gives it its rails."""

from __future__ import annotations

import math
from collections.abc import Sequence

from xbar_spice.errors import DeviceError
from xbar_spice.hardware.subcircuit.definition import Subcircuit

__all__ = ["ROLES", "on_rails"]

# What a pin of an op-amp is, and the node of the wrapper that it is connected to.
ROLES = {"in+": "0", "in-": "in", "v+": "vp", "v-": "vn", "out": "out", "gnd": "0", "open": ""}
USUAL = ("in+", "in-", "v+", "v-", "out")  # the order that vendors of macro-models agree on


def on_rails(opamp: Subcircuit, supply: Sequence[float] | None, pins: Sequence[str] | None = None) -> Subcircuit:
    """An op-amp with the pins in (its inverting input) and out, its other input at ground and its rails at a supply.

    Args:
        opamp: as its vendor models it.
        supply: volts of the negative and of the positive rail; None for an op-amp without rails.
        pins: what each pin is, in the order of the subcircuit: one of `ROLES`; when left out in+ in- v+ v- out.

    Raises:
        DeviceError: pins or supply are not those of an op-amp.
    """
    roles = tuple(pins) if pins is not None else USUAL
    if len(roles) != len(opamp.pins):
        raise DeviceError(
            f"pins says what each pin of the op-amp is, {' '.join(USUAL)} when left out; subcircuit {opamp.name} has "
            f"{len(opamp.pins)} pins ({' '.join(opamp.pins)}), got {len(roles)} ({' '.join(map(str, roles))})"
        )
    wrong = [role for role in roles if role not in ROLES]
    once = [role for role in ("in-", "in+", "out") if roles.count(role) != 1]
    if wrong or once:
        raise DeviceError(
            f"pins must be of {', '.join(ROLES)}, with in+, in- and out once each, got {' '.join(map(str, roles))}"
        )
    rails = [role for role in ("v-", "v+") if role in roles]
    if supply is None and rails:
        raise DeviceError(f"an op-amp with the pins {' '.join(rails)} needs a supply, such as supply = [-15, 15]")
    low, high = _checked(supply) if supply is not None else (0.0, 0.0)
    nodes = [ROLES[role] or f"open{number}" for number, role in enumerate(roles)]
    values = "".join(f" {name}={float(value)!r}" for name, value in opamp.parameters)
    name = f"{opamp.name}_on_{_word(low)}_{_word(high)}"
    while name.lower() in opamp.definitions:
        name += "_"
    lines = [
        f"* {opamp.name} with its rails, its non-inverting input at ground",
        f".subckt {name} in out",
        *([f"Vp vp 0 {high!r}"] if "v+" in roles else []),
        *([f"Vn vn 0 {low!r}"] if "v-" in roles else []),
        # A pin that is left open still has a way for the simulator to find its voltage.
        *[f"R{node} {node} 0 1e12" for node in nodes if node.startswith("open")],
        f"Xopamp {' '.join(nodes)} {opamp.name}{values}",
        f".ends {name}",
    ]
    return Subcircuit(name, opamp.library, compat=opamp.compat, wrapper="\n".join(lines) + "\n")


def _word(volts: float) -> str:
    """A voltage as part of a name."""
    return f"{volts:g}".replace("-", "m").replace(".", "p").replace("+", "")


def _checked(supply: Sequence[float]) -> tuple[float, float]:
    numbers = list(supply) if isinstance(supply, list | tuple) else []
    plain = [isinstance(volt, int | float) and not isinstance(volt, bool) and math.isfinite(volt) for volt in numbers]
    if len(numbers) != 2 or not all(plain) or not numbers[0] < numbers[1]:
        raise DeviceError(
            f"supply must be volts of the negative and the positive rail, such as [-15, 15], got {supply!r}"
        )
    return float(numbers[0]), float(numbers[1])
