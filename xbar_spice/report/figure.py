"""What a figure of a report is: from stored results to something drawn, with a title and a caption."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from xbar_spice.report.data import Results

if TYPE_CHECKING:
    import matplotlib.figure

__all__ = ["Figure"]


class Figure(ABC):
    """A figure of the results of a study.

    One of one's own subclasses this, as a frozen dataclass if it has options, and is handed over as
    `write_report(..., figures=["my_file.py:MyFigure"])` or `xbar-spice report --figure my_file.py:MyFigure`. It reads
    what the store holds: nothing is simulated. `StateError` in `xbar_spice/report/figures.py` is an example.
    """

    name: str
    """Of its files, without ending."""

    def applies(self, results: Results) -> bool:
        """Whether the results have what it shows; it is left out of the report otherwise."""
        return True

    @abstractmethod
    def title(self, results: Results) -> str:
        """Its heading in the report."""

    @abstractmethod
    def caption(self, results: Results) -> str:
        """What is seen, in full sentences."""

    def interactive(self, results: Results) -> Mapping[str, Any] | None:
        """What the page draws in place of the image, where it can: `{"plot": {"data": [...], "layout": {...}}}`.

        That is a figure of Plotly, of JSON's plain values; pointing at it shows its numbers. None leaves the image.
        """
        return None

    @abstractmethod
    def draw(self, results: Results) -> matplotlib.figure.Figure:
        """The figure; it is saved and closed by the report, in the report's style.

        Args:
            results: Cases and axes as one table, and the store for everything else; `applies` said True of them.
        """
