"""The tables of a study file that say what is varied: axes, random designs, and settings that follow from others."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from xbar_spice.study.axes import Scalar, log_range, steps_of_range
from xbar_spice.study.config import Seed
from xbar_spice.study.schema import Settings

__all__ = ["Axis", "RandomDesign", "When"]

Number = int | float


class _Span(Settings):
    """From one number to another."""

    model_config = ConfigDict(populate_by_name=True)

    start: Number = Field(alias="from")
    end: Number = Field(alias="to")

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        if not (math.isfinite(self.start) and math.isfinite(self.end) and self.start < self.end):
            raise ValueError(f"from must be less than to, got from = {self.start} and to = {self.end}")
        return self


class Range(_Span):
    """Numbers at equal distances, by their number or by their distance."""

    steps: Annotated[int, Field(ge=2)] | None = None
    step: Annotated[Number, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.steps is None) == (self.step is None):
            raise ValueError("give either steps, the number of values, or step, their distance")
        return self


class LogRange(_Span):
    """Numbers of equal ratio."""

    start: Annotated[Number, Field(gt=0)] = Field(alias="from")
    steps: Annotated[int, Field(ge=2)]


class Drawn(_Span):
    """Numbers that are drawn together with those of the other random axes, see `RandomDesign`."""

    scale: Literal["linear", "log"] = "linear"


class RandomDesign(Settings):
    """How random axes are drawn: a Latin hypercube of so many points."""

    count: Annotated[int, Field(ge=1)]
    seed: Seed = 0


class Axis(Settings):
    """A setting that is varied, or several that are set to the same value."""

    name: Annotated[str, Field(min_length=1)]
    unit: str = ""
    fields: Annotated[list[str], Field(min_length=1)]
    zip: str | None = None
    values: Annotated[list[Scalar], Field(min_length=1)] | None = None
    range: Range | None = None
    log: LogRange | None = None
    random: Drawn | None = None

    @field_validator("values", mode="after")
    @classmethod
    def _distinct(cls, values: list[Scalar] | None, info: ValidationInfo) -> list[Scalar] | None:
        if values is not None and info.data.get("zip") is None and len(set(values)) < len(values):
            raise ValueError(f"values of an axis must differ, got {values}")
        return values

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [kind for kind in ("values", "range", "log", "random") if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of values, range, log and random, got {' and '.join(given) or 'none'}")
        if self.zip is not None and self.random is not None:
            raise ValueError("random axes are drawn together, so leave out zip")
        return self

    @property
    def listed(self) -> list[Scalar]:
        """The values in their order; none of a random axis."""
        if self.range is not None:
            return steps_of_range(self.range.start, self.range.end, steps=self.range.steps, step=self.range.step)
        if self.log is not None:
            return log_range(self.log.start, self.log.end, self.log.steps)
        return self.values or []


class When(Settings):
    """Settings that follow from others."""

    model_config = ConfigDict(populate_by_name=True)

    conditions: Annotated[dict[str, Scalar | list[Scalar]], Field(min_length=1, alias="if")]
    brings: Annotated[dict[str, Scalar], Field(min_length=1, alias="set")]
