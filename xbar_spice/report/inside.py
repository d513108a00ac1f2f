"""Figures of what is inside an array: where its voltage is lost, what its terminals carry, and a pulse in time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.style import INK, QUIET, colours, new_figure, set_whole, styled

__all__ = ["draw_array", "draw_pulse"]


def draw_array(
    volts: FloatArray, title: str, currents: FloatArray, terminals: Mapping[str, FloatArray], worst: tuple[int, int]
) -> Figure:
    """Maps of a voltage and of the cells' currents, and the currents of all terminals.

    Args:
        volts: (rows, cols) of the cells, such as what they lack.
        title: what they are.
        currents: (rows, cols) amperes of the cells.
        terminals: (lines,) amperes by the name of the edge, of edges with terminals.
        worst: (row, column) of the cell that lacks most.
    """
    with styled():
        figure, (drop, flow, ends) = new_figure(1, 3, width=4.0, height=3.4, share=False)
        _draw_map(drop, 1e3 * volts, title, "mV", "viridis")
        marked = colours(["cell", "worst"], ordered=False)[1]
        drop.plot(worst[1], worst[0], "o", mfc="none", mec=marked, mew=1.6, ms=9, label="lacks most")
        drop.legend(loc="upper right", frameon=True)
        largest = 1e6 * float(np.abs(currents).max())
        signed = bool((currents < 0).any())
        _draw_map(flow, 1e6 * currents, "current of each cell", "uA", "RdBu_r" if signed else "cividis",
                  limits=(-largest, largest) if signed else None)  # fmt: skip
        for (edge, amperes), colour in zip(terminals.items(), colours(list(terminals), ordered=False), strict=True):
            ends.plot(np.arange(amperes.size), 1e6 * amperes, "o-", color=colour, label=edge, ms=3.5)
        ends.axhline(0.0, color=QUIET, lw=0.8)
        ends.set_title("current into each terminal")
        ends.set_xlabel("line")
        ends.set_ylabel("uA")
        if terminals:
            ends.legend()
    return figure


def _draw_map(
    axes: Axes, values: FloatArray, title: str, unit: str, colour_map: str, limits: tuple[float, float] | None = None
) -> None:
    low, high = limits or (None, None)
    image: Any = axes.imshow(values, cmap=colour_map, interpolation="nearest", aspect="auto", vmin=low, vmax=high)
    set_whole(axes)
    axes.grid(visible=False)
    axes.set_title(title)
    axes.set_xlabel("bit line")
    axes.set_ylabel("word line")
    axes.figure.colorbar(image, ax=axes, label=unit)


def draw_pulse(
    times: FloatArray, currents: FloatArray, settled: FloatArray, waves: Mapping[str, FloatArray], settling: float
) -> Figure:
    """The waveforms of a pulsed read, or of a pulse of biases.

    Args:
        times: (T,) seconds.
        currents: (ports, T) amperes into the sense terminals, or into all.
        settled: (ports,) amperes where the drive stays on.
        waves: (places, T) volts by their title.
        settling: seconds until the slowest current is within 1 % of the largest one; infinite if it never is.
    """
    with styled():
        figure, (volts, amperes) = new_figure(1, 2, width=4.6, height=3.2, share=False)
        for axes, drawn, title, unit, scale in (
            *((volts, wave, title, "V", 1.0) for title, wave in waves.items()),
            (amperes, currents, "current into each terminal", "uA", 1e6),
        ):
            for wave, colour in zip(drawn, colours(list(range(len(drawn))), ordered=True), strict=True):
                axes.plot(1e9 * times, scale * wave, color=colour, lw=1.0)
            axes.set_title(title)
            axes.set_xlabel("ns")
            axes.set_ylabel(unit)
        for level in 1e6 * settled:
            amperes.axhline(level, color=QUIET, lw=0.5, ls=":")
        if np.isfinite(settling):
            amperes.axvline(1e9 * settling, color=INK, lw=0.9, ls="--", label=f"within 1 % after {settling:.3g} s")
            amperes.legend()
    return figure
