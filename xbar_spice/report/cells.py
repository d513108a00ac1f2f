"""Tables of a report: columns of numbers, and how each is written; `assets/report.js` writes them alike."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

from xbar_spice.report.answers import percent
from xbar_spice.study.setups import exact

__all__ = ["PAPER", "Column", "Table", "shown"]

PAPER = 100
"""Rows that are in the page itself, for paper and for browsers that run no script."""

_DIGITS = 6  # significant ones of a number in the page; exported tables have all


@final
@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: Its heading.
        form: How a value is written: "text", "exact", "number", "percent", "share", "cosine" or "degree".
        values: What is sorted by, one for each row; None or NaN where there is none.
        texts: What is shown in place of the values.
    """

    title: str
    form: str
    values: Sequence[Any]
    texts: Sequence[str] | None = None

    def text(self, row: int) -> str:
        """What a cell shows."""
        return self.texts[row] if self.texts is not None else shown(self.form, self.values[row])

    def plain(self) -> dict[str, Any]:
        """As the page's script has it."""
        found: dict[str, Any] = {"title": self.title, "form": self.form, "values": [_plain(v) for v in self.values]}
        return found if self.texts is None else found | {"texts": list(self.texts)}


@final
@dataclass(frozen=True)
class Table:
    """A table of a report.

    Attributes:
        name: Its name in the page.
        columns: All of equal length.
        bad: Whether a row is of a case without a solution; nothing where that is not asked.
    """

    name: str
    columns: Sequence[Column]
    bad: Sequence[bool] = ()

    def __len__(self) -> int:
        return len(self.columns[0].values) if self.columns else 0

    def rows(self) -> Iterator[tuple[bool, list[str]]]:
        """The first rows, as far as they go on paper: whether it is a bad one, and its cells."""
        for row in range(min(len(self), PAPER)):
            yield bool(self.bad and self.bad[row]), [column.text(row) for column in self.columns]

    def plain(self) -> dict[str, Any]:
        """As the page's script has it."""
        found: dict[str, Any] = {"columns": [column.plain() for column in self.columns]}
        return found | {"bad": [int(bad) for bad in self.bad]} if any(self.bad) else found


def shown(form: str, value: Any) -> str:  # noqa: PLR0911 - one line for each form
    r"""A value as a cell shows it.

    Example:
        >>> shown("percent", 0.0213), shown("share", 0.94375), shown("cosine", 0.99), shown("degree", 1.2345)
        ('2.1\xa0%', '94.38\xa0%', '0.99000', '1.23°')
    """
    if value is None or value == "" or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    if form == "percent":
        return percent(float(value))
    if form == "share":
        return f"{float(f'{100 * value:.4g}'):.10g}\u00a0%"
    if form == "cosine":
        return f"{value:.5f}"
    if form == "degree":
        return f"{float(f'{value:.3g}'):.10g}°"
    if form == "number":
        return f"{value:.4g}"
    return exact(value)


def _plain(value: Any) -> Any:
    """A value as JSON holds it: nothing for what is not finite, and numbers as short as they are shown."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value
