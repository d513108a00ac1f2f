"""The cases of a study: every point of its axes with every seed, each a pure function of what it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from xbar_spice.study.axes import Group, Point, Scalar
from xbar_spice.study.setups import Setup, Source, exact

__all__ = ["Case", "expand"]


@final
@dataclass(frozen=True, slots=True)
class Case:
    """One co-simulation of a study.

    Attributes:
        id: hash of all that determines the result.
        label: the same for people: values on the axes, and the seed.
        point: of the axes; all seeds share it.
        seed: from which the devices are drawn.
    """

    id: str
    label: str
    point: Point
    seed: int

    @property
    def axes(self) -> Mapping[str, Scalar]:
        """Values by axis name."""
        return self.point.axes

    def describe(self, setup: Setup) -> dict[str, Any]:
        """All of it as plain values, for a record."""
        return {"id": self.id, "label": self.label, "axes": dict(self.axes), "seed": self.seed, **setup.described}


def expand(
    points: Sequence[Point], seeds: Sequence[int], groups: Sequence[Group], source: Source
) -> Iterator[tuple[list[Case], Setup]]:
    """The cases of each point, one for every seed, with what they are made of.

    Where nothing is drawn, all seeds would give the same result, and the first one stands for all.

    Args:
        points: of the axes.
        seeds: of each.
        groups: the axes, for their units.
        source: of the cases.

    Raises:
        StudyError: nobody says which data a model runs on.
    """
    units = {axis.name: axis.unit for group in groups for axis in group.axes}
    for point in points:
        setup = source.setup(point.changes)
        values = [f"{name} {exact(value)} {units[name]}".rstrip() for name, value in point.axes.items()]
        yield (
            [
                Case(setup.case_id(seed), ", ".join([*values, f"seed {seed}"]), point, seed)
                for seed in (seeds if setup.design.random else seeds[:1])
            ],
            setup,
        )
