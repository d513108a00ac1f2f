"""Options that several verbs share, and how they become a design of arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, final

import click

from xbar_spice.cli.help import SectionOption
from xbar_spice.errors import InvalidInputError
from xbar_spice.parts import DRIFT_LAWS, ENGINES, MAPPINGS, PROGRAMMING_ERRORS
from xbar_spice.registry import Registry

if TYPE_CHECKING:
    from xbar_spice.hardware.pulse import LineCapacitance, Pulse
    from xbar_spice.mapping.design import Design


__all__ = [
    "circuit_options",
    "engine_option",
    "existing_file",
    "make_design",
    "make_pulse",
    "pulse_options",
    "seed_option",
]

Command = TypeVar("Command", bound=Callable[..., Any])

existing_file = click.Path(exists=True, dir_okay=False, path_type=Path)


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
    """Seconds, or a number with its unit, such as "1 day"."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from xbar_spice.hardware.drift import seconds

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

_DRIVES = click.Choice(["single", "double"])
_TRANSPOSED = click.Choice(["same_ends", "swapped_ends", "far_ends"])
_DISTRIBUTIONS = click.Choice(["gaussian", "lognormal"])
_NOISE_LAWS = click.Choice(["constant", "pcm", "cmo_hfox"])
_REFERENCES = click.Choice(["window", "devices", "calibration"])
_SHARED = click.Choice(["array", "line"])
_INPUTS = click.Choice(["dac", "bit_serial"])
_SUBTRACTIONS = click.Choice(["digital", "analog"])
_SCALES = click.Choice(["matrix", "tile", "column"])
_ORDERS = click.Choice(["given", "conductance"])
_BITS = click.IntRange(min=2, max=32)
_COUNT = click.IntRange(min=1)
_METAVARS = {_BITS: "N", _COUNT: "N", str: "NAME"}

# Heading, then its options: flag, type (a unit for a number in that unit), help, and the default of `Design`, which is
# only shown: a test holds the two together.
_CIRCUIT: dict[str, tuple[tuple[str, Any, str, str], ...]] = {
    "Arrays": (
        ("--mapping", PartOf(MAPPINGS), "Plus and minus devices in two arrays, or interleaved in one.", "differential"),
        ("--tile", _COUNT, "Largest number of inputs and of outputs of an array.", "no limit"),
        ("--scale", _SCALES, "What shares one conductance per weight.", "matrix"),
        ("--coverage", "PART", "Of the weights, by size, that the range is made for; larger ones are clipped.", "1"),
        ("--order", _ORDERS, "Of the lines: as given, or those of large sums next to terminals.", "given"),
        ("--skip-empty/--keep-empty", None, "Leave out tiles whose weights are all zero.", "keep-empty"),
        ("--headroom", "TIMES", "How many times the range of conductances holds the largest weight.", "1"),
        ("--compensated/--uncompensated", None, "Program what undoes wires and terminals.", "uncompensated"),
    ),
    "Wires and terminals": (
        ("--technology", str, "Whose wires: sets --r-word, --r-bit, --c-word and --c-bit, such as 22nm.", "none"),
        ("--technology-source", str, "Where its numbers come from.", "NeuroSim V1.3"),
        ("--r-word", "OHM", "Of a word-line segment.", "0"),
        ("--r-bit", "OHM", "Of a bit-line segment.", "0"),
        ("--r-driver", "OHM", "Of each driver.", "0"),
        ("--r-sense", "OHM", "Of each sense terminal.", "0"),
        ("--v-read", "VOLT", "For the largest input.", "0.2"),
        ("--drive", _DRIVES, "Connect one or both ends of the word lines.", "single"),
        ("--transposed", _TRANSPOSED, "Where a transposed read meets the array.", "same_ends"),
    ),
    "Devices": (
        ("--g-min", "SIEMENS", "Lowest conductance.", "1e-06"),
        ("--g-max", "SIEMENS", "Highest conductance.", "0.0001"),
        ("--device", str, "Law of the cells: ohmic, a file of models/ without its ending, or a path.", "ohmic"),
        (
            "--variation",
            PartOf(PROGRAMMING_ERRORS),
            "Programming error by name, in place of the next four.",
            "relative",
        ),
        ("--cycle", PartOf(PROGRAMMING_ERRORS), "What each programming adds anew, as in a training.", "relative"),
        ("--conductances", str, "An .npz file of measured devices, in place of all that is drawn.", "none"),
        ("--drift", PartOf(DRIFT_LAWS), "What becomes of the devices after programming.", "none"),
        ("--after", Duration(), "Time from programming to the reads.", "0"),
        ("--programming", "PART", "Relative standard deviation of the conductances.", "0"),
        ("--distribution", _DISTRIBUTIONS, "Distribution of that error.", "gaussian"),
        ("--stuck-on", "PART", "Of the devices that are stuck at --g-max.", "0"),
        ("--stuck-off", "PART", "Of the devices that are stuck at --g-min.", "0"),
    ),
    "Amplifiers, one at each sensed line": (
        ("--r-feedback", "OHM", "Feedback of a transimpedance amplifier; 0 for a source of 0 V.", "0"),
        ("--gain", "TIMES", "Of its op-amp.", "10000"),
        ("--saturation", "VOLT", "That its output never exceeds.", "no limit"),
        ("--opamp", str, "Your own op-amp: a file of models/opamps/ without its ending, or a path.", "none"),
    ),
    "Read noise and converters": (
        ("--noise", "PART", "Relative standard deviation of a device at --g-max from read to read.", "0"),
        ("--noise-law", _NOISE_LAWS, "How that depends on the conductance.", "constant"),
        ("--sense-noise", "AMPERE", "Rms that every sense terminal adds.", "0"),
        ("--dac-bits", _BITS, "Resolution of the drive voltages.", "exact"),
        ("--adc-bits", _BITS, "Resolution of the sense currents.", "exact"),
        ("--adc-range", "PART", "Full scale, as part of the largest current.", "1"),
        (
            "--adc-reference",
            _REFERENCES,
            "That with all devices at --g-max, with those of the array, or as measured.",
            "window",
        ),
        ("--adc-shared", _SHARED, "Each array has one full scale, or each line its own.", "array"),
        ("--input", _INPUTS, "Drive with voltages, or with a pulse for each bit.", "dac"),
        ("--subtraction", _SUBTRACTIONS, "Of plus and minus currents: after the ADCs or before one.", "digital"),
    ),
    "Simulator": (("--reltol", "PART", "What ngspice's Newton method stops by; stands in decks.", "by kind of cell"),),
}

