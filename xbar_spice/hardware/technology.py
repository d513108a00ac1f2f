"""Wires of a technology: ohm and farad per cell, from published tables or from geometry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from types import MappingProxyType
from typing import Literal, NamedTuple, final

from xbar_spice.checks import PART, OneOf, Real, checked, settle
from xbar_spice.errors import InvalidInputError
from xbar_spice.parts import TECHNOLOGIES

__all__ = ["SOURCES", "Technology", "technology", "technology_named", "wire_technology"]

FARAD_PER_METRE = 0.2e-9  # 0.2 fF per micrometre, NeuroSim
PER_KELVIN = 0.00451  # of copper wires, NeuroSim
ROOM = 300.0
COPPER = 1.68e-8  # ohm metre of thick copper at room temperature
FREE_PATH = 39e-9  # metre, of electrons in copper


class _Row(NamedTuple):
    width: float  # nm
    aspect: float  # height over width
    rho: float  # 1e-8 ohm metre, the size effect included


SOURCES: Mapping[str, Mapping[int, _Row]] = MappingProxyType(
    {
        "NeuroSim V1.3": {
            130: _Row(175, 1.6, 2.20), 90: _Row(110, 1.6, 2.52), 65: _Row(105, 1.7, 2.68), 45: _Row(80, 1.7, 3.31),
            32: _Row(56, 1.8, 3.70), 22: _Row(40, 1.9, 4.03), 14: _Row(25, 2.0, 5.08), 10: _Row(18, 2.0, 6.35),
            7: _Row(18, 2.0, 6.35),
        },
        "NeuroSim V1.2": {
            65: _Row(100, 2.3, 2.73), 45: _Row(50, 2.34, 3.91), 32: _Row(40, 1.9, 4.03), 22: _Row(32, 1.9, 4.51),
            14: _Row(22, 2.0, 5.41), 7: _Row(14, 2.1, 7.43),
        },
        "NeuroSim V1.4": {
            130: _Row(175, 1.6, 2.01), 90: _Row(110, 1.6, 2.20), 65: _Row(105, 1.7, 2.21), 45: _Row(80, 1.7, 2.37),
            32: _Row(56, 1.8, 2.63), 22: _Row(40, 1.9, 2.97), 14: _Row(32, 2.0, 3.25), 10: _Row(22, 2.0, 3.95),
            7: _Row(20, 2.0, 4.17), 5: _Row(15, 2.0, 4.98), 3: _Row(12, 2.0, 5.80), 2: _Row(10, 2.0, 6.61),
            1: _Row(8, 3.0, 7.87),
        },
    }
)  # fmt: skip
"""Widths, aspect ratios and resistivities of wires by node (nm), as the sources tabulate them.

