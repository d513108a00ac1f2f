"""A figure of one's own: both losses of every case."""

from dataclasses import dataclass

import matplotlib.figure

from xbar_spice.report.data import Results
from xbar_spice.report.figure import Figure


@dataclass(frozen=True)
class Losses(Figure):
    """The loss on the arrays against the digital one."""

    marker: str = "o"
    name = "losses"

    def applies(self, results: Results) -> bool:
        return results.column("loss.analog")

    def title(self, results: Results) -> str:
        return "Losses"

    def caption(self, results: Results) -> str:
        return f"Loss on the arrays against the digital loss, {len(results.usable)} cases."

    def draw(self, results: Results) -> matplotlib.figure.Figure:
        figure = matplotlib.figure.Figure(figsize=(4, 3), layout="constrained")
        axes = figure.subplots()
        axes.plot(results.usable["loss.digital"], results.usable["loss.analog"], self.marker)
        axes.set(xlabel="digital loss", ylabel="loss on the arrays")
        return figure


class Broken(Losses):
    """One that cannot be drawn."""

    def draw(self, results: Results) -> matplotlib.figure.Figure:
        raise ZeroDivisionError("no")
