"""The figure of learning curves: loss on the chip against the epoch, a curve for each way of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.style import MARKERS, QUIET, colours, new_figure, set_log_ordinate, styled

__all__ = ["LearningPanel", "draw_learning"]


@final
@dataclass(frozen=True, eq=False)
class LearningPanel:
    """Curves that share their axes.

    Attributes:
        title: what they have in common.
        losses: by way of training, (seeds, epochs), > 0.
        first: number of the first epoch that is drawn; 0 is before any training.
        reference: a loss to compare with, drawn as a line.
    """

    title: str
    losses: Mapping[str, FloatArray]
    first: int = 0
    reference: float | None = None


def draw_learning(panels: Sequence[LearningPanel], *, reference: str = "", label: str = "test loss") -> Figure:
    """Medians over the seeds, with bands from the least to the largest; one panel beside the other.

    Args:
        panels: what to draw; a way of training has the same colour in all of them.
        reference: what the reference lines are.
        label: of the ordinate.

    Raises:
        InvalidInputError: there is nothing to draw.
    """
    if not any(panel.losses for panel in panels):
        raise InvalidInputError("learning curves need at least one way of training, got none")
    ways = list(dict.fromkeys(way for panel in panels for way in panel.losses))
    looks = dict(zip(ways, zip(colours(ways, ordered=False), MARKERS, strict=False), strict=False))
    every = np.concatenate([losses.ravel() for panel in panels for losses in panel.losses.values()])
    lines = [panel.reference for panel in panels if panel.reference is not None]
    with styled():
        figure, axes = new_figure(1, len(panels), width=3.3, height=3.6, share=False)
        for place, panel in zip(axes, panels, strict=True):
            for way, losses in panel.losses.items():
                colour, marker = looks[way]
                epochs = panel.first + np.arange(losses.shape[1])
                place.plot(epochs, np.median(losses, axis=0), marker=marker, color=colour, label=way)
                place.fill_between(epochs, losses.min(axis=0), losses.max(axis=0), color=colour, alpha=0.15, lw=0)
            if panel.reference is not None:
                place.axhline(panel.reference, color=QUIET, ls="--", lw=1.2, label=reference or None)
            set_log_ordinate(place, np.append(every, lines), percent=False)
            place.xaxis.set_major_locator(MaxNLocator(integer=True))
            place.set_title(panel.title)
            place.set_xlabel("epoch")
            if place is not axes[0]:
                place.tick_params(labelleft=False)
        axes[0].set_ylabel(label)
        entries = {
            name: handle for place in axes for handle, name in zip(*place.get_legend_handles_labels(), strict=True)
        }
        figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=min(len(entries), 4))
    return figure
