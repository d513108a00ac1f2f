"""The figures of a report on disk: each drawn once, as PNG, SVG and PDF, with a caption that says what is seen."""

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

__all__ = ["StoredFigure", "write_figures"]

_WIDE = 8.0  # inches


@final
@dataclass(frozen=True)
class StoredFigure:
    """A figure on disk.

    Attributes:
        title: its heading.
        caption: what is seen.
        name: of its files, without ending.
        png: for slides.
        svg: for the page.
        pdf: for papers.
        interactive: what the page's script draws; None if it has the image only.
        wide: whether it needs the width of a page to be read.
    """

    title: str
    caption: str
    name: str
    png: Path
    svg: Path
    pdf: Path
    interactive: Mapping[str, Any] | None
    wide: bool


def write_figures(results: Results, folder: Path, more: Sequence[str | Figure] = ()) -> list[StoredFigure]:
    """Draw what the results allow, as PNG, SVG and PDF: the built-in figures, then those of the user's own.

    Args:
        results: Of the study.
        folder: Where to.
        more: Figures of the user's own, or texts that name them.

    Raises:
        InvalidInputError: A text names no figure.
        StudyError: A figure of the user's own cannot be drawn.
    """
    own = [FIGURES.get(figure) for figure in more]
    found = [stored for name in FIGURES if (stored := _stored(FIGURES.get(name), results, folder)) is not None]
    for figure in own:
        try:
            stored = _stored(figure, results, folder)
        except Exception as error:  # whatever the code of a user's file raises
            if isinstance(error, StudyError):
                raise
            raise StudyError(f"figure {figure!r} cannot be drawn: {type(error).__name__}: {error}") from error
        found += [] if stored is None else [stored]
    return found


def _stored(figure: Figure, results: Results, folder: Path) -> StoredFigure | None:
    if not figure.applies(results):
        return None
    with styled():
        drawn = figure.draw(results)
        png, svg, pdf = save(drawn, folder, figure.name)
    return StoredFigure(
        figure.title(results),
        figure.caption(results),
        figure.name,
        png,
        svg,
        pdf,
        figure.interactive(results),
        wide=drawn.get_figwidth() > _WIDE,
    )
