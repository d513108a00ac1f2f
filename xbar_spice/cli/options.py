"""Options that several verbs share, and how they become a design of arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, final

import click

from xbar_spice.cli.help import SectionOption
from xbar_spice.errors import InvalidInputError
from xbar_spice.parts import ENGINES
from xbar_spice.registry import Registry
from xbar_spice.settings import Entry, build, entries, groups, literals, seconds

if TYPE_CHECKING:
    from xbar_spice.cosim import Monitors, SolverOptions
    from xbar_spice.hardware.pulse import LineCapacitance, Pulse
    from xbar_spice.mapping.design import Design
    from xbar_spice.programming import WriteVerify


__all__ = [
    "PartOf",
    "circuit_options",
    "engine_option",
    "existing_file",
    "existing_folder",
    "make_design",
    "make_monitors",
    "make_pulse",
    "make_solver",
    "make_write",
    "monitor_options",
    "pulse_options",
    "seed_option",
    "solver_options",
    "write_options",
]

Command = TypeVar("Command", bound=Callable[..., Any])

existing_file = click.Path(exists=True, dir_okay=False, path_type=Path)
existing_folder = click.Path(exists=True, file_okay=False, path_type=Path)


@final
class PartOf(click.ParamType):  # type: ignore[type-arg] # generic for type checkers only
    """The text of a part: the shorthand of a built-in one, or where a class of one's own is."""

    def __init__(self, registry: Registry[Any]) -> None:
        self.name, self._registry = registry.kind, registry

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return f"[{'|'.join([*self._registry.names, 'FILE.py:CLASS'])}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            self._registry.parsed(value)
        except InvalidInputError as error:
            self.fail(str(error), param, ctx)
        return value