# Options that have no effect without another one.
_NEEDS = {
    "distribution": "programming",
    "gain": "r_feedback",
    "saturation": "r_feedback",
    "opamp": "r_feedback",
    "noise_law": "noise",
    "adc_range": "adc_bits",
    "adc_reference": "adc_bits",
    "adc_shared": "adc_bits",
    "input": "dac_bits",
    "subtraction": "adc_bits",
}

_PULSE: tuple[tuple[str, str, str], ...] = (
    ("--pulse-width", "SECONDS", "Also write decks in which the read is a pulse of that length at full drive."),
    ("--pulse-rise", "SECONDS", "Of its rise and of its fall.  [default: a tenth of the width]"),
    ("--c-word", "FARAD", "At each node of a word line.  [default: 0]"),
    ("--c-bit", "FARAD", "At each node of a bit line.  [default: 0]"),
    ("--c-cell", "FARAD", "Across each cell.  [default: 0]"),
)


def circuit_options(command: Command) -> Command:
    """Add the options that describe the arrays; what is left out has the default of `Design`."""
    for section, rows in reversed(_CIRCUIT.items()):
        if section == "Devices":
            command = _models_option(section)(command)
        for flag, kind, text, default in reversed(rows):
            command = click.option(
                flag,
                cls=SectionOption,
                section=section,
                type=float if isinstance(kind, str) else kind,
                metavar=kind if isinstance(kind, str) else _METAVARS.get(kind),
                default=None,
                help=f"{text}  [default: {default}]",
            )(command)
    return command


def _models_option(section: str) -> Callable[[Command], Command]:
    return click.option(
        "--models",
        cls=SectionOption,
        section=section,
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        multiple=True,
        help="Folder of your own device models, searched first.",
    )


def pulse_options(command: Command) -> Command:
    """Add the options that make a read a pulse."""
    for flag, unit, text in reversed(_PULSE):
        command = click.option(
            flag, cls=SectionOption, section="Decks of a pulsed read", type=float, metavar=unit, help=text
        )(command)
    return command


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
    from xbar_spice.hardware.amplifier import Amplifier
    from xbar_spice.hardware.converters import Converters
    from xbar_spice.hardware.crossbar import Terminations
    from xbar_spice.hardware.read_noise import ReadNoise
    from xbar_spice.mapping.design import Design
    from xbar_spice.spice.device_models import load_device, load_opamp

    chosen = {name: value for name, value in given.items() if value is not None}
    _refuse_idle(chosen)
    models = chosen.pop("models", ())
    if "opamp" in chosen:
        chosen["opamp"] = load_opamp(chosen["opamp"], models)
    grouped: dict[str, Any] = {
        "terminations": Terminations(**_taken(chosen, "drive", "transposed")),
        "variation": _variation(chosen),
        "amplifier": Amplifier(**_taken(chosen, "r_feedback", "gain", "saturation", "opamp")),
        "noise": ReadNoise(**_renamed(chosen, noise="device", noise_law="law", sense_noise="sense")),
        "converters": Converters(**_taken(chosen, *(field.name for field in fields(Converters)))),
    }
    if "device" in chosen:
        grouped["device"] = load_device(chosen.pop("device"), models)
    return Design(**chosen, **grouped)


def _variation(chosen: dict[str, Any]) -> Any:
    """The programming error that was named, or the one that the other options describe."""
    from xbar_spice.hardware.variation import Variation

    described = _taken(chosen, "programming", "distribution", "stuck_on", "stuck_off")
    if "variation" in chosen and described:
        raise click.UsageError(f"--variation takes the place of {_spelled(next(iter(described)))}; give one of them")
    return chosen.pop("variation") if "variation" in chosen else Variation(**described)


def _refuse_idle(chosen: dict[str, Any]) -> None:
    """Refuse options that nothing would use, and parts that look like per cent."""
    for option, need in _NEEDS.items():
        if option in chosen and not chosen.get(need):
            raise click.UsageError(
                f"{_spelled(option)} has no effect without {_spelled(need)}; give {_spelled(need)}, or leave it out"
            )
    for flag in ("programming", "noise"):
        value = chosen.get(flag, 0.0)
        if value > 1:
            raise click.UsageError(
                f"{_spelled(flag)} is relative, and {value:g} is {100 * value:g} %: were {value:g} % meant? "
                f"Then give {_spelled(flag)} {value / 100:g}"
            )


def _spelled(option: str) -> str:
    return f"--{option.replace('_', '-')}"


def _renamed(chosen: dict[str, Any], **names: str) -> dict[str, Any]:
    """What was chosen under the names of options, under those of fields."""
    return {names[option]: value for option, value in _taken(chosen, *names).items()}


def _taken(chosen: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: chosen.pop(name) for name in names if name in chosen}
