"""What a study found, in sentences with the numbers in them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from xbar_spice.report.answers import Bounds, largest, limits, percent, size_text
from xbar_spice.report.comparison import Change
from xbar_spice.report.data import FAILED, MISSING, UNCONVERGED, Axis, Results
from xbar_spice.report.grid import Grid
from xbar_spice.report.quantities import (
    ACCURACY,
    DIGITAL_ACCURACY,
    ENERGY,
    READS,
    SECONDS,
    STATE_ERROR,
    VERIFIED,
    gradient,
)
from xbar_spice.report.statistics import ENOUGH, NOTHING, Estimate, medians
from xbar_spice.study.setups import exact

__all__ = ["change_cells", "changed", "findings"]

_MOST = 4  # answers that are named one by one, and questions that are answered in sentences


def findings(results: Results, bounds: Bounds | None = None) -> list[str]:
    """The most telling sentences, as far as the results allow them.

    Args:
        results: Of a study.
        bounds: Errors that are tolerated when it is asked how large an array may be.
    """
    grid = Grid.of(results)
    return [
        *_accuracy(grid),
        *_solution(grid),
        *_largest(grid, bounds or Bounds()),
        *_direction(grid),
        *_effort(results),
        *_verified(results),
        *_counts(results),
        *_chips(grid),
    ]


def _accuracy(grid: Grid) -> Iterator[str]:
    """Accuracy on the arrays beside the digital one."""
    found, digital = medians(grid.values(ACCURACY)), medians(grid.values(DIGITAL_ACCURACY))
    if np.isnan(found).all():
        return
    lost = digital - found
    best, worst = int(np.nanargmin(lost)), int(np.nanargmax(lost))
    if best == worst or lost[best] == lost[worst]:
        yield f"Accuracy: {_accuracies(found[best], digital[best])}{' everywhere' if len(found) > 1 else ''}."
        return
    yield (
        f"Accuracy: {_accuracies(found[best], digital[best])} at best ({grid.place(best)}), "
        f"{_accuracies(found[worst], digital[worst])} at worst ({grid.place(worst)})."
    )


def _accuracies(analog: float, digital: float) -> str:
    return f"{100 * analog:.3g}\u00a0% on the arrays against {100 * digital:.3g}\u00a0% digital"


def _solution(grid: Grid) -> Iterator[str]:
    """Smallest and largest median error of the final state."""
    errors = medians(grid.values(STATE_ERROR))
    if np.isnan(errors).all():
        return
    best, worst = int(np.nanargmin(errors)), int(np.nanargmax(errors))
    if errors[worst] <= NOTHING:
        yield "The arrays give the digital solution: the final state differs by rounding only."
    elif len(errors) == 1:
        yield f"The final state is off by {percent(errors[worst])}."
    else:
        yield (
            f"The final state is off by {percent(errors[best])} at best ({grid.place(best)}) "
            f"and by {percent(errors[worst])} at worst ({grid.place(worst)})."
        )


def _largest(grid: Grid, bounds: Bounds) -> Iterator[str]:
    """How large an array may be, for each curve of the figures, at the first values of the axes that are left."""
    results = grid.results
    x, curves, panels, rest = results.roles()
    if x is None:
        return
    asked = [limit for limit in limits(results, bounds) if not limit.column.endswith((".angle", STATE_ERROR))][:_MOST]
    fixed = (*([panels] if panels else []), *rest)
    answers = largest(grid, x, asked, fixed)
    if curves is not None:
        answers.sort(key=lambda answer: grid.code(answer.points[0], curves))
    where = ", ".join(f"{axis.name} {axis.text(axis.values[0])}" for axis in fixed)
    for number, limit in enumerate(asked):
        if not np.isfinite(grid.values(limit.column)).any():
            continue
        alike: dict[str, list[str]] = {}  # values of the curves' axis with the same answer
        for answer in answers:
            text = size_text(answer.found[number], answer, results, x)
            value = "" if curves is None else exact(curves.values[grid.code(answer.points[0], curves)])
            alike.setdefault(f"{text} ({answer.note})" if answer.note else text, []).append(value)
        texts = [_at(text, values, curves) for text, values in alike.items()]
        said = "; ".join(texts) if len(texts) <= _MOST else f"from {texts[0]} to {texts[-1]}"
        yield f"Largest {x.title} at which {limit.sentence}{f' ({where})' if where else ''}: {said}."


def _at(text: str, values: list[str], curves: Axis | None) -> str:
    if curves is None:
        return text
    listed = " and ".join(filter(None, [", ".join(values[:-1]), values[-1]]))
    if len(values) > _MOST:
        listed = f"{values[0]} to {values[-1]} ({len(values)} values)"
    return f"{text} at {curves.name} {listed} {curves.unit}".rstrip()


def _direction(grid: Grid) -> Iterator[str]:
    """The gradient that points worst."""
    names = grid.results.shown_gradients
    cosines = [medians(grid.values(gradient(name, "cosine"))) for name in names]
    known = [(float(np.nanmin(found)), int(np.nanargmin(found)), name)
             for name, found in zip(names, cosines, strict=True) if not np.isnan(found).all()]  # fmt: skip
    if not known:
        return
    cosine, point, name = min(known)
    if cosine > 1.0 - 1e-9:
        yield "All hardware gradients point in the direction of the digital ones."
        return
    angle = np.degrees(np.arccos(max(-1.0, cosine)))
    place = f" ({grid.place(point)})" if grid.place(point) else ""
    yield f"The hardware gradient that turns away most is that of {name}: cosine {cosine:.4g}, {angle:.2g}°{place}."


def _effort(results: Results) -> Iterator[str]:
    if not results.column(READS):
        return
    cases = results.distinct.dropna(subset=[READS])
    total, seconds, done = int(cases[READS].sum()), float(cases[SECONDS].sum()), len(cases)
    engines = ", ".join(sorted(set(cases["engine"])))
    yield f"{done} cases took {total} reads of the arrays through {engines} and {_duration(seconds)} of computing."
    if results.column(ENERGY):
        joule = float(cases[ENERGY].median())
        yield f"A read of 10 ns of one sample takes {1e12 * joule:.3g} pJ from the drivers, as the median of the cases."


def _verified(results: Results) -> Iterator[str]:
    """How far another engine's answers are from those that the results rest on."""
    if not results.column(VERIFIED):
        return
    cases = results.distinct.dropna(subset=[VERIFIED])
    reads, worst = int(cases["verified.reads"].sum()), cases.sort_values(VERIFIED).iloc[-1]
    judges = ", ".join(sorted(set(cases["verified.engine"])))
    yield (
        f"{judges} answered {reads} of the reads, too: currents differ by {worst[VERIFIED]:.1e} of the largest one of "
        f"their array at most ({worst['label']})."
    )