@final
class Duration(click.ParamType):  # type: ignore[type-arg] # generic for type checkers only
    """A time in seconds, or in a unit that is named."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return seconds(value)
        except InvalidInputError as error:
            self.fail(str(error), param, ctx)


def engine_option(default: str = "ngspice", note: str = "") -> Callable[[Command], Command]:
    """`--engine`, with a default that fits the verb."""
    return click.option(
        "--engine",
        type=PartOf(ENGINES),
        default=default,
        show_default=True,
        help=f"Who answers reads{note}.",
    )


seed_option = click.option(
    "--seed", type=click.IntRange(min=0), metavar="N", default=0, show_default=True, help="Of all random draws."
)

_PULSE: tuple[tuple[str, str, str], ...] = (
    ("--pulse-width", "SECONDS", "Also write decks in which the read is a pulse of that length at full drive."),
    ("--pulse-rise", "SECONDS", "Of its rise and of its fall.  [default: a tenth of the width]"),
    ("--c-word", "FARAD", "At each node of a word line.  [default: 0]"),
    ("--c-bit", "FARAD", "At each node of a bit line.  [default: 0]"),
    ("--c-cell", "FARAD", "Across each cell.  [default: 0]"),
)


def circuit_options() -> list[click.Parameter]:
    """The options of all settings of `Design`, heading by heading; what is left out has the default there.

    To be made when a verb is used, so that the help of the others does not wait for NumPy.
    """
    from xbar_spice.mapping.design import GROUPS, Design

    options = _options(Design(), GROUPS)
    behind = max(place for place, option in enumerate(options) if getattr(option, "section", "") == "Devices") + 1
    return [*options[:behind], _models_option("Devices"), *options[behind:]]


def solver_options() -> list[click.Parameter]:
    """The options of all settings of `SolverOptions`, in the same way."""
    from xbar_spice.cosim import SolverOptions

    return _options(SolverOptions(), groups(SolverOptions()))


def _options(default: Any, headings: Sequence[str]) -> list[click.Parameter]:
    return [_option(entry) for group in headings for entry in entries(default) if entry.about.group == group]


def _option(entry: Entry) -> click.Option:
    """The option of a setting: its type and metavar follow from type and unit."""
    kinds = {bool: None, int: int, int | None: int, float: float, float | None: float}
    kind: Any = str
    metavar: str | None = "NAME"
    if entry.choices and literals(entry.kind):
        kind, metavar = click.Choice(entry.choices), None
    elif entry.registry is not None and entry.option != "device":
        kind, metavar = PartOf(entry.registry), None
    elif entry.kind in kinds:
        kind = kinds[entry.kind]
        metavar = {"count": "N", "bits": "N"}.get(entry.about.unit, entry.about.unit.upper()) or None
    if entry.about.unit == "second":
        kind, metavar = Duration(), "TIME"
    text = f"{entry.about.help.replace('`', '')}  [default: {entry.shown}]"
    return SectionOption([entry.flag], section=entry.about.group, type=kind, metavar=metavar, default=None, help=text)


def _models_option(section: str) -> click.Option:
    return SectionOption(
        ["--models"],
        section=section,
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        multiple=True,
        help="Folder of your own device models, searched first.",
    )


def pulse_options() -> list[click.Parameter]:
    """The options that make a read a pulse."""
    section = "Decks of a pulsed read"
    return [SectionOption([flag], section=section, type=float, metavar=unit, help=text) for flag, unit, text in _PULSE]


def make_pulse(given: dict[str, Any]) -> tuple[Pulse | None, LineCapacitance]:
    """The pulse and the capacitances that the options of `pulse_options` describe; takes them out of what is given."""
    from xbar_spice.hardware.pulse import LineCapacitance, Pulse
    from xbar_spice.hardware.technology import technology_named

    width, rise, *farads = (given.pop(flag.removeprefix("--").replace("-", "_")) for flag, *_ in _PULSE)
    if width is None:
        if rise is not None or any(farad is not None for farad in farads):
            raise click.UsageError("--pulse-rise, --c-word, --c-bit and --c-cell describe a pulse: give --pulse-width")
        return None, LineCapacitance()
    wires = technology_named(given["technology"], given["technology_source"]) if given.get("technology") else None
    unasked = (wires.c_word, wires.c_bit, 0.0) if wires else (0.0, 0.0, 0.0)
    farads = [other if farad is None else farad for farad, other in zip(farads, unasked, strict=True)]
    return Pulse(width, 0.1 * width if rise is None else rise), LineCapacitance(*farads)


def make_design(given: dict[str, Any]) -> Design:
    """The design that the options of `circuit_options` describe."""
    from xbar_spice.mapping.design import Design
    from xbar_spice.spice.device_models import Lookup

    lookup = Lookup(models=tuple(given.pop("models", None) or ()))
    return cast("Design", build(Design(), _nested(Design(), given), lookup))


def write_options() -> list[click.Parameter]:
    """The options of all settings of `WriteVerify`, in the same way."""
    from xbar_spice.programming import WriteVerify

    return _options(WriteVerify(), groups(WriteVerify()))


def make_write(given: dict[str, Any]) -> WriteVerify:
    """What the options of `write_options` describe; takes them out of what is given."""
    from xbar_spice.programming import WriteVerify

    chosen = {entry.option: given.pop(entry.option) for entry in entries(WriteVerify())}
    return cast("WriteVerify", build(WriteVerify(), _nested(WriteVerify(), chosen)))


def make_solver(given: dict[str, Any]) -> SolverOptions:
    """What the options of `solver_options` describe; takes them out of what is given."""
    from xbar_spice.cosim import SolverOptions

    names = [entry.option for entry in entries(SolverOptions())]
    chosen = {name: given.pop(name) for name in names}
    return cast("SolverOptions", build(SolverOptions(), _nested(SolverOptions(), chosen)))


def monitor_options() -> list[click.Parameter]:
    """The options of all settings of `Monitors`, in the same way."""
    from xbar_spice.cosim import Monitors

    return _options(Monitors(), groups(Monitors()))


def make_monitors(given: dict[str, Any]) -> Monitors:
    """What the options of `monitor_options` describe; takes them out of what is given."""
    from xbar_spice.cosim import Monitors

    chosen = {entry.option: given.pop(entry.option) for entry in entries(Monitors())}
    return cast("Monitors", build(Monitors(), _nested(Monitors(), chosen)))


def _nested(default: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given, as the nested tables of the settings of `default`."""
    settings = {entry.path: entry for entry in entries(default)}
    found = {path: entry for path, entry in settings.items() if given.get(entry.option) is not None}
    _refuse_idle(given, found, settings)
    values: dict[str, Any] = {}
    for path, entry in sorted(found.items()):  # a part before its settings
        *sections, name = path
        here = values
        for section in sections:
            here = here.setdefault(section, {})
            if isinstance(here, str):
                part = _spelled(settings[tuple(sections)].option)
                raise click.UsageError(
                    f"{part} {here} names a part with its options: leave out {_spelled(entry.option)}"
                )
        here[name] = given[entry.option]
    return values


def _refuse_idle(
    given: Mapping[str, Any], found: Mapping[tuple[str, ...], Entry], settings: Mapping[tuple[str, ...], Entry]
) -> None:
    """Refuse options that nothing would use, and parts that look like per cent."""
    for path, entry in found.items():
        need = settings[*path[:-1], entry.needs].option if entry.needs else ""
        if need and not given.get(need):
            raise click.UsageError(
                f"{_spelled(entry.option)} has no effect without {_spelled(need)}; give {_spelled(need)}, or leave it "
                "out"
            )
    for entry in found.values():
        value = given[entry.option]
        if entry.about.deviation and value > 1:
            raise click.UsageError(
                f"{_spelled(entry.option)} is relative, and {value:g} is {100 * value:g} %: were {value:g} % meant? "
                f"Then give {_spelled(entry.option)} {value / 100:g}"
            )


def _spelled(option: str) -> str:
    return f"--{option.replace('_', '-')}"
