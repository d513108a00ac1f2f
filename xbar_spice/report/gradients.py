"""Figures of gradients that differ: by time step and by image, and against the array size by the ends of the reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.style import INK, MARKERS, colours, new_figure, set_abscissa, set_log_ordinate, styled

__all__ = ["draw_directions", "draw_parts"]

_DIFFERENCES = {
    "bias": "bias: hardware - true",
    "shift": "shift: true - digital",
    "total": "total: hardware - digital",
}
_AXES = {"step": "time step", "sample": "image"}
_LINES = ("-", "--", ":")
_LEAST = float(np.finfo(float).eps)  # what a logarithmic axis shows of nothing


def draw_parts(records: Sequence[Mapping[str, Any]], parameters: Sequence[str]) -> Figure:
    """The relative errors of the parts of a gradient, one row of panels for each parameter.

    Args:
        records: Of the `GradientStudy` of each chip, with parts by step and by sample. Of several chips medians are
            drawn, with bars from the least to the largest.
        parameters: Names of gradients in them.
    """
    with styled():
        figure, panels = new_figure(len(parameters), len(_AXES), width=4.4, height=2.7, share=False)
        grid = [(parameter, axis) for parameter in parameters for axis in _AXES]
        found = {
            (parameter, axis, difference): _errors([record["by"][axis][difference][parameter] for record in records])
            for parameter, axis in grid
            for difference in _DIFFERENCES
        }
        values = np.concatenate([errors.ravel() for errors in found.values()])
        aside = 0.15 if len(records) > 1 else 0.0  # so that no bar hides another
        for axes, (parameter, axis) in zip(panels, grid, strict=True):
            shades = colours(list(_DIFFERENCES), ordered=False)
            for place, (difference, label) in enumerate(_DIFFERENCES.items()):
                shade, marker = shades[place], MARKERS[place]
                errors = found[parameter, axis, difference]
                middle = np.median(errors, axis=0)
                where = np.arange(middle.size) + aside * (place - 1)
                whole = _errors([[record["differences"][difference][parameter]] for record in records])
                joined = "-" if axis == "step" else "none"  # images have no order
                axes.plot(where, middle, marker=marker, ls=joined, lw=1.2, color=shade, label=label)
                axes.vlines(where, errors.min(axis=0), errors.max(axis=0), color=shade, lw=1.0)
                axes.axhline(float(np.median(whole)), color=shade, lw=1.0, ls="--")
            set_log_ordinate(axes, values[values > 0], percent=True)
            axes.set_xticks(range(errors.shape[1]))
            axes.set_xlabel(_AXES[axis])
            axes.set_title(f"gradient of {parameter}, by {_AXES[axis]}")
        for axes in panels[:: len(_AXES)]:
            axes.set_ylabel("relative error")
        handles = [
            *panels[0].get_lines()[::2],
            Line2D([], [], color=INK, lw=1.0, ls="--", label="of the whole gradient"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _errors(chips: Sequence[Sequence[Mapping[str, float]]]) -> FloatArray:
    """(chips, parts) relative errors."""
    return np.array([[part["relative_error"] for part in parts] for parts in chips])


def draw_directions(
    sizes: Sequence[int], records: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]], parameters: Sequence[str]
) -> Figure:
    """Against the array size: error of the transposed reads, bias, and what a step against each gradient is worth.

    Args:
        sizes: Array sizes.
        records: Of the studies of each size, one for each draw, by the ends that the transposed reads use; medians
            over the draws are drawn.
        parameters: Names of gradients in them; one kind of line each.
    """
    with styled():
        figure, (transpose, bias, descent) = new_figure(1, 3, width=3.9, height=3.3, share=False)
        shades = dict(zip(records, colours(list(records), ordered=False), strict=True))
        for axes, difference in ((transpose, "transpose"), (bias, "bias")):
            for (ends, found), marker in zip(records.items(), MARKERS, strict=False):
                for parameter, line in zip(parameters, _LINES, strict=False):
                    errors = [
                        np.median([record["differences"][difference][parameter]["relative_error"] for record in draws])
                        for draws in found
                    ]
                    label = f"{ends.replace('_', ' ')}, {parameter}"
                    axes.plot(sizes, errors, marker=marker, ls=line, color=shades[ends], label=label)
            axes.set_ylabel("relative error")
        transpose.set_title("hardware against effective gradient")
        bias.set_title("bias: hardware against true gradient")
        _draw_missed(descent, sizes, records, shades)
        for axes in (transpose, bias, descent):
            values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.get_lines()])
            set_log_ordinate(axes, values[values > 0], percent=True)
            set_abscissa(axes, [float(size) for size in sizes])
            axes.set_xlabel("array size")
        figure.legend(
            *transpose.get_legend_handles_labels(), loc="outside lower left", ncols=len(records), handlelength=3.5
        )
        figure.legend(*_extra(descent, records), loc="outside lower right", ncols=2, handlelength=3.5)
    return figure


def _draw_missed(
    axes: Axes,
    sizes: Sequence[int],
    records: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]],
    shades: Mapping[str, Any],
) -> None:
    """The part of the best decrease of the loss that a step of the same length misses."""
    for (ends, found), marker in zip(records.items(), MARKERS, strict=False):
        axes.plot(sizes, _missed(found, "hardware"), marker=marker, color=shades[ends], label=ends)
    # Runs with digital transposes know nothing of the ends.
    others = next(iter(records.values()))
    for kind, shade, marker in zip(("hybrid", "digital"), ("#e69f00", "#000000"), "xX", strict=True):
        axes.plot(sizes, _missed(others, kind), marker=marker, ls=":", color=shade, label=f"{kind} gradient")
    axes.set_title("missed of the best decrease of the loss")
    axes.set_ylabel("1 - expected / best")


def _missed(records: Sequence[Sequence[Mapping[str, Any]]], kind: str) -> list[float]:
    return [max(float(np.median([_missed_once(record, kind) for record in draws])), _LEAST) for draws in records]


def _missed_once(record: Mapping[str, Any], kind: str) -> float:
    return 1.0 - float(record["descent"][kind]["expected"] / record["descent"]["true"]["expected"])


def _extra(axes: Axes, records: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    handles, labels = axes.get_legend_handles_labels()
    return handles[len(records) :], labels[len(records) :]