def _counts(results: Results) -> Iterator[str]:
    unconverged, total = results.count(UNCONVERGED), len(results.distinct)
    if unconverged:
        yield f"{unconverged} of {total} cases did not converge; they are in no median, and keep no bound."
    elif len(results.usable):
        yield "Every solve converged."
    if results.count(FAILED):
        yield f"{results.count(FAILED)} of {total} cases failed; see below."
    if results.count(MISSING):
        yield f"{results.count(MISSING)} of {total} cases have not been run yet."


def _chips(grid: Grid) -> Iterator[str]:
    """A word of caution where numbers rest on few chips."""
    counts = np.count_nonzero(~np.isnan(grid.values(STATE_ERROR)), axis=1)
    chips = int(counts.max(initial=0))
    if chips == 1:
        yield "Every number is of one chip: another one may give others."
    elif 1 < chips < ENOUGH:
        yield f"Medians are over {chips} chips at most; intervals from fewer than {ENOUGH} are too narrow."


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def change_cells(change: Change) -> tuple[str, ...]:
    """A change between two studies as the cells of a row: quantity, place, both medians, the change, chips."""
    return (
        change.quantity,
        change.place,
        f"{change.first:.4g}",
        f"{change.second:.4g}",
        changed(change.change, difference=change.difference),
        str(change.change.chips),
    )


def changed(found: Estimate, *, difference: bool) -> str:
    """A change with its interval: a ratio, or a difference of accuracies in per cent of the samples."""

    def text(value: float) -> str:
        return f"{100 * value:+.3g}\u00a0%" if difference else f"x {value:.3g}"

    if not np.isfinite(found.value):
        return "-"
    return text(found.value) if found.chips < 2 else f"{text(found.value)} ({text(found.low)} to {text(found.high)})"
