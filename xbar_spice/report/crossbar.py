"""The figure of one read of one array: its devices on their lines, the drives, and the currents that arrive."""

from __future__ import annotations

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from xbar_spice.engines.nodal.solution import Solution
from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.style import INK, QUIET, new_figure, styled

__all__ = ["draw_crossbar"]

_WIDEST = 6.0  # points; of the segment that carries the largest current


def draw_crossbar(solution: Solution, drive: ArrayLike) -> Figure:
    """An array as it is drawn on paper: word lines across, bit lines down, a dot for each device.

    Lines are as wide as the current in their segments is large; the colour of a dot is the conductance of its device.
    Word lines have their terminals at the left, bit lines at the bottom, each with its drive or the current sensed.

    Args:
        solution: Of one read, as `xs.solve_array` returns it.
        drive: (ports,) volts of that read.

    Example:
        >>> import xbar_spice as xs
        >>> crossbar = xs.Crossbar([[1e-4, 2e-5], [5e-5, 1e-6]], r_word=1.0, r_bit=1.0)
        >>> figure = draw_crossbar(xs.solve_array(crossbar, [0.2, 0.1]), [0.2, 0.1])
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['0.2 V', '0.1 V', '25 uA', '4.1 uA']
    """
    rows, cols = solution.crossbar.shape
    volts = [f"{volt:.3g} V" for volt in np.asarray(drive)]
    amperes = [f"{1e6 * ampere:.3g} uA" for ampere in solution.sense_currents]
    at_rows, at_cols = (volts, amperes) if solution.side == "rows" else (amperes, volts)
    with styled():
        figure, (axes,) = new_figure(1, 1, width=0.75 * cols + 2.4, height=0.75 * rows + 1.0)
        largest = max(float(np.abs(currents).max()) for currents in (solution.word_currents, solution.bit_currents))
        places = np.arange(-1.0, max(rows, cols) + 1.0)
        for row in range(rows):
            line = np.stack([places[: cols + 1], np.full(cols + 1, row)], axis=1)
            axes.add_collection(_line(line, solution.word_currents[row, :cols], largest, INK))
        for col in range(cols):
            line = np.stack([np.full(rows + 1, col), places[1 : rows + 2]], axis=1)
            axes.add_collection(_line(line, solution.bit_currents[1:, col], largest, QUIET))
        y, x = np.indices((rows, cols))
        dots = axes.scatter(x, y, c=1e6 * solution.crossbar.conductance, cmap="viridis_r", s=120, ec="white", zorder=3)
        for row, text in enumerate(at_rows):
            axes.text(-1.1, row, text, ha="right", va="center")
        for col, text in enumerate(at_cols):
            axes.text(col, rows + 0.15, text, ha="center", va="top")
        axes.set(xlim=(-2.2, cols - 0.4), ylim=(rows + 0.7, -0.6))
        axes.set_axis_off()
        figure.colorbar(dots, ax=axes, label="conductance, uS", shrink=0.8)
    return figure


def _line(points: FloatArray, currents: FloatArray, largest: float, colour: str) -> LineCollection:
    """One line of (segments + 1, 2) points, each segment as wide as its current."""
    segments = np.stack([points[:-1], points[1:]], axis=1)
    widths = 0.8 + (_WIDEST - 0.8) * np.abs(currents) / (largest or 1.0)
    return LineCollection(list(segments), linewidths=widths.tolist(), colors=colour, capstyle="round")
