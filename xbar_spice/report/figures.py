"""The figures of a report on disk: each drawn once, as SVG and what else is asked, with a caption on what is seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from xbar_spice.errors import StudyError
from xbar_spice.parts import FIGURES
from xbar_spice.report.data import Results
from xbar_spice.report.figure import Figure
from xbar_spice.report.style import save, styled

__all__ = ["FORMATS", "USUAL", "StoredFigure", "write_figures"]

FORMATS = ("png", "svg", "pdf")
"""Of figures: for slides, for pages, for papers."""

USUAL = ("png", "svg")
"""Those that a report has unless others are asked."""

_WIDE = 8.0  # inches


@final
@dataclass(frozen=True)
class StoredFigure:
    """A figure on disk.

    Attributes:
        title: its heading.
        caption: what is seen.
        name: of its files, without ending.
        svg: for the page.
        files: all of it, by format.
        interactive: what the page's script draws; None if it has the image only.
        wide: whether it needs the width of a page to be read.
    """

    title: str
    caption: str
    name: str
    svg: Path
    files: Mapping[str, Path]
    interactive: Mapping[str, Any] | None
    wide: bool


def write_figures(
    results: Results, folder: Path, more: Sequence[str | Figure] = (), formats: Sequence[str] = USUAL
) -> list[StoredFigure]:
    """Draw what the results allow: the built-in figures, then those of the user's own.

    Args:
        results: Of the study.
        folder: Where to.
        more: Figures of the user's own, or texts that name them.
        formats: Of `FORMATS`; SVG is always among the files.

    Raises:
        InvalidInputError: A text names no figure.
        StudyError: A figure of the user's own cannot be drawn.
    """
    own = [FIGURES.get(figure) for figure in more]
    endings = [ending for ending in FORMATS if ending == "svg" or ending in formats]
    found = [stored for name in FIGURES if (stored := _stored(FIGURES.get(name), results, folder, endings)) is not None]
    for figure in own:
        try:
            stored = _stored(figure, results, folder, endings)
        except Exception as error:  # whatever the code of a user's file raises
            if isinstance(error, StudyError):
                raise
            raise StudyError(f"figure {figure!r} cannot be drawn: {type(error).__name__}: {error}") from error
        found += [] if stored is None else [stored]
    return found


def _stored(figure: Figure, results: Results, folder: Path, endings: Sequence[str]) -> StoredFigure | None:
    if not figure.applies(results):
        return None
    with styled():
        drawn = figure.draw(results)
        files = dict(zip(endings, save(drawn, folder, figure.name, endings), strict=True))
    return StoredFigure(
        figure.title(results),
        figure.caption(results),
        figure.name,
        files["svg"],
        files,
        figure.interactive(results),
        wide=drawn.get_figwidth() > _WIDE,
    )
