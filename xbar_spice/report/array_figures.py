"""The figures of one array and one case: where its voltage is lost, its reads, and where its errors come from."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FuncFormatter, ScalarFormatter

from xbar_spice.disk import read_json
from xbar_spice.errors import StudyError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.answers import percent
from xbar_spice.report.attribution import draw_attribution
from xbar_spice.report.data import Results
from xbar_spice.report.figure import Figure
from xbar_spice.report.style import QUIET, colours, new_figure, set_log_ordinate, set_whole

__all__ = ["Attribution", "CellDeficit", "Reads"]

_PHASES = {"forward": "explicit steps", "newton": "Newton residuals", "krylov": "linear solves", "adjoint": "adjoint"}
_READS = ("A forward", "B forward", "A transposed", "B transposed")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x")
_PERCENT = FuncFormatter(lambda value, _: f"{100 * value:g} %")
_CLOSE = 1e3  # times: a logarithmic axis of less has ticks at 1, 2 and 5
_LINES = 12  # that are numbered along an edge
_FAINTEST_DRIVE = 0.1  # of the strongest one: below it, the deficit tells of the other lines' currents


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
            f"engine). Median {percent(np.nanmedian(deficit))}, worst {percent(deficit[worst])} at word line "
            f"{worst[0]}, bit line {worst[1]}."
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
        set_whole(axes)
        axes.grid(visible=False)
        axes.set_xlabel("bit line (sensed at the bottom)")
        axes.set_ylabel("word line (driven from the left)")
        bar = figure.colorbar(image, ax=axes, format=_PERCENT)
        bar.set_label("voltage deficit of the cell")
        bar.outline.set_visible(False)
        return figure

    def interactive(self, results: Results) -> Mapping[str, Any]:
        deficit = _deficit(self._stored(results))
        heat = {
            "type": "heatmap",
            "z": [[None if np.isnan(value) else float(f"{value:.4g}") for value in row] for row in deficit.tolist()],
            "colorscale": "Viridis",
            "zmin": min(0.0, float(np.nanmin(deficit))),
            "colorbar": {"title": {"text": "deficit", "side": "right"}, "tickformat": ".3~%"},
            "hovertemplate": "word line %{y}, bit line %{x}<br>%{z:.3~%} of the drive<extra></extra>",
        }
        down, across = ({"dtick": -(-lines // _LINES), "tick0": 0, "showgrid": False} for lines in deficit.shape)
        layout = {
            "xaxis": {"title": {"text": "bit line (sensed at the bottom)"}, **across},
            "yaxis": {"title": {"text": "word line"}, "autorange": "reversed", **down},
            "plot_bgcolor": "#d1d5db",
        }
        return {"plot": {"data": [heat], "layout": layout}}

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
        return results.worst_reads is not None

    def title(self, results: Results) -> str:
        return "Reads of one case"

    def caption(self, results: Results) -> str:
        label, trace = results.worst_reads or ("", pd.DataFrame())
        return (
            f"All {len(trace)} reads of the case with the largest read error ({label}). Left: error of each read "
            "against the digital product; a read serves all samples that have not converged yet. Right, in the image: "
            "what the reads were for."
        )

    def draw(self, results: Results) -> Drawing:
        _, trace = results.worst_reads or ("", pd.DataFrame())
        return _draw_reads(
            trace.assign(kind=trace["matrix"] + " " + trace["direction"], phase=trace["phase"].fillna(""))
        )

    def interactive(self, results: Results) -> Mapping[str, Any]:
        _, trace = results.worst_reads or ("", pd.DataFrame())
        kind, phase = trace["matrix"] + " " + trace["direction"], trace["phase"].fillna("")
        data = [
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": (trace.index[chosen] + 1).tolist(),
                "y": [float(f"{value:.4g}") for value in trace["relative_error"][chosen]],
                "text": phase[chosen].tolist(),
                "marker": {"color": shade, "symbol": symbol},
                "hovertemplate": f"{name}, read %{{x}} (%{{text}})<br>error %{{y:.3~%}}<extra></extra>",
            }
            for name, shade, symbol in zip(_kinds(kind), colours(_READS, ordered=False), _SYMBOLS, strict=False)
            for chosen in ((kind == name) & (trace["relative_error"] > 0),)
        ]
        errors = trace["relative_error"][trace["relative_error"] > 0]
        close = len(errors) and errors.max() < _CLOSE * errors.min()
        layout = {
            "xaxis": {"title": {"text": "read, in the order of the solve"}},
            "yaxis": {
                "title": {"text": "relative error of the read"},
                "type": "log",
                "tickformat": ".3~%",
                "dtick": "D2" if close else 1,
            },
        }
        return {"plot": {"data": data, "layout": layout}}


def _kinds(kinds: pd.Series[Any]) -> list[str]:
    """Matrices and directions that occur, those of A and B first."""
    known = [kind for kind in _READS if (kinds == kind).any()]
    return known + sorted(set(kinds) - set(known))


def _draw_reads(trace: pd.DataFrame) -> Drawing:
    figure, (left, right) = new_figure(1, 2, width=4.6, height=3.4, share=False)
    kinds = _kinds(trace["kind"])
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
    right.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure


@final
@dataclass(frozen=True)
class Attribution(Figure):
    """How much each source of error counts, if records of an attribution lie in the study's folder."""

    name = "attribution"

    def applies(self, results: Results) -> bool:
        return bool(self._records(results))

    def title(self, results: Results) -> str:
        return "Where the errors come from"

    def caption(self, results: Results) -> str:
        records = self._records(results)
        points = {str(record["point"]) for record in records if record.get("point")}
        where = f" at {points.pop()}" if len(points) == 1 else ""
        return (
            f"Each source of error by its Shapley value, alone, and by what its removal saves, of {len(records)} "
            f"chip{'s' if len(records) > 1 else ''}{where}."
        )

    def draw(self, results: Results) -> Drawing:
        return draw_attribution(self._records(results))

    @staticmethod
    def _records(results: Results) -> list[dict[str, Any]]:
        """Those of the first one's sources; files that are no such record are left out."""
        found = []
        for path in sorted(results.store.folder.glob("attribution*/attribution.json")):
            with suppress(StudyError):
                found.append(read_json(path, error=StudyError))
        known = [record for record in found if {"measures", "sources"} <= record.keys()]
        return [record for record in known if record["sources"] == known[0]["sources"]]
