"""Writes feedback circuits to disk: decks that run by hand, each with a manifest of its sources and nodes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xbar_spice.disk import make_folder, write
from xbar_spice.feedback.deck import FeedbackDeck, Slopes
from xbar_spice.feedback.loop import FeedbackLoop
from xbar_spice.feedback.solver import FeedbackSolver
from xbar_spice.linear.operator import FloatArray

__all__ = ["write_feedback"]

ABOUT = (
    "Solution = voltage of a node / volts_per_solution; the sources of the right-hand side carry -rhs * volts_per_rhs, "
    "those of the slopes 1 V where a unit passes. 'solution' is what linear algebra finds for the same circuit. The "
    "circuit settles if slowest_rate is positive. Indices count from 0."
)


def write_feedback(
    loop: FeedbackLoop,
    solver: FeedbackSolver,
    folder: Path,
    *,
    slopes: Slopes,
    c: float,
    rhs: FloatArray,
    comments: Mapping[str, object] | None = None,
    netlists: Sequence[Path] = (),
) -> list[Path]:
    """Write the loop of A and B in both directions, and the feedback array of one of its systems.

    Args:
        loop: of A and B, solved by linear algebra.
        solver: of the matrix I - c B D A, likewise.
        folder: where to; made if missing.
        slopes: (m,) D.
        c: step size times the coefficient of the implicit term.
        rhs: (n,) right-hand side.
        comments: provenance, printed at the head of each deck.
        netlists: folders of the user's own templates, searched first.

    Returns:
        The files written: loop.forward, loop.transposed and feedback, each a .cir and a .json.

    Raises:
        InvalidInputError: a template is broken, an op-amp has an infinite gain, or the cells are not linear.
        FileError: a file cannot be written.
    """
    make_folder(folder)
    column, head = rhs[:, np.newaxis], dict(comments or {})
    unit = float(loop.volts_per_unit(column)[0])
    written = []
    for transposed in (False, True):
        name = f"loop.{'transposed' if transposed else 'forward'}"
        title = f"feedback loop of A and B, {'transposed' if transposed else 'forward'}"
        deck = loop.deck(slopes, c, rhs, transposed=transposed, title=title, comments=head, netlists=netlists)
        manifest = _manifest(
            name,
            deck,
            rhs,
            loop.solve(slopes[:, np.newaxis], c, column, transposed=transposed)[:, 0],
            (unit, unit),
            float(loop.rates(slopes, c, transposed=transposed)[0].real),
        )
        manifest |= {"c": c, "slopes": slopes.astype(float).tolist()}
        written += _write(folder, name, deck, manifest)
    deck = solver.deck(rhs, title="feedback array of I - c B D A", comments=head, netlists=netlists)
    unit = float(solver.volts_per_unit(column)[0])
    manifest = _manifest(
        "feedback", deck, rhs, solver.solve(rhs), (unit, unit / solver.scale), float(solver.rates[0].real)
    )
    return written + _write(folder, "feedback", deck, manifest)


def _manifest(
    name: str,
    deck: FeedbackDeck,
    rhs: FloatArray,
    solution: FloatArray,
    volts_per: tuple[float, float],
    slowest: float,
) -> dict[str, Any]:
    return {
        "about": ABOUT,
        "deck": f"{name}.cir",
        "volts_per_rhs": volts_per[0],
        "volts_per_solution": volts_per[1],
        "slowest_rate": slowest,
        "rhs_sources": list(deck.sources[: rhs.size]),
        "slope_sources": list(deck.sources[rhs.size :]),
        "nodes": list(deck.nodes),
        "rhs": rhs.tolist(),
        "solution": solution.tolist(),
    }


def _write(folder: Path, name: str, deck: FeedbackDeck, manifest: Mapping[str, Any]) -> list[Path]:
    return [
        write(folder / f"{name}.cir", deck.text),
        write(folder / f"{name}.json", json.dumps(manifest, indent=1) + "\n"),
    ]
