"""The figures of a report, each with a caption that says what is seen."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, ScalarFormatter

from xbar_spice.errors import StudyError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import FIGURES
from xbar_spice.report.curves import draw_curves, drawable
from xbar_spice.report.data import UNCONVERGED, Results
from xbar_spice.report.figure import Figure
from xbar_spice.report.quantities import STATE_ERROR, WORST_READ, gradient
from xbar_spice.report.style import QUIET, colours, new_figure, save, set_log_ordinate, styled

__all__ = [
    "CellDeficit",
    "GradientAngle",
    "GradientError",
    "Reads",
    "StateError",
    "StoredFigure",
    "write_figures",
]

_PHASES = {"forward": "explicit steps", "newton": "Newton residuals", "krylov": "linear solves", "adjoint": "adjoint"}
_READS = ("A forward", "B forward", "A transposed", "B transposed")
_PERCENT = FuncFormatter(lambda value, _: f"{100 * value:g} %")
_ANGLES = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 90.0)  # degrees, at which cosines are given
_WIDE = 8.0  # inches
_FAINTEST_DRIVE = 0.1  # of the strongest one: below it, the deficit tells of the other lines' currents


@final
@dataclass(frozen=True)
class StoredFigure:
    """A figure on disk.

    Attributes:
        title: its heading.
        caption: what is seen.
        png: for slides.
        svg: for the page.
        wide: whether it needs the width of a page to be read.
    """

    title: str
    caption: str
    png: Path
    svg: Path
    wide: bool


def write_figures(results: Results, folder: Path, more: Sequence[str | Figure] = ()) -> list[StoredFigure]:
    """Draw what the results allow, as PNG and SVG: the built-in figures, then those of the user's own.

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
        png, svg = save(drawn, folder, figure.name)
    return StoredFigure(figure.title(results), figure.caption(results), png, svg, wide=drawn.get_figwidth() > _WIDE)


class _Curves(Figure):
    """Curves of some entries of the record against the study's axes."""

    what: str  # the subject of the title
    text: str  # the first sentence of the caption
    label: str  # of the ordinate
    percent = True

    @abstractmethod
    def columns(self, results: Results) -> dict[str, str]:
        """Entries of the record, with the title of the panel of each."""

    def applies(self, results: Results) -> bool:
        return drawable(results, list(self.columns(results)))

    def title(self, results: Results) -> str:
        x = results.roles()[0]
        return f"{self.what} against {x.title}" if x else self.what

    def caption(self, results: Results) -> str:
        return f"{self.text}. {_how_to_read(results)}"

    def draw(self, results: Results) -> Drawing:
        columns = self.columns(results)
        return draw_curves(results, list(columns), list(columns.values()), self.label, percent=self.percent)


@final
@dataclass(frozen=True)
class StateError(_Curves):
    """Error of the final state against the axes."""

    name = "state_error"
    what = "Error of the solution"
    text = "Error of the final state z_T, |analog - digital| / |digital| over all samples"
    label = "relative error of the final state"

    def columns(self, results: Results) -> dict[str, str]:
        return {STATE_ERROR: ""}


@final
@dataclass(frozen=True)
class GradientError(_Curves):
    """Error of the gradients against the axes."""

    name = "gradient_error"
    what = "Error of the gradients"
    text = "Error of the gradients that the hardware returns: analog forward run, transposed reads of the same arrays"
    label = "relative error of the gradient"

    def columns(self, results: Results) -> dict[str, str]:
        return {gradient(name, "relative_error"): f"gradient of {name}" for name in results.shown_gradients}


@final
@dataclass(frozen=True)
class GradientAngle(_Curves):
    """Angle between hardware and digital gradients against the axes."""

    name = "gradient_cosine"
    what = "Direction of the gradients"
    text = (
        "Direction of the gradients: the angle between hardware and digital gradient, its cosine on the right. "
        "At 90° a gradient step no longer descends"
    )
    label = "angle to the digital gradient (degrees)"
    percent = False

    def columns(self, results: Results) -> dict[str, str]:
        return {gradient(name, "angle"): f"gradient of {name}" for name in results.shown_gradients}

    def draw(self, results: Results) -> Drawing:
        figure = super().draw(results)
        _show_cosines(figure)
        return figure


