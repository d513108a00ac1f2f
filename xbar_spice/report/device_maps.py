"""The figure of a sensitivity map: where on the chip the devices lie whose variation costs the loss most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.style import INK, colours, new_figure, set_whole, styled

__all__ = ["draw_device_maps"]

_DECADES = 4  # of the colour scale; what is below is as good as harmless


def draw_device_maps(
    maps: Mapping[str, FloatArray], label: str, *, tile: int | None, shares: FloatArray, places: FloatArray
) -> Figure:
    """The plus and minus devices of A and B as images, how few devices hold most of the variance, and where.

    Word lines run from their drivers at the left to the right, bit lines down to their sense terminals; lines separate
    the tiles.

    Args:
        maps: (2, inputs, outputs) values, plus and minus devices, by the name of the matrix, one row of panels each.
        label: of the values.
        tile: size of the tiles; None for one array.
        shares: (devices,) shares of the variance, the largest first.
        places: (parts, parts) shares of the variance by place on an array.
    """
    with styled():
        figure, panels = new_figure(len(maps), 3, width=3.5, height=3.3, share=False)
        top = max(float(values.max()) for values in maps.values())
        norm = LogNorm(top / 10**_DECADES, top)
        image: Any = None
        images = [axes for row in range(len(maps)) for axes in panels[3 * row : 3 * row + 2]]
        halves = [
            (f"{name}, {sign} devices", half)
            for name, values in maps.items()
            for sign, half in zip(("plus", "minus"), values, strict=True)
        ]
        for axes, (title, half) in zip(images, halves, strict=True):
            image = axes.imshow(np.maximum(half, norm.vmin or 0.0), norm=norm, cmap="magma_r", interpolation="nearest")
            axes.set_title(title)
            set_whole(axes)
            axes.grid(visible=False)
            axes.set_ylabel("word line")
            axes.set_xlabel("bit line")
            _separate(axes, half.shape, tile)
        figure.colorbar(image, ax=images, label=label, location="bottom", shrink=0.7, aspect=40, extend="min")
        _draw_shares(panels[2], shares)
        _draw_places(panels[5], places)
        for axes in panels[8::3]:
            axes.set_visible(False)
    return figure


def _separate(axes: Axes, shape: tuple[int, ...], tile: int | None) -> None:
    for edge in range(tile or max(shape), max(shape), tile or 1):
        axes.axhline(edge - 0.5, color=INK, lw=0.8)
        axes.axvline(edge - 0.5, color=INK, lw=0.8)


def _draw_shares(axes: Axes, shares: FloatArray) -> None:
    parts = np.arange(1, shares.size + 1) / shares.size
    axes.semilogx(parts, np.cumsum(shares), color=colours(["share"], ordered=False)[0])
    axes.set_title("held by the top devices")
    axes.set_xlabel("part of all devices")
    axes.set_ylabel("share of the variance")
    percent = FuncFormatter(lambda value, _: f"{100 * value:g} %")
    axes.xaxis.set_major_formatter(percent)
    axes.yaxis.set_major_formatter(percent)
    axes.set_ylim(0.0, 1.03)


def _draw_places(axes: Axes, places: FloatArray) -> None:
    axes.imshow(places, cmap="magma_r", vmin=0.0, interpolation="nearest")
    for (row, col), share in np.ndenumerate(places):
        shade = "white" if share > 0.5 * places.max() else INK
        axes.text(col, row, f"{100 * share:.1f} %", ha="center", va="center", color=shade, fontsize=9)
    axes.set_title("share of the variance by place on a tile")
    axes.set_ylabel("drivers at the left")
    axes.set_xlabel("sense terminals below")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
