"""The figures of a report, each with a caption that says what is seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, ScalarFormatter

from xbar_spice.errors import StudyError
from xbar_spice.report.curves import draw_curves
from xbar_spice.report.data import UNCONVERGED, Results
from xbar_spice.report.style import QUIET, colours, new_figure, save, set_log_ordinate, styled

__all__ = ["StoredFigure", "gradient_names", "write_figures"]

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


def write_figures(results: Results, folder: Path) -> list[StoredFigure]:
    """Draw what the results allow, as PNG and SVG."""
    found = []
    for name, title, caption, figure in _drawn(results):
        with styled():
            png, svg = save(figure, folder, name)
        found.append(StoredFigure(title, caption, png, svg, wide=figure.get_figwidth() > _WIDE))
    return found


def gradient_names(results: Results) -> list[str]:
    """The parameters whose gradients are shown: kernels in place of their matrices, if there are kernels."""
    parameters = ("a", "b", "z0") if results.column("gradients.a.relative_error") else ("A", "B", "z0")
    return [name for name in parameters if results.column(f"gradients.{name}.relative_error")]


def _drawn(results: Results) -> Iterator[tuple[str, str, str, Figure]]:
    names = gradient_names(results)
    errors = [f"gradients.{name}.relative_error" for name in names]
    titles = [f"gradient of {name}" for name in names]
    x = results.roles()[0]
    against = f" against {x.title}" if x else ""
    how = _how_to_read(results)
    with styled():
        state = draw_curves(results, ["state.relative_error"], [""], "relative error of the final state")
    if state is not None:
        text = "Error of the final state z_T, |analog - digital| / |digital| over all samples"
        yield "state_error", f"Error of the solution{against}", f"{text}. {how}", state
    with styled():
        gradient = draw_curves(results, errors, titles, "relative error of the gradient") if names else None
    if gradient is not None:
        text = (
            "Error of the gradients that the hardware returns: analog forward run, transposed reads of the same arrays"
        )
        yield "gradient_error", f"Error of the gradients{against}", f"{text}. {how}", gradient
    with styled():
        turned = _with_angles(results, names)
        columns = [f"angle.{name}" for name in names]
        angle = (
            draw_curves(turned, columns, titles, "angle to the digital gradient (degrees)", percent=False)
            if names
            else None
        )
        if angle is not None:
            _show_cosines(angle)
    if angle is not None:
        text = (
            "Direction of the gradients: the angle between hardware and digital gradient, its cosine on the right. "
            "At 90° a gradient step no longer descends"
        )
        yield "gradient_cosine", f"Direction of the gradients{against}", f"{text}. {how}", angle
    yield from _deficit(results)
    yield from _reads(results)


def _with_angles(results: Results, names: list[str]) -> Results:
    """The results with the angle of each gradient in degrees."""
    angles = {}
    for name in names:
        cosine = results.cases[f"gradients.{name}.cosine"].astype(float)
        # Rounding may leave a cosine a little off 1, which is no angle.
        angles[f"angle.{name}"] = np.degrees(np.arccos(cosine.where(1.0 - cosine > 1e-14, 1.0).clip(-1.0, 1.0)))
    return Results(**{**results.__dict__, "cases": results.cases.assign(**angles)})


def _show_cosines(figure: Figure) -> None:
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
    if len(results.usable) and (results.usable["state.relative_error"] == 0).any():
        sentences.append("Hollow triangles on the lower edge are errors of exactly zero.")
    return " ".join(sentences)


def _deficit(results: Results) -> Iterator[tuple[str, str, str, Figure]]:
    stored = results.store.arrays("cell_deficit")
    if stored is None or not {"cells", "drive", "case", "label", "array"} <= stored.keys():
        return
    if str(stored["case"]) not in set(results.cases["id"]):  # of an earlier study in the same folder
        return
    cells, drive = np.abs(stored["cells"]), np.abs(stored["drive"])
    driven = drive > _FAINTEST_DRIVE * drive.max(initial=0.0)
    if not driven.any():
        return
    deficit = np.full(cells.shape, np.nan)
    deficit[driven] = 1.0 - cells[driven] / drive[driven, np.newaxis]
    rows, cols = cells.shape
    with styled():
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
    worst = np.unravel_index(np.nanargmax(deficit), deficit.shape)
    caption = (
        f"Share of its word line's drive voltage that each cell of array {stored['array']} loses to wires, drivers and "
        f"sense terminals when A first reads an initial state ({stored['label']}; voltages by the nodal engine). "
        f"Median {np.nanmedian(deficit):.1%}, worst {deficit[worst]:.1%} at word line {worst[0]}, bit line {worst[1]}."
    )
    if not driven.all():
        caption += " Grey word lines carry no drive, or less than a tenth of the strongest one."
    yield "cell_deficit", f"Voltage deficit in one array of {rows} x {cols} cells", caption, figure


def _reads(results: Results) -> Iterator[tuple[str, str, str, Figure]]:
    """Error of every read of the case with the largest read error, and how many reads each phase takes."""
    ranked = results.usable if len(results.usable) else results.cases[results.cases["status"] == UNCONVERGED]
    if not len(ranked) or "worst_read_error" not in ranked or not ranked["worst_read_error"].notna().any():
        return
    case = ranked.iloc[int(np.nanargmax(ranked["worst_read_error"].to_numpy(dtype=float)))]
    try:
        trace = results.store.trace(str(case["id"]))
    except StudyError:
        return
    if not len(trace) or not {"phase", "matrix", "direction", "relative_error"} <= set(trace.columns):
        return
    trace = trace.assign(kind=trace["matrix"] + " " + trace["direction"], phase=trace["phase"].fillna(""))
    with styled():
        figure = _draw_reads(trace)
    caption = (
        f"All {len(trace)} reads of the case with the largest read error ({case['label']}). Left: error of each read "
        "against the digital product; a read serves all samples that have not converged yet. Right: what the reads "
        "were for."
    )
    yield "reads", "Reads of one case", caption, figure


def _draw_reads(trace: pd.DataFrame) -> Figure:
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