"NeuroSim V1.2" also holds V1.0, V1.1 and the training versions V2.0 and V2.1; "NeuroSim V1.3" the 3D version V1.0;
"NeuroSim V1.4" also V1.5, whose factor for the barrier is 1 as it is coded.
"""

KELVIN = Real("K", least=200, most=500)  # where the resistance of copper is linear in the temperature
SIZE = Real("m", above=1e-12, most=1.0)

EXTRAPOLATED: Mapping[tuple[str, int], str] = MappingProxyType(
    {
        ("NeuroSim V1.3", 7): "the source repeats its wires of 10 nm",
        **{("NeuroSim V1.4", node): "no such wires had been built" for node in (1, 2)},
    }
)
"""What to know of rows that nobody measured."""

THINNEST = 10e-9  # metre of metal, down to which the laws of thin wires were fitted

CELLS: Mapping[str, float] = MappingProxyType({"crossbar": 2.0, "1t1r": 4.0})
"""Widths of a wire along one cell."""


@final
@dataclass(frozen=True)
class Technology:
    """The wires of an array.

    Attributes:
        name: What was asked for.
        source: Where the numbers come from.
        r_word: Ohm per cell of a word line.
        r_bit: Ohm per cell of a bit line.
        c_word: Farad per cell of a word line.
        c_bit: Farad per cell of a bit line.
        extrapolated: Why the numbers are a guess; empty where they are none.

    Example:
        >>> wires = technology("22nm", source="NeuroSim V1.3")
        >>> round(wires.r_word, 3), round(1e18 * wires.c_word, 1)
        (1.061, 16.0)
    """

    name: str
    source: str
    r_word: float
    r_bit: float
    c_word: float
    c_bit: float
    extrapolated: str = ""

    def __post_init__(self) -> None:
        ohm, farad = Real("ohm", least=0), Real("F", least=0)
        settle(self, r_word=ohm, r_bit=ohm, c_word=farad, c_bit=farad)


@checked(source=OneOf(*SOURCES), cell=OneOf(*CELLS), kelvin=KELVIN)
def technology(
    node: str | int,
    *,
    source: str = "NeuroSim V1.3",
    cell: Literal["crossbar", "1t1r"] = "crossbar",
    kelvin: float = ROOM,
) -> Technology:
    """The wires of a node, R = rho L / (w^2 AR); L = 2 w along a bare cell, 4 w along one with a transistor.

    Args:
        node: Such as "22nm" or 22.
        source: A name of `SOURCES`; the versions of one simulator differ by up to two and a half times.
        cell: What stands at a crosspoint.
        kelvin: Temperature of the wires, from 200 to 500 K, where their resistance is linear in it.

    Raises:
        InvalidInputError: The source, or the node in it, is not known, or the temperature is out of range.
    """
    matched = re.fullmatch(r"\s*(\d+)\s*(?:nm)?\s*", str(node))
    number = int(matched[1]) if matched else -1
    if number not in SOURCES[source]:
        known = ", ".join(f"{n}nm" for n in sorted(SOURCES[source], reverse=True))
        raise InvalidInputError(
            f"node must be one of {known} in {source}, got {node!r}; take wire_technology(...) else"
        )
    row = SOURCES[source][number]
    length = CELLS[cell] * row.width * 1e-9
    warm = 1 + PER_KELVIN * (kelvin - ROOM)
    ohm = row.rho * 1e-8 * warm * length / ((row.width * 1e-9) ** 2 * row.aspect)
    farad = FARAD_PER_METRE * length
    return Technology(f"{number}nm", source, ohm, ohm, farad, farad, EXTRAPOLATED.get((source, number), ""))


def technology_named(text: str, source: str | None = None) -> Technology:
    """The technology that a text names, as designs, studies and the command line write it.

    Args:
        text: A node with its options, "geometry" with those of `wire_technology`, or a class or function of one's own.
        source: A name of `SOURCES`, of a node.

    Raises:
        InvalidInputError: No technology has this name.

    Example:
        >>> round(technology_named("22nm(kelvin=350)").r_word, 3)
        1.3
        >>> technology_named("geometry(width=4e-8, thickness=7.6e-8, pitch=8e-8)").name
        'geometry'
    """
    matched = re.fullmatch(r"\s*(\d+\s*nm)\s*(?:\((.*)\))?\s*", text, re.DOTALL)
    if matched:
        text = f"node(node={matched[1]!r}, {matched[2] or ''})"
    return TECHNOLOGIES.get(text, **({} if source is None else {"source": source}))


@checked(
    width=SIZE,
    thickness=SIZE,
    pitch=SIZE,
    rho=Real("ohm m", above=0, most=1.0),
    barrier=Real("m", least=0),
    specularity=PART,
    reflection=Real(least=0, below=1),
    free_path=SIZE,
    kelvin=KELVIN,
)
def wire_technology(
    width: float,
    thickness: float,
    pitch: float,
    *,
    rho: float = COPPER,
    barrier: float = 0.0,
    specularity: float = 0.0,
    reflection: float = 0.3,
    free_path: float = FREE_PATH,
    kelvin: float = ROOM,
) -> Technology:
    """The wires of a geometry, with the resistivity of thin wires.

    Surfaces add 3/8 l (1 - p) (1/w + 1/h) (Fuchs and Sondheimer), grain boundaries at a distance of w divide by
    1 - 3a/2 + 3a^2 - 3a^3 ln(1 + 1/a) with a = l R / (w (1 - R)) (Mayadas and Shatzkes).

    Args:
        width: w, metre, with its barrier.
        thickness: h, metre, with its barrier.
        pitch: Of the cells along the wire, metre.
        rho: Of the thick metal at 300 K, ohm metre.
        barrier: Thickness of a barrier that carries nothing, at both sides and the bottom, metre.
        specularity: p, part of the electrons that a surface reflects like a mirror.
        reflection: R, part that a grain boundary reflects; 0 leaves grains out.
        free_path: l, metre.
        kelvin: Temperature of the wires.

    Raises:
        InvalidInputError: A value out of its range, or a barrier that leaves no metal.

    Example:
        >>> round(wire_technology(40e-9, 76e-9, 80e-9).r_word, 2)
        0.95
    """
    if not (2 * barrier < width and barrier < thickness):
        raise InvalidInputError(f"barrier must leave metal in {width:g} x {thickness:g} m, got {barrier}")
    w, h = width - 2 * barrier, thickness - barrier
    surfaces = 0.375 * free_path * (1 - specularity) * (1 / w + 1 / h)
    a = free_path * reflection / (w * (1 - reflection))
    grains = 1 / (1 - 1.5 * a + 3 * a**2 - 3 * a**3 * log(1 + 1 / a)) if a else 1.0
    thin = rho * (surfaces + grains) * (1 + PER_KELVIN * (kelvin - ROOM))
    ohm, farad = thin * pitch / (w * h), FARAD_PER_METRE * pitch
    said = f"w = {width:g} m, h = {thickness:g} m, {thin:.3g} ohm m"
    guess = f"{w:.2g} m of metal, below the {THINNEST:g} m down to which its law is known" if w < THINNEST else ""
    return Technology("geometry", said, ohm, ohm, farad, farad, guess)
