"""The figure of a sensitivity map: where on the chip the devices lie whose variation costs the loss most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from xbar_spice.linear import FloatArray
from xbar_spice.report.style import INK, colours, new_figure, styled

__all__ = ["draw_device_maps"]

_DECADES = 4  # of the colour scale; what is below is as good as harmless


def draw_device_maps(maps: Mapping[str, FloatArray], label: str, *, tile: int | None, shares: FloatArray) -> Figure:
    """The plus and minus devices of each matrix as images, and how few devices hold most of the variance.

    Word lines run from their drivers at the left to the right, bit lines down to their sense terminals; lines separate
    the tiles.

    Args:
        maps: (2, inputs, outputs) values, plus and minus devices, by the name of the matrix.
        label: of the values.
        tile: size of the tiles; None for one array.
        shares: (devices,) shares of the variance, the largest first.
    """
    with styled():
        figure, panels = new_figure(1, 2 * len(maps) + 1, width=2.9, height=3.2, share=False)
        top = max(float(values.max()) for values in maps.values())
        norm = LogNorm(top / 10**_DECADES, top)
        image: Any = None
        titled = [
            (f"{name}, {sign} devices", half)
            for name, values in maps.items()
            for sign, half in zip(("plus", "minus"), values, strict=True)
        ]
        for axes, (title, half) in zip(panels[:-1], titled, strict=True):
            image = axes.imshow(np.maximum(half, norm.vmin or 0.0), norm=norm, cmap="magma_r", interpolation="nearest")
            axes.set_title(title)
            axes.set_xlabel("bit line")
            axes.grid(visible=False)
            _separate(axes, half.shape, tile)
        panels[0].set_ylabel("word line")
        figure.colorbar(image, ax=panels[:-1], label=label, location="bottom", shrink=0.5, extend="min")
        _draw_shares(panels[-1], shares)
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
    axes.set_ylabel("share of the variance of the loss")
    percent = FuncFormatter(lambda value, _: f"{100 * value:g} %")
    axes.xaxis.set_major_formatter(percent)
    axes.yaxis.set_major_formatter(percent)
    axes.set_ylim(0.0, 1.03)