def _show_cosines(figure: Drawing) -> None:
    """Cosines beside the last panel of each row, at angles that are drawn in degrees."""
    for panel in figure.axes:
        spec = panel.get_subplotspec()
        if spec is not None and spec.is_last_col() and panel.get_visible():
            right = panel.secondary_yaxis("right")
            right.yaxis.set_major_locator(FixedLocator(_ANGLES))
            right.yaxis.set_minor_locator(NullLocator())
            right.yaxis.set_major_formatter(FuncFormatter(lambda angle, _: f"{np.cos(np.radians(angle)):.4g}"))
            right.set_ylabel("cosine")


def _how_to_read(results: Results) -> str:
    """Sentences on bands, slopes, crosses and triangles, as far as they occur."""
    x, _, panels, rest = results.roles()
    cases = results.cases
    sentences = []
    most = (
        int(cases.groupby([axis.key for axis in results.axes] or ["status"])["seed"].nunique().max() or 1)
        if len(cases)
        else 1
    )
    if most > 1:
        sentences.append(
            f"Lines are medians over up to {most} seeds, bands reach from the lower to the upper quartile."
        )
    if x is not None and len(x.values) >= 3:
        sentences.append(f"The slope is the exponent p of a fit error ~ {x.name}^p.")
    if x is not None and (larger := [value for value in x.values if results.size(x, value) != value]):
        sentences.append(f"{x.name} {', '.join(map(x.text, larger))} is drawn where the whole matrices are.")
    if panels is not None:
        sentences.append(f"Panels differ in {panels.name}.")
    for axis in rest:
        sentences.append(f"Shown for {axis.name} = {axis.text(axis.values[0])}; the table has the other values.")
    if results.count(UNCONVERGED):
        sentences.append("Crosses are cases that did not converge; they count neither for medians nor for slopes.")
    if len(results.usable) and (results.usable[STATE_ERROR] == 0).any():
        sentences.append("Hollow triangles on the lower edge are errors of exactly zero.")
    return " ".join(sentences)


@final
@dataclass(frozen=True)
class CellDeficit(Figure):
    """Share of the drive voltage that each cell of one array loses to wires and terminals."""

    name = "cell_deficit"

    def applies(self, results: Results) -> bool:
        stored = results.store.arrays("cell_deficit")
        if stored is None or not {"cells", "drive", "case", "label", "array"} <= stored.keys():
            return False
        if str(stored["case"]) not in set(results.cases["id"]):  # of an earlier study in the same folder
            return False
        return bool(_driven(stored).any())

    def title(self, results: Results) -> str:
        rows, cols = self._stored(results)["cells"].shape
        return f"Voltage deficit in one array of {rows} x {cols} cells"

    def caption(self, results: Results) -> str:
        stored = self._stored(results)
        deficit = _deficit(stored)
        worst = np.unravel_index(np.nanargmax(deficit), deficit.shape)
        text = (
            f"Share of its word line's drive voltage that each cell of array {stored['array']} loses to wires, drivers "
            f"and sense terminals when A first reads an initial state ({stored['label']}; voltages by the nodal "
            f"engine). Median {np.nanmedian(deficit):.1%}, worst {deficit[worst]:.1%} at word line {worst[0]}, bit "
            f"line {worst[1]}."
        )
        if not _driven(stored).all():
            text += " Grey word lines carry no drive, or less than a tenth of the strongest one."
        return text

    def draw(self, results: Results) -> Drawing:
        deficit = _deficit(self._stored(results))
        rows, cols = deficit.shape
        figure, (axes,) = new_figure(1, 1, width=min(7.4, max(4.6, 4.2 * cols / rows + 1.2)), height=4.2)
        axes.set_facecolor("#d1d5db")
        image = axes.imshow(
            deficit, cmap="viridis", aspect="auto", interpolation="nearest", vmin=min(0.0, np.nanmin(deficit))
        )
        axes.grid(visible=False)
        axes.set_xlabel("bit line (sensed at the bottom)")
        axes.set_ylabel("word line (driven from the left)")
        bar = figure.colorbar(image, ax=axes, format=_PERCENT)
        bar.set_label("voltage deficit of the cell")
        bar.outline.set_visible(False)
        return figure

    @staticmethod
    def _stored(results: Results) -> dict[str, Any]:
        return results.store.arrays("cell_deficit") or {}


