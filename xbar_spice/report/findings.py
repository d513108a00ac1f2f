"""What a study found, in sentences with the numbers in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pandas as pd

from xbar_spice.report.curves import NOTHING
from xbar_spice.report.data import (
    ENGINE,
    FAILED,
    MISSING,
    OK,
    READS,
    SECONDS,
    STATE_ERROR,
    UNCONVERGED,
    Results,
    gradient_cosine,
    gradient_error,
)
from xbar_spice.report.figures import gradient_names
from xbar_spice.study.setups import exact

__all__ = ["findings", "percent"]

_TOLERABLE = 0.1  # error up to which "how large may my array be" is answered


def findings(results: Results) -> list[str]:
    """The most telling sentences, as far as the results allow them."""
    return [*_solution(results), *_largest(results), *_direction(results), *_effort(results), *_counts(results)]


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


def _solution(results: Results) -> Iterator[str]:
    """Smallest and largest median error of the final state."""
    medians = _medians(results, STATE_ERROR)
    if not medians:
        return
    worst, best = max(medians, key=medians.__getitem__), min(medians, key=medians.__getitem__)
    if medians[worst] <= NOTHING:
        yield "The arrays give the digital solution: the final state differs by rounding only."
        return
    if len(medians) == 1:
        yield f"The final state is off by {percent(medians[worst])}."
        return
    yield (
        f"The final state is off by {percent(medians[best])} at best ({_place(results, best)}) "
        f"and by {percent(medians[worst])} at worst ({_place(results, worst)})."
    )


def _largest(results: Results) -> Iterator[str]:
    """How large an array may be for each gradient, for each curve of the figures."""
    x, curves, panels, rest = results.roles()
    if x is None or "circuit.tile" not in x.fields:
        return
    cases = results.cases
    fixed = (*([panels] if panels else []), *rest)
    for axis in fixed:
        cases = cases[cases[axis.key] == axis.values[0]]
    where = ", ".join(f"{axis.name} {axis.text(axis.values[0])}" for axis in fixed)
    for name in gradient_names(results):
        answers = []
        for value in curves.values if curves else (None,):
            chosen = cases if curves is None else cases[cases[curves.key] == value]
            if (chosen["status"] == OK).any():
                size = _largest_size(results, chosen, x.key, gradient_error(name))
                answers.append(f"{size} at {curves.name} {curves.text(value)}" if curves else size)
        if answers:
            yield (
                f"Largest array size of the study at which the gradient of {name} is within {percent(_TOLERABLE)}"
                f"{f' ({where})' if where else ''}: {'; '.join(answers)}."
            )


def _largest_size(results: Results, cases: pd.DataFrame, key: str, column: str) -> str:
    """The largest size up to which the median error is tolerable, and no smaller one is worse or unknown."""
    whole = results.whole

    def words(size: float) -> str:
        if whole is not None and size >= max(whole):
            return f"the whole matrices ({whole[0]} x {whole[1]} weights)"
        return exact(size)

    best: float | None = None
    for size, group in sorted((float(cast(float, size)), group) for size, group in cases.groupby(key)):
        lost = next((status for status in (UNCONVERGED, FAILED, MISSING) if (group["status"] == status).any()), None)
        if lost is not None or not group[column].astype(float).median() <= _TOLERABLE:
            found = words(best) if best is not None else f"less than {words(size)}"
            return f"{found} (not every case of {exact(size)} has a result: {lost})" if lost else found
        best = size
    return "none" if best is None else words(best)


def _direction(results: Results) -> Iterator[str]:
    """The gradient that points worst."""
    found = [
        (cosine, name, point)
        for name in gradient_names(results)
        for point, cosine in _medians(results, gradient_cosine(name)).items()
    ]
    if not found:
        return
    cosine, name, point = min(found, key=lambda entry: entry[0])
    if cosine > 1.0 - 1e-9:
        yield "All hardware gradients point in the direction of the digital ones."
        return
    angle = np.degrees(np.arccos(max(-1.0, cosine)))
    place = f" ({_place(results, point)})" if _place(results, point) else ""
    yield f"The hardware gradient that turns away most is that of {name}: cosine {cosine:.4g}, {angle:.2g}°{place}."


def _effort(results: Results) -> Iterator[str]:
    reads = [name for name in results.cases if str(name).startswith(f"{READS}.")]
    if not reads:
        return
    cases = results.distinct
    total, seconds = int(cases[reads].sum().sum()), float(cases[SECONDS].sum())
    engines = ", ".join(sorted(set(cases[ENGINE].dropna()))) if ENGINE in cases else ""
    done = int(cases[reads].notna().any(axis=1).sum())
    yield f"{done} cases took {total} reads of the arrays through {engines} and {_duration(seconds)} of computing."


def _counts(results: Results) -> Iterator[str]:
    unconverged, total = results.count(UNCONVERGED), len(results.distinct)
    if unconverged:
        yield f"{unconverged} of {total} cases did not converge; they are in no median."
    elif len(results.usable):
        yield "Every solve converged."
    if results.count(FAILED):
        yield f"{results.count(FAILED)} of {total} cases failed; see below."
    if results.count(MISSING):
        yield f"{results.count(MISSING)} of {total} cases have not been run yet."


def _medians(results: Results, column: str) -> dict[tuple[Any, ...], float]:
    """Median over seeds at each point of the study, by the values of its axes."""
    if not results.column(column):
        return {}
    keys = [axis.key for axis in results.axes]
    points: dict[tuple[Any, ...], list[float]] = {}
    for row in results.usable.dropna(subset=[column]).to_dict("records"):
        points.setdefault(tuple(row[key] for key in keys), []).append(float(row[column]))
    return {point: float(np.median(values)) for point, values in points.items()}


def _place(results: Results, point: tuple[Any, ...]) -> str:
    """A point of the study in words, axes with one value left out."""
    pairs = zip(results.axes, point, strict=True)
    return ", ".join(f"{axis.name} {axis.text(value)}" for axis, value in pairs if axis.varies)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
