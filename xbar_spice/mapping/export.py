"""Writes the netlists of a mapped weight matrix: decks that run by hand, and a manifest of the names in them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import Array, Instance, Optional, Place, Text, checked
from xbar_spice.disk import border, make_folder, read_json, write
from xbar_spice.errors import FileError, InvalidInputError
from xbar_spice.hardware.crossbar import Side
from xbar_spice.hardware.pulse import LineCapacitance, Pulse
from xbar_spice.linear.operator import FloatArray
from xbar_spice.mapping.base import Lines
from xbar_spice.mapping.design import Design
from xbar_spice.mapping.matrix import MappedArray, MappedMatrix
from xbar_spice.mapping.readback import deck_hash
from xbar_spice.parts import CONVERTERS, DIALECTS, MAPPINGS
from xbar_spice.spice.dialect import Dialect, ReadDeck
from xbar_spice.spice.netlist import Deck
from xbar_spice.spice.pulse_netlist import pulse_deck, require_pulsable, require_simulable
from xbar_spice.spice.render import number
from xbar_spice.spice.travel import NgspiceDialect

__all__ = ["deck_name", "design_comments", "write_netlists"]

DIRECTION: dict[Side, str] = {"rows": "forward", "cols": "transposed"}
ABOUT = (
    "Product = sum over sense terminals of factor * sign * current / (siemens_per_weight * volts_per_unit), added up "
    "at 'index'. The current is amperes_per_result * result, where the result is that of a source, i(...), or the "
    "output voltage of an amplifier, v(...). A driver carries sign * vector[index] * volts_per_unit. Where a terminal "
    "has them: 'shared' is the sign with which it counts for every index of its array on top, and everything that "
    "belongs to an index is divided by 'scale'. Indices count from 0."
)
BASELINE = " From every index of an array its 'baseline_amperes' are subtracted first, which the digital side knows."
ROUNDED = " 'vector' is what the DACs, of {kind} over +- {full_scale} V, make of 'vector_before_dacs'."


def deck_name(matrix: str) -> str:
    """What the files of a matrix are called.

    Example:
        >>> deck_name("A"), deck_name("K[2]"), deck_name("encoder.weight")
        ('A', 'K_2', 'encoder_weight')
    """
    return re.sub(r"\W+", "_", matrix).strip("_")


@checked()
def write_netlists(  # noqa: PLR0913 - what is written, and how
    mapped: MappedMatrix,
    folder: Path,
    *,
    name: str,
    side: Side = "rows",
    vector: ArrayLike | None = None,
    comments: Mapping[str, object] | None = None,
    netlists: Sequence[Path] = (),
    pulse: Pulse | None = None,
    capacitance: LineCapacitance | None = None,
    dialect: str | Dialect = "ngspice",
) -> list[Path]:
    """Write one deck for the matrix, one for each of its arrays, and a manifest.

    Decks of the matrix that an earlier design left in the folder are removed, so that all that are there belong
    together; nothing else is.

    Args:
        mapped: the programmed matrix (m x n).
        folder: where to; made if missing. Decks of the arrays go into `folder/name/`.
        name: name of the matrix; becomes the stem of the files.
        side: "rows" for a forward read, "cols" for a transposed one.
        vector: the vector to multiply, (n,) for side "rows" and (m,) for "cols"; all ones when left out.
        comments: provenance, printed at the head of each deck.
        netlists: folders of the user's own templates, searched first.
        pulse: adds a deck for each array in which the read is such a pulse, with a transient analysis.
        capacitance: of the lines in these decks; none when left out.
        dialect: language of the decks: "ngspice", "spice3" (Spice3f5, which many others read, too), "vacask", or one of
            your own.

    Returns:
        The files written; the manifest is the last one.

    Raises:
        InvalidInputError: a name or a vector of another form, a pulse that cannot be simulated, what the dialect cannot
            express, or a broken template.
        FileError: a file cannot be written.
    """
    Instance(MappedMatrix, example="map_weights([[1.0, -0.5]])")("mapped", mapped)
    folder = Place()("folder", folder)
    Optional(Instance(Pulse, example="Pulse(width=1e-9, rise=1e-10)"))("pulse", pulse)
    Optional(Instance(LineCapacitance, example="LineCapacitance(c_word=1e-16)"))("capacitance", capacitance)
    if not Text()("name", name).isidentifier():
        raise InvalidInputError(f"a matrix name must be letters, digits and underscores, got {name!r}")
    values = _checked_vector(mapped, name, side, vector)
    words = DIALECTS.get(dialect)
    _require_pulse(pulse, mapped, words)
    drives = [volts[:, 0] for volts in mapped.drives(values[:, np.newaxis], side)]
    scale = {
        "siemens_per_weight": mapped.siemens_per_weight,
        "volts_per_unit": float(mapped.volts_per_unit(values[:, np.newaxis])[0]),
    }
    head = dict(comments or {}) | design_comments(mapped.design)
    head["scale"] = "{} S per unit of weight, {} V per unit of input".format(*map(number, scale.values()))
    stem = f"{name}.{DIRECTION[side]}"
    head["vector"] = "ones" if vector is None else f"that in {stem}.json"
    names = [array.name for array in mapped.arrays]
    title = f"weight matrix {name} ({mapped.shape[0]} x {mapped.shape[1]}), {DIRECTION[side]} read"
    deck = words.write(
        ReadDeck(
            mapped.crossbars, names, drives, side, title, head | _by_hand(words, f"{stem}{words.suffix}"), netlists
        )
    )
    made_of = _made_of(mapped)
    _remove_earlier(folder, name, DIRECTION[side], made_of)
    written = [_write(folder / f"{stem}{words.suffix}", deck.text)]
    entries: list[dict[str, Any]] = []
    for index, (array, volts) in enumerate(zip(mapped.arrays, drives, strict=True)):
        own_title = f"array {array.name} of {title}"
        own_head = head | {"inputs": _span(array.inputs), "outputs": _span(array.outputs) + _polarity(array)}
        path = f"{name}/{array.name}.{DIRECTION[side]}"
        file = f"{path}{words.suffix}"
        said = own_head | _by_hand(words, file)
        single = words.write(ReadDeck([array.crossbar], [""], [volts], side, own_title, said, netlists, root="../"))
        written.append(_write(folder / file, single.text))
        entry: dict[str, Any] = {"array": array.name, "deck": file}
        if pulse is not None:
            told: dict[str, Any] = {"title": own_title, "comments": own_head, "netlists": netlists}
            timed = pulse_deck(array.crossbar, volts, pulse, capacitance or LineCapacitance(), side, **told)
            written.append(_write(folder / f"{path}.pulse.cir", timed.text))
            entry["pulse_deck"] = f"{path}.pulse.cir"
        if mapped.baseline:
            entry["baseline_amperes"] = mapped.baseline * float(volts.sum())
        entries.append(entry | {"factor": array.factor, "terminals": _terminals(deck, index, single, array, side)})
    weights = mapped.programmed if side == "rows" else mapped.programmed.T
    decks = [f"{stem}{words.suffix}", *(entry["deck"] for entry in entries)]
    texts = [path.read_text(encoding="utf-8") for path in (folder / deck for deck in decks)]
    written += words.companions(mapped.crossbars, folder)
    manifest = {
        "about": ABOUT,
        "matrix": name,
        "shape": list(mapped.shape),
        "direction": DIRECTION[side],
        "made_of": made_of,
        "dialect": DIALECTS.text(words),
        "deck": f"{stem}{words.suffix}",
        **scale,
        "vector": values.tolist(),
        "arrays": entries,
        "behaviour": deck.behaviour,
        "written": {name: deck_hash(text) for name, text in zip(decks, texts, strict=True)},
    } | _rounded(mapped, values)
    if mapped.baseline:
        manifest["about"] = f"{manifest['about']}{BASELINE}"
    manifest["product"] = (weights @ np.array(manifest["vector"])).tolist()
    written.append(_write(folder / f"{stem}.json", json.dumps(manifest, indent=1) + "\n"))
    return written


def _require_pulse(pulse: Pulse | None, mapped: MappedMatrix, dialect: Dialect) -> None:
    if pulse is not None:
        if not isinstance(dialect, NgspiceDialect):
            raise InvalidInputError(f"decks of pulses are written for ngspice, got dialect={dialect}; leave pulse out")
        require_simulable(pulse)
        require_pulsable(mapped.crossbars[0])


def _by_hand(words: Dialect, deck: str) -> dict[str, object]:
    """What a deck says of how it is run."""
    return {"run by hand": words.by_hand.format(deck)} if words.by_hand else {}


def _checked_vector(mapped: MappedMatrix, name: str, side: Side, vector: ArrayLike | None) -> FloatArray:
    length = mapped.shape[1] if side == "rows" else mapped.shape[0]
    values = np.ones(length) if vector is None else Array()("vector", vector)
    if values.shape != (length,):
        raise InvalidInputError(f"side={side!r} of {name} multiplies a vector of shape ({length},), got {values.shape}")
    return values


def _rounded(mapped: MappedMatrix, values: FloatArray) -> dict[str, Any]:
    """What a manifest says otherwise where DACs round the vector; nothing where they are exact."""
    design, scale = mapped.design, mapped.volts_per_unit(values[:, np.newaxis])[0]
    if design.converters.exact_drives:
        return {}
    kind = design.converters.drive_resolution or CONVERTERS.text(design.converters)
    volts = design.converters.drive(values * scale, design.v_read)
    return {
        "about": ABOUT + ROUNDED.format(kind=kind, full_scale=number(design.v_read)),
        "vector": (volts / scale).tolist(),
        "vector_before_dacs": values.tolist(),
    }


def design_comments(design: Design) -> dict[str, object]:
    """What the head of a deck says of the design of its arrays."""
    title = design.mapping.title or MAPPINGS.text(design.mapping)
    return {
        "mapping": f"{title}, {number(design.g_min)} .. {number(design.g_max)} S",
        "tile": f"{design.tile} x {design.tile} weights" if design.tile else "none, the whole matrix",
        "arrays": design.mapping.layout,
        "variation": design.variation,
    }


def _terminals(deck: Deck, index: int, single: Deck, array: MappedArray, side: Side) -> list[dict[str, Any]]:
    """Names of every terminal in the deck of the matrix and in that of the array, with index and sign."""
    rows = []
    in_bank = (terminal for terminal in deck.terminals if terminal.array == index)
    for terminal, alone in zip(in_bank, single.terminals, strict=True):
        on_rows = terminal.side == "rows"
        names = {} if terminal.output else {"source": terminal.source, "source_in_array_deck": alone.source}
        rows.append(
            {
                "role": "driver" if terminal.side == side else "sense",
                "edge": terminal.edge,
                "line": terminal.line,
                "vector": "input" if on_rows else "output",
                "index": int((array.inputs if on_rows else array.outputs)[terminal.line]),
                **_counts(array.rows if on_rows else array.cols, terminal.line),
                **names,
                "result": terminal.result,
                "result_in_array_deck": alone.result,
                "amperes_per_result": terminal.amperes_per_result,
            }
        )
    return rows


def _span(indices: np.ndarray) -> str:
    first, last = int(indices[0]), int(indices[-1])
    return f"{first} .. {last}" if last > first else f"{first}"


def _polarity(array: MappedArray) -> str:
    """Which of the two devices of a weight an array has."""
    return {(1,): ", plus devices", (-1,): ", minus devices", (-1, 1): ", plus and minus devices in turn"}.get(
        tuple(np.unique(array.cols.weight).tolist()), ""
    )


def _counts(lines: Lines, line: int) -> dict[str, float]:
    """With which weights a line counts."""
    found = {"sign": _plain(lines.weight[line])}
    if lines.shared is not None:
        found["shared"] = _plain(lines.shared[line])
    if lines.scale is not None:
        found["scale"] = float(lines.scale[lines.index[line] - lines.span.start])
    return found


def _plain(weight: float) -> float:
    """A weight as a whole number if it is one."""
    return int(weight) if weight == int(weight) else float(weight)


_DECK = re.compile(r"t\d+_\d+[pm]?\.(forward|transposed)(\.pulse)?(\.spice3)?\.(cir|sim)")  # of an array


def _remove_earlier(folder: Path, name: str, direction: str, made_of: str) -> None:
    """Remove a matrix's decks of one direction, and those of the other one if they are of another design."""
    for other in DIRECTION.values():
        manifest = folder / f"{name}.{other}.json"
        if other != direction:
            with suppress(FileError):
                if read_json(manifest).get("made_of") == made_of:
                    continue
        decks = [path for path in (folder / name).glob(f"t*.{other}*") if _DECK.fullmatch(path.name)]
        whole = [folder / f"{name}.{other}{DIALECTS.get(words).suffix}" for words in DIALECTS]
        for path in (manifest, *whole, *decks):
            with border(path, "removed"):
                path.unlink(missing_ok=True)


def _made_of(mapped: MappedMatrix) -> str:
    """Hash of the circuits of a matrix: decks of both directions with the same one belong to the same chip."""
    design = asdict(mapped.design) | {"law": type(mapped.design.device).__name__, "scale": mapped.siemens_per_weight}
    digest = hashlib.sha256(json.dumps(design, sort_keys=True, default=repr).encode())
    for crossbar in mapped.crossbars:
        digest.update(f"{crossbar.shape}".encode() + np.ascontiguousarray(crossbar.conductance).tobytes())
    return digest.hexdigest()[:16]


def _write(path: Path, text: str) -> Path:
    make_folder(path.parent)
    return write(path, text)
