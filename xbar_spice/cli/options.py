"""Options that several verbs share, and how they become a design of arrays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from xbar_spice.mapping import Design

__all__ = ["circuit_options", "engine_option", "existing_file", "make_design", "seed_option"]

Command = TypeVar("Command", bound=Callable[..., Any])

existing_file = click.Path(exists=True, dir_okay=False, path_type=Path)

engine_option = click.option(
    "--engine",
    type=click.Choice(["ideal", "nodal", "ngspice"]),
    default="ngspice",
    show_default=True,
    help="Who answers reads.",
)
seed_option = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="From which the devices are drawn."
)

_CIRCUIT = [
    click.option(
        "--mapping", type=click.Choice(["differential", "interleaved"]), help="Pairs in two arrays or in one."
    ),
    click.option("--tile", type=click.IntRange(min=1), help="Largest array: inputs and outputs.  [default: no limit]"),
    click.option("--r-word", type=float, help="Ohm per word-line segment."),
    click.option("--r-bit", type=float, help="Ohm per bit-line segment."),
    click.option("--r-driver", type=float, help="Ohm of each driver."),
    click.option("--r-sense", type=float, help="Ohm of each sense terminal."),
    click.option("--g-min", type=float, help="Lowest conductance in siemens."),
    click.option("--g-max", type=float, help="Highest conductance in siemens."),
    click.option("--v-read", type=float, help="Volts of the largest input."),
    click.option("--drive", type=click.Choice(["single", "double"]), help="Drive one or both ends of the word lines."),
    click.option(
        "--transposed",
        type=click.Choice(["same_ends", "swapped_ends", "far_ends"]),
        help="Where a transposed read meets the array.",
    ),
    click.option("--programming", type=float, help="Relative standard deviation of the conductances."),
    click.option("--distribution", type=click.Choice(["gaussian", "lognormal"]), help="Of the programming error."),
    click.option("--stuck-on", type=float, help="Probability that a device is stuck at --g-max."),
    click.option("--stuck-off", type=float, help="Probability that a device is stuck at --g-min."),
]


def circuit_options(command: Command) -> Command:
    """Add the options that describe the arrays; what is left out has the default of `Design`."""
    for option in reversed(_CIRCUIT):
        command = option(command)
    return command


def make_design(given: dict[str, Any]) -> Design:
    """The design that the options of `circuit_options` describe."""
    from xbar_spice.array import Terminations
    from xbar_spice.mapping import Design
    from xbar_spice.variation import Variation

    chosen = {name: value for name, value in given.items() if value is not None}
    grouped: dict[str, Any] = {
        "terminations": Terminations(**_taken(chosen, "drive", "transposed")),
        "variation": Variation(**_taken(chosen, "programming", "distribution", "stuck_on", "stuck_off")),
    }
    return Design(**chosen, **grouped)


def _taken(chosen: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: chosen.pop(name) for name in names if name in chosen}
