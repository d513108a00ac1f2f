"""Decks of a folder, edited by hand or not, run and mapped to the products that they compute."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from xbar_spice.checks import Place, Real, checked
from xbar_spice.disk import read_bytes, read_json
from xbar_spice.errors import FileError, InvalidInputError, SimulationError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import DIALECTS

__all__ = ["Readback", "deck_hash", "readback"]

LARGEST = 2**30  # bytes of a deck


@final
@dataclass(frozen=True, eq=False)
class Readback:
    """What one deck of a matrix computes.

    Attributes:
        deck: that was run, relative to its folder.
        matrix: its name.
        direction: "forward" or "transposed".
        edited: whether the deck, or one of its arrays' own decks, is another than was written.
        product: (length,) by the deck.
        design: (length,) of the weights that the devices were programmed to and the vector, without a circuit.
        currents: amperes of each sense terminal by its result's name.
    """

    deck: str
    matrix: str
    direction: str
    edited: bool
    product: FloatArray
    design: FloatArray
    currents: Mapping[str, float]

    @property
    def error(self) -> float:
        """The size of the difference, relative to that of the product of the design."""
        size = float(np.linalg.norm(self.design)) or 1.0
        return float(np.linalg.norm(self.product - self.design)) / size


@checked(time_limit=Real("s", above=0))
def readback(folder: Path, *, time_limit: float = 600.0) -> list[Readback]:
    """Run the decks that `write_netlists` wrote into a folder, and map their results to products.

    Decks for ngspice and Spice3 are run by `ngspice -b`, those for VACASK by that.

    The deck of a matrix is run, and in place of it those of its arrays if one of these was edited and it was not.
    A deck can hold commands: run only those that you would run by hand.

    Args:
        folder: with the manifests, beside what the decks need.
        time_limit: seconds that one deck may take.

    Returns:
        One entry for each manifest.

    Raises:
        FileError: the folder holds no manifest, or a file of one is missing.
        EngineUnavailableError: the simulator of the decks is not there.
        SimulationError: a deck has no solution, or does not print what its manifest names.
    """
    folder = Place()("folder", folder)
    manifests = [content for path in sorted(folder.glob("*.json")) if "arrays" in (content := read_json(path))]
    if not manifests:
        raise FileError(f"{folder}: holds no manifest of netlists; give a folder that `xbar-spice netlist` wrote")
    return [_read(folder, manifest, time_limit) for manifest in manifests]


def deck_hash(text: str) -> str:
    """By which a deck is known again; blanks at the ends of lines do not count."""
    plain = "\n".join(line.rstrip() for line in text.splitlines())
    return hashlib.sha256(plain.encode()).hexdigest()[:16]


def _read(folder: Path, manifest: dict[str, Any], seconds: float) -> Readback:
    missing = {"written", "product", "deck", "arrays"} - manifest.keys()
    if missing:
        raise InvalidInputError(f"{folder}: a manifest lacks {', '.join(sorted(missing))}; write the netlists anew")
    name = str(manifest.get("dialect", "ngspice"))
    if name not in DIALECTS.names:  # a manifest is data, and names no code to run
        raise InvalidInputError(f"{folder}: decks are read back in {', '.join(DIALECTS)}, got the dialect {name!r}")
    dialect = DIALECTS.get(name)
    written: dict[str, str] = manifest["written"]
    changed = [deck for deck, digest in written.items() if deck_hash(_text(folder / deck)) != digest]
    whole = manifest["deck"] in changed or not changed
    decks = [manifest["deck"]] if whole else [array["deck"] for array in manifest["arrays"]]
    currents: dict[str, float] = {}
    product = np.zeros(len(manifest["product"]))
    for number, array in enumerate(manifest["arrays"]):
        if number < len(decks):
            printed = dialect.run(folder / decks[number], folder, str(manifest.get("behaviour", "")), seconds)
        key = "result" if whole else "result_in_array_deck"
        for terminal in array["terminals"]:
            if terminal["role"] == "sense":
                if terminal[key] not in printed:
                    raise SimulationError(f"{folder / decks[-1]}: prints no {terminal[key]}, which its manifest names")
                currents[terminal["result"]] = printed[terminal[key]] * terminal["amperes_per_result"]
        _collect(product, array, currents)
    product /= manifest["siemens_per_weight"] * manifest["volts_per_unit"]
    return Readback(
        decks[0] if whole else f"{len(decks)} decks of {manifest['matrix']}",
        str(manifest["matrix"]),
        str(manifest["direction"]),
        bool(changed),
        product,
        np.array(manifest["product"]),
        currents,
    )


def _collect(product: FloatArray, array: dict[str, Any], currents: Mapping[str, float]) -> None:
    """Add what the currents of an array stand for, in amperes, to a product."""
    own: dict[int, float] = {}
    scale: dict[int, float] = {}
    common = 0.0
    for terminal in array["terminals"]:
        if terminal["role"] == "sense":
            amperes, index = currents[terminal["result"]], terminal["index"]
            own[index] = own.get(index, 0.0) + terminal["sign"] * amperes
            scale[index] = terminal.get("scale", 1.0)
            common += terminal.get("shared", 0.0) * amperes
    for index, amperes in own.items():
        counted = array["factor"] * (amperes + common) - array.get("baseline_amperes", 0.0)
        product[index] += counted / scale[index]


def _text(path: Path) -> str:
    return read_bytes(path, limit=LARGEST).decode("utf-8", "replace")
