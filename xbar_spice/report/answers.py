"""How large an array may be: the largest size that keeps a bound, for each combination of the other axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from xbar_spice.checks import Real, settle
from xbar_spice.report.data import FAILED, MISSING, UNCONVERGED, Axis, Results
from xbar_spice.report.grid import Grid, Integers
from xbar_spice.report.quantities import ACCURACY_LOSS, STATE_ERROR, gradient
from xbar_spice.report.statistics import Estimate, crossing
from xbar_spice.study.setups import exact

__all__ = ["Answer", "Bounds", "Limit", "largest", "limits", "percent", "size_text"]

_DIGITS = 3


@final
@dataclass(frozen=True)
class Bounds:
    """What errors are tolerated when a report says how large an array may be.

    Attributes:
        gradient_error: Relative error of the final state and of each gradient, as a part of one.
        accuracy_loss: Digital less analog accuracy, as a part of the samples.
        angle: Between the hardware and the digital gradient, in degrees.
    """

    gradient_error: float = 0.1
    accuracy_loss: float = 0.01
    angle: float = 15.0

    def __post_init__(self) -> None:
        settle(self, gradient_error=Real(above=0), accuracy_loss=Real(least=0), angle=Real("degree", above=0, most=180))


@final
@dataclass(frozen=True)
class Limit:
    """A quantity with what is tolerated of it.

    Attributes:
        column: Of the table of cases.
        bound: What is tolerated.
        title: Of a column: the quantity and the bound in words.
        sentence: The same in a sentence, "the gradient of A is within 10 %".
    """

    column: str
    bound: float
    title: str
    sentence: str


@final
@dataclass(frozen=True, eq=False)
class Answer:
    """The largest size at one combination of the other axes.

    Attributes:
        points: Positions in the grid of the points along the size, in ascending order.
        sizes: Of these points.
        found: The largest size that keeps each limit, in the order of the limits.
        note: On cases that have no result; empty if all have one.
    """

    points: Integers
    sizes: list[float]
    found: list[Estimate]
    note: str


def limits(results: Results, bounds: Bounds) -> list[Limit]:
    """What is asked of the results, as far as they know it: accuracy first, then gradients, then the state."""
    error, loss = percent(bounds.gradient_error), percent(bounds.accuracy_loss)
    found = [
        Limit(ACCURACY_LOSS, bounds.accuracy_loss, f"accuracy loss up to {loss}", f"the accuracy falls by up to {loss}")
    ]
    for name in results.shown_gradients:
        said = f"the gradient of {name} is within {error}"
        found.append(
            Limit(gradient(name, "relative_error"), bounds.gradient_error, f"gradient of {name} within {error}", said)
        )
    for name in results.shown_gradients:
        said = f"the gradient of {name} is within {bounds.angle:g}°"
        found.append(Limit(gradient(name, "angle"), bounds.angle, f"gradient of {name} within {bounds.angle:g}°", said))
    found.append(
        Limit(STATE_ERROR, bounds.gradient_error, f"state within {error}", f"the final state is within {error}")
    )
    return [limit for limit in found if results.column(limit.column)]


def largest(grid: Grid, axis: Axis, asked: Sequence[Limit], fixed: Sequence[Axis] = ()) -> list[Answer]:
    """The answers along an axis of numbers, one for each combination of the others; of `fixed` ones the first value.

    A chip whose case did not converge keeps no bound; one whose case failed or was not run is left out, and the note
    says so.
    """
    values = [grid.values(limit.column, unconverged=np.inf) for limit in asked]
    sizes, answers = grid.sizes(axis), []
    for points in grid.groups(axis):
        if any(grid.code(points[0], other) for other in fixed):
            continue
        found = [
            crossing(sizes[points], errors[points], limit.bound) for errors, limit in zip(values, asked, strict=True)
        ]
        answers.append(Answer(points, sizes[points].tolist(), found, _note(grid, points)))
    return answers


def _note(grid: Grid, points: Integers) -> str:
    status = grid.status[points]
    counts = {kind: int((status == kind).sum()) for kind in (UNCONVERGED, FAILED, MISSING)}
    total = int((status != "").sum())
    return ", ".join(f"{count} of {total} cases {kind}" for kind, count in counts.items() if count)


def size_text(found: Estimate, answer: Answer, results: Results, axis: Axis, *, short: bool = False) -> str:
    """An answer in words, or in signs where it is to be short, with its interval where there is more than one chip."""
    text = _end(found.value, answer, axis) if short else _value(found.value, answer, results, axis)
    if found.chips < 2 or found.low == found.high:
        return text
    return f"{text} ({_end(found.low, answer, axis)} to {_end(found.high, answer, axis)})"


def _value(size: float, answer: Answer, results: Results, axis: Axis) -> str:
    whole = results.whole if axis.is_size else None
    if 0 < size < math.inf:
        return f"{_rounded(size, axis)} {axis.unit}".rstrip()
    end = answer.sizes[0 if size == 0 else -1]
    if whole is not None and end >= max(whole):
        return f"{'less than ' if size == 0 else ''}the whole matrices ({whole[0]} x {whole[1]} weights)"
    return f"{'less than' if size == 0 else 'at least'} {axis.text(end)}"


def _end(size: float, answer: Answer, axis: Axis) -> str:
    if size == 0:
        return f"<{exact(answer.sizes[0])}"
    return _rounded(size, axis) if size < math.inf else f"≥{exact(answer.sizes[-1])}"


def _rounded(size: float, axis: Axis) -> str:
    """Sizes are whole, and rounded down: a larger array does not keep the bound."""
    return str(math.floor(size * (1 + 1e-12))) if axis.is_size else f"{size:.{_DIGITS}g}"


def percent(value: float) -> str:
    r"""A part of one, to two digits.

    Example:
        >>> percent(0.12345), percent(2.5e-15), percent(0.0)
        ('12\xa0%', '2.5e-15', '0')
    """
    if not np.isfinite(value):
        return "-"
    if value == 0:
        return "0"
    return f"{100 * float(f'{value:.2g}'):.10g}\u00a0%" if abs(value) >= 1e-5 else f"{value:.1e}"
