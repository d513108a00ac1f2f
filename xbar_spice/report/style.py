"""The look of all figures: fonts, colours that colour-blind readers can tell apart, axes, and files."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font
from matplotlib.mathtext import MathTextParser
from matplotlib.text import Text
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogFormatterSciNotation,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
)

from xbar_spice.disk import make_folder, write
from xbar_spice.errors import StudyError
from xbar_spice.linear.operator import FloatArray

__all__ = [
    "INK",
    "MARKERS",
    "QUIET",
    "colours",
    "make_drawable",
    "new_figure",
    "save",
    "set_abscissa",
    "set_log_ordinate",
    "set_whole",
    "styled",
]

INK, QUIET = "#22272e", "#6b7280"
MARKERS = "osD^vPX<>"
_CATEGORIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito
_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.7,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "xbar-spice",  # the same figure is the same file
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw and save in this style."""
    with mpl.rc_context(cast(Any, _STYLE)):
        yield


def new_figure(rows: int, cols: int, *, width: float, height: float, share: bool = True) -> tuple[Figure, list[Axes]]:
    """A figure of `rows` x `cols` panels of this size in inches, row by row."""
    figure = Figure(figsize=(width * cols + 0.6, height * rows + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, cols, sharex=share, sharey=share, squeeze=False).flat)


def colours(values: Sequence[Any], *, ordered: bool) -> list[Any]:
    """One colour per value: a ramp from light to dark for numbers, distinct hues for names."""
    if ordered and len(values) > 1:
        return [mpl.colormaps["viridis"](position) for position in np.linspace(0.75, 0.08, len(values))]
    return [_CATEGORIES[index % len(_CATEGORIES)] for index in range(len(values))]


def set_abscissa(axes: Axes, values: Sequence[float]) -> None:
    """A tick at every value; logarithmic if the values span a factor of four or more."""
    low, high = min(values), max(values)
    if low > 0 and high >= 4 * low:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.25, high * 1.25)
    elif high > low:
        axes.set_xlim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    if len(values) <= 12:
        axes.xaxis.set_major_locator(FixedLocator(list(values)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def set_log_ordinate(axes: Axes, values: FloatArray, *, percent: bool) -> None:
    """A logarithmic scale for positive values, with few and plain labels: percent down to a ten-thousandth."""
    low, high = float(values.min()), float(values.max())
    axes.set_yscale("log")
    axes.set_ylim(low / 1.3, high * 1.3 * (high / low) ** 0.25)  # with room for a legend
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 40 * low else (1.0,)))
    axes.yaxis.set_minor_locator(NullLocator())
    if low < 1e-4:
        axes.yaxis.set_major_formatter(LogFormatterSciNotation())
    else:
        axes.yaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{100 * value:g} %" if percent else f"{value:g}")
        )


def set_whole(axes: Axes) -> None:
    """Ticks of a map of lines, which are numbered by whole numbers."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))


_WITHOUT_DATE = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}  # the same figure is the same file
_LONGEST = 72  # letters of a text in a figure


def make_drawable(figure: Figure) -> None:
    """Take texts that cannot be drawn as they are for what they say: no name or unit breaks a figure.

    Names of axes and units are the user's. Between two dollar signs they are mathematics; where that is none, the
    signs stand for themselves. Letters that the font lacks become a sign that says so, and very long texts are cut.
    """
    known = get_font(font_manager.findfont(_STYLE["font.family"])).get_charmap()
    parser = MathTextParser("path")
    for text in cast(list[Text], figure.findobj(Text)):
        words = text.get_text()
        shown = words if len(words) <= _LONGEST else f"{words[:_LONGEST]} ..."
        shown = "".join(letter if ord(letter) in known or letter == "\n" else "\ufffd" for letter in shown)
        if shown != words:
            text.set_text(shown)
        if "$" in shown and text.get_parse_math():
            try:
                parser.parse(shown)
            except (ValueError, RecursionError):
                text.set_parse_math(False)


def save(figure: Figure, folder: Path, name: str, endings: Sequence[str] = ("png", "svg", "pdf")) -> tuple[Path, ...]:
    """Write NAME.png and the others, in this order."""
    make_drawable(figure)
    make_folder(folder, error=StudyError)
    contents: dict[str, bytes] = {}
    with warnings.catch_warnings():
        # Where long names leave no room, the panels are drawn at their first places, over the names.
        warnings.filterwarnings("ignore", "constrained_layout not applied", UserWarning)
        for ending in endings:
            content = BytesIO()
            figure.savefig(content, format=ending, dpi=160, metadata=_WITHOUT_DATE.get(ending))
            figure.set_layout_engine(None)  # the panels have their places, and one drawing less is needed
            contents[ending] = content.getvalue()
    return tuple(write(folder / f"{name}.{ending}", content, error=StudyError) for ending, content in contents.items())
