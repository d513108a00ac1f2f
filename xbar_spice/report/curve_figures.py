"""The figures that draw errors, accuracy and effort against the axes of a study."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from xbar_spice.report.curves import MOST_CURVES, MOST_PANELS, Ordinate, draw_curves, drawable, some
from xbar_spice.report.data import UNCONVERGED, Axis, Results
from xbar_spice.report.figure import Figure
from xbar_spice.report.quantities import (
    ACCURACY,
    DIGITAL_ACCURACY,
    ENERGY,
    LOSS_ERROR,
    NATS_ABOVE,
    READS,
    SECONDS,
    STATE_ERROR,
    gradient,
)
from xbar_spice.report.statistics import NOTHING

__all__ = [
    "Accuracy",
    "Effort",
    "GradientAngle",
    "GradientError",
    "LikelihoodError",
    "LossError",
    "StateError",
    "angles_apart",
    "cosine_text",
]

_ANGLES = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 90.0, 120.0, 180.0)  # degrees, at which cosines are given
_ROOM = 0.07  # of the height of a panel, between two of them


class Curves(Figure):
    """Curves of some entries of the record against the study's axes."""

    what: str  # the subject of the title
    text: str  # the first sentence of the caption
    label: str  # of the ordinate
    form = "percent"  # how a value is written, see `xbar_spice.report.cells`
    log = True
    reference = ""  # an entry of the records that is drawn as a line
    reference_title = ""

    @abstractmethod
    def columns(self, results: Results) -> dict[str, str]:
        """Entries of the record, with the title of the panel of each."""

    def applies(self, results: Results) -> bool:
        return drawable(results, list(self.columns(results)))

    def title(self, results: Results) -> str:
        x = results.roles()[0]
        return f"{self.what} against {x.title}" if x else self.what

    def caption(self, results: Results) -> str:
        return f"{self.text}. {_how_to_read(results)}"

    def draw(self, results: Results) -> Drawing:
        columns = self.columns(results)
        look = Ordinate(self.label, self.form, log=self.log, reference=self.reference, title=self.reference_title)
        return draw_curves(results, list(columns), list(columns.values()), look)

    def interactive(self, results: Results) -> Mapping[str, Any]:
        x, curves, *_ = results.roles()
        places: dict[Axis | None, int] = {axis: place for place, axis in enumerate(results.axes)}
        return {
            "measures": [
                {"column": column, "title": title or self.label, "form": self.form}
                for column, title in self.columns(results).items()
                if results.column(column)
            ],
            "label": self.label,
            "log": self.log,
            "reference": self.reference,
            "reference_title": self.reference_title,
            "x": places.get(x, -1),
            "curves": places.get(curves, -1),
        }


@final
@dataclass(frozen=True)
class StateError(Curves):
    """Error of the final state against the axes."""

    name = "state_error"
    what = "Error of the solution"
    text = "Error of the final state z_T, |analog - digital| / |digital| over all samples"
    label = "relative error of the final state"

    def columns(self, results: Results) -> dict[str, str]:
        return {STATE_ERROR: ""}


@final
@dataclass(frozen=True)
class Accuracy(Curves):
    """Accuracy on the arrays against the axes, with the digital one."""

    name = "accuracy"
    what = "Accuracy"
    text = "Part of the samples that are classified correctly on the arrays; the broken line is the digital accuracy"
    label = "accuracy on the arrays"
    form = "share"
    log = False
    reference = DIGITAL_ACCURACY
    reference_title = "digital"

    def columns(self, results: Results) -> dict[str, str]:
        return {ACCURACY: ""}


@final
@dataclass(frozen=True)
class LossError(Curves):
    """Error of the loss against the axes."""

    name = "loss_error"
    what = "Error of the loss"
    text = "Error of the loss, |analog - digital| / |digital|"
    label = "relative error of the loss"

    def columns(self, results: Results) -> dict[str, str]:
        return {LOSS_ERROR: ""}


@final
@dataclass(frozen=True)
class LikelihoodError(Curves):
    """What arrays take from the likelihood of a flow against the axes."""

    name = "likelihood_error"
    what = "Likelihood lost"
    text = "Mean negative log-likelihood of the samples above that of the digital flow, in nats"
    label = "nats above digital"
    form = "number"
    log = False

    def columns(self, results: Results) -> dict[str, str]:
        return {NATS_ABOVE: ""}