def _driven(stored: Mapping[str, Any]) -> Any:
    """(rows,) whether a word line carries enough of a drive to speak of a deficit."""
    drive = np.abs(stored["drive"])
    return drive > _FAINTEST_DRIVE * drive.max(initial=0.0)


def _deficit(stored: Mapping[str, Any]) -> FloatArray:
    """(rows, cols) part of the drive that a cell lacks; NaN where there is none."""
    cells, drive, driven = np.abs(stored["cells"]), np.abs(stored["drive"]), _driven(stored)
    deficit = np.full(cells.shape, np.nan)
    deficit[driven] = 1.0 - cells[driven] / drive[driven, np.newaxis]
    return deficit


@final
@dataclass(frozen=True)
class Reads(Figure):
    """Error of every read of the case with the largest read error, and how many reads each phase takes."""

    name = "reads"

    def applies(self, results: Results) -> bool:
        return self._worst(results) is not None

    def title(self, results: Results) -> str:
        return "Reads of one case"

    def caption(self, results: Results) -> str:
        label, trace = self._worst(results) or ("", pd.DataFrame())
        return (
            f"All {len(trace)} reads of the case with the largest read error ({label}). Left: error of each read "
            "against the digital product; a read serves all samples that have not converged yet. Right: what the reads "
            "were for."
        )

    def draw(self, results: Results) -> Drawing:
        _, trace = self._worst(results) or ("", pd.DataFrame())
        return _draw_reads(
            trace.assign(kind=trace["matrix"] + " " + trace["direction"], phase=trace["phase"].fillna(""))
        )

    @staticmethod
    def _worst(results: Results) -> tuple[str, pd.DataFrame] | None:
        """Label and trace of the case; None if there is none that can be drawn."""
        ranked = results.usable if len(results.usable) else results.cases[results.cases["status"] == UNCONVERGED]
        if not len(ranked) or WORST_READ not in ranked or not ranked[WORST_READ].notna().any():
            return None
        case = ranked.iloc[int(np.nanargmax(ranked[WORST_READ].to_numpy(dtype=float)))]
        try:
            trace = results.store.trace(str(case["id"]))
        except StudyError:
            return None
        usable = len(trace) and {"phase", "matrix", "direction", "relative_error"} <= set(trace.columns)
        return (str(case["label"]), trace) if usable else None


def _draw_reads(trace: pd.DataFrame) -> Drawing:
    figure, (left, right) = new_figure(1, 2, width=4.6, height=3.4, share=False)
    kinds = [kind for kind in _READS if (trace["kind"] == kind).any()]
    kinds += sorted(set(trace["kind"]) - set(kinds))
    phases = [phase for phase in _PHASES if (trace["phase"] == phase).any()]
    phases += sorted(set(trace["phase"]) - set(phases))
    shades = dict(zip(kinds, colours(kinds, ordered=False), strict=True))
    base = np.zeros(len(phases))
    for kind in kinds:
        chosen = trace[(trace["kind"] == kind) & (trace["relative_error"] > 0)]
        left.plot(chosen.index + 1, chosen["relative_error"], ".", color=shades[kind], ms=5, label=kind)
        counts = np.array([((trace["phase"] == phase) & (trace["kind"] == kind)).sum() for phase in phases])
        right.barh(range(len(phases)), counts, left=base, color=shades[kind], height=0.6, label=kind)
        base += counts
    errors = trace["relative_error"].to_numpy(dtype=float)
    errors = errors[errors > 0]
    if errors.size and errors.max() > 10 * errors.min():
        set_log_ordinate(left, errors, percent=True)
    elif errors.size:
        left.set_ylim(0.0, 1.1 * errors.max())
        left.yaxis.set_major_formatter(_PERCENT if errors.max() > 1e-4 else ScalarFormatter())
    else:
        left.set_yticks([])
        left.text(0.5, 0.5, "every read is exact", transform=left.transAxes, ha="center", color=QUIET)
    left.set_xlabel("read, in the order of the solve")
    left.set_ylabel("relative error of the read")
    right.set_yticks(range(len(phases)), [_PHASES.get(phase, phase or "other") for phase in phases])
    right.invert_yaxis()
    right.grid(visible=False, axis="y")
    right.set_xlabel("number of reads")
    right.set_xlim(0.0, 1.05 * base.max())
    right.legend(loc="best")
    return figure
