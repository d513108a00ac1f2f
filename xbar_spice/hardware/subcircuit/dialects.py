"""Elements of other simulators that no mode of ngspice understands: written in other words, or refused by name."""

from __future__ import annotations

import re

from xbar_spice.errors import DeviceError

__all__ = ["in_plain_words"]

OWN_DEVICES = re.compile(
    r"\b(ota|varistor|schmitt\w*|buf1?|inv|and|or|xor|dflop|srflop|modulator?|modulate2?|samplehold|phasedet|counter)\b",
    re.IGNORECASE,
)
PARASITIC = re.compile(r"\b(rser|rpar|cpar)\s*=\s*(\{[^{}]*\}|\S+)", re.IGNORECASE)


def in_plain_words(place: str, text: str) -> str:
    """An element of LTspice as ngspice has it; more than one line where it stands for more than one element.

    Capacitors and inductors there may have a resistance in series, and a resistance and a capacitance in parallel.

    Raises:
        DeviceError: a device that only LTspice has.

    Example:
        >>> print(in_plain_words("line 1", "C1 a b 1p Rser=10 Rpar={r * 2}"))
        C1 a C1_ser 1p
        RC1_ser C1_ser b 10
        RC1_par a b {r * 2}
    """
    letter = text[0].lower()
    if letter == "a" and (found := OWN_DEVICES.search(text)):
        raise DeviceError(
            f"{place}: {found[0]} is a device of LTspice's own, got {text[:40]!r}; write it as a controlled source, or "
            "take a model of the part for another simulator"
        )
    given = {key.lower(): value for key, value in PARASITIC.findall(text)} if letter in "cl" else {}
    if not given or len(text.split()) < 4:
        return text
    name, first, second, rest = PARASITIC.sub("", text).split(maxsplit=3)
    series = given.get("rser", "0")
    inner = second if series == "0" else f"{name}_ser"
    lines = [f"{name} {first} {inner} {rest.strip()}"]
    lines += [f"R{name}_ser {inner} {second} {series}"] if inner != second else []
    lines += [f"{key[0].upper()}{name}_par {first} {second} {given[key]}" for key in ("rpar", "cpar") if key in given]
    return "\n".join(lines)