@final
@dataclass(frozen=True)
class Effort(Curves):
    """Reads, Newton steps, products of the linear solves, time and energy against the axes."""

    name = "effort"
    what = "Effort"
    text = (
        "What a case takes on the arrays: reads, Newton steps and products of the linear solves (the most of any "
        "sample, added over the time steps), seconds of simulation, and what the drivers deliver in a read of 10 ns"
    )
    label = "per case"
    form = "number"
    log = False

    def columns(self, results: Results) -> dict[str, str]:
        titles = {
            READS: "reads",
            "newton.analog": "Newton steps",
            "krylov.analog": "Krylov products",
            SECONDS: "seconds",
            ENERGY: "energy of a read (J)",
        }
        return {
            column: title for column, title in titles.items() if results.column(column) and results.cases[column].any()
        }


@final
@dataclass(frozen=True)
class GradientError(Curves):
    """Error of the gradients against the axes."""

    name = "gradient_error"
    what = "Error of the gradients"
    text = "Error of the gradients that the hardware returns: analog forward run, transposed reads of the same arrays"
    label = "relative error of the gradient"

    def columns(self, results: Results) -> dict[str, str]:
        return {gradient(name, "relative_error"): f"gradient of {name}" for name in results.shown_gradients}


@final
@dataclass(frozen=True)
class GradientAngle(Curves):
    """Angle between hardware and digital gradients against the axes."""

    name = "gradient_cosine"
    what = "Direction of the gradients"
    text = (
        "Direction of the gradients: the angle between hardware and digital gradient, its cosine on the right. "
        "At 90° a gradient step no longer descends"
    )
    label = "angle to the digital gradient (degrees)"
    form = "degree"

    def columns(self, results: Results) -> dict[str, str]:
        return {gradient(name, "angle"): f"gradient of {name}" for name in results.shown_gradients}

    def draw(self, results: Results) -> Drawing:
        figure = super().draw(results)
        _show_cosines(figure)
        return figure


def _show_cosines(figure: Drawing) -> None:
    """Cosines beside the last panel of each row, at angles that are drawn in degrees."""
    for panel in figure.axes:
        spec = panel.get_subplotspec()
        if spec is not None and spec.is_last_col() and panel.get_visible():
            right = panel.secondary_yaxis("right")
            right.yaxis.set_major_locator(FixedLocator(angles_apart(*panel.get_ylim())))
            right.yaxis.set_minor_locator(NullLocator())
            right.yaxis.set_major_formatter(FuncFormatter(lambda angle, _: cosine_text(angle)))
            right.set_ylabel("cosine")


def angles_apart(low: float, high: float) -> list[float]:
    """Angles in sight whose cosines have room beside each other, on an axis that is logarithmic."""
    seen = [angle for angle in _ANGLES if low <= angle <= high]
    room = (high / low) ** _ROOM if low > 0 else 1.0
    found: list[float] = []
    for angle in seen:
        if not found or angle >= room * found[-1]:
            found.append(angle)
    return found


def cosine_text(angle: float) -> str:
    """The cosine of an angle in degrees, to five digits.

    Example:
        >>> [cosine_text(angle) for angle in (0.5, 60.0, 90.0)]
        ['0.99996', '0.5', '0']
    """
    return f"{round(np.cos(np.radians(angle)), 5) + 0.0:.5f}".rstrip("0").rstrip(".")


def _how_to_read(results: Results) -> str:
    """Sentences on bands, slopes, crosses and triangles, as far as they occur."""
    x, curves, panels, rest = results.roles()
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
    if x is not None and len({results.size(x, value) for value in x.values}) >= 3:
        sentences.append(f"Exponents p of a fit error ~ {x.name}^p are in the table of power laws.")
    if x is not None and (larger := [value for value in x.values if results.size(x, value) != value]):
        sentences.append(f"{x.name} {', '.join(map(x.text, larger))} is drawn where the whole matrices are.")
    if panels is not None:
        sentences.append(f"Panels differ in {panels.name}.")
    if any(
        axis is not None and some(axis, most) is not axis
        for axis, most in ((curves, MOST_CURVES), (panels, MOST_PANELS))
    ):
        sentences.append("There is room for some of the values only; the table of points has all.")
    for axis in rest:
        sentences.append(f"Shown for {axis.name} = {axis.text(axis.values[0])}; the table has the other values.")
    if results.count(UNCONVERGED):
        sentences.append("Crosses are cases that did not converge; they count neither for medians nor for slopes.")
    if len(results.usable) and (results.usable[STATE_ERROR] <= NOTHING).any():
        sentences.append("Hollow triangles on the lower edge are errors of zero, but for rounding.")
    return " ".join(sentences)
