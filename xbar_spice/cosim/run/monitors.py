"""What is measured beside a co-simulation, by further reads of the same arrays: growth, and a run parallel in time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from xbar_spice.checks import Optional, Whole, refuse_idle, settle
from xbar_spice.cosim.run.record import GrowthEntry, ParallelEntry
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.settings import setting
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.growth import growth
from xbar_spice.solve.integrators.integration import Trajectory
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.solve.integrators.method import SolveOptions
from xbar_spice.solve.parallel.forward import parallel_in_time
from xbar_spice.solve.parallel.parareal import MOST_ITERATIONS, Relaxation
from xbar_spice.weights import Model

__all__ = ["Monitors"]

GROUP = "Monitors"
_MOST = 10**6


@final
@dataclass(frozen=True)
class Monitors:
    """What a co-simulation measures beside its run; nothing unless a setting says so.

    Attributes:
        growth: Products with the Jacobian at each step, by which small differences are known to grow, see `growth`; as
            many as there are states, or more, are exact.
        coarsening: Steps of a slice of a run that is parallel in time, see `parallel_in_time`, on the same arrays.
        iterations: Of that run.
        relaxation: Of that run.

    Raises:
        InvalidInputError: A value is out of range, or has no effect without `coarsening`.
    """

    NEEDS: ClassVar = dict.fromkeys(("iterations", "relaxation"), "coarsening")

    growth: int | None = setting(
        None,
        "Products with the Jacobian at each step, to record how fast small differences grow.",
        GROUP,
        unit="count",
        none="not recorded",
    )
    coarsening: int | None = setting(
        None,
        "Steps of a slice: to record how a run that is parallel in time converges, on the same arrays.",
        GROUP,
        unit="count",
        none="not recorded",
    )
    iterations: int = setting(
        2, "Of the run that is parallel in time.", GROUP, unit="count", flag="--parallel-iterations"
    )
    relaxation: Relaxation = setting("F", "Sweeps over the slices in each iteration: one, or two.", GROUP)

    def __post_init__(self) -> None:
        settle(
            self,
            growth=Optional(Whole(1, _MOST)),
            coarsening=Optional(Whole(1, _MOST)),
            iterations=Whole(0, MOST_ITERATIONS),
        )
        refuse_idle(self)

    def growths(self, runs: Mapping[str, Trajectory]) -> dict[str, GrowthEntry] | None:
        """How small differences grow along each run, whose arrays must still be there; None if nobody asks."""
        if self.growth is None:
            return None
        found = {}
        for name, run in runs.items():
            states = run.z.shape[1]
            seen = growth(run, self.growth if self.growth < states else None)
            found[name] = GrowthEntry(
                seen.abscissa.max(axis=1).tolist(),
                seen.numerical_abscissa.max(axis=1).tolist(),
                float(seen.bound[-1].max()),
                int(seen.products.max()),
            )
        return found

    def parallel(
        self, model: Model, field: Field | Layers, z0: FloatArray, options: SolveOptions
    ) -> ParallelEntry | None:
        """How the run of a field converges that is parallel in time; None if nobody asks.

        Raises:
            InvalidInputError: The slices are not of equal length.
        """
        if self.coarsening is None:
            return None
        if model.grid is not None:
            raise InvalidInputError("coarsening needs steps of one length: give the model h and steps, not a grid")
        found = parallel_in_time(
            field,
            z0,
            model.method,
            h=model.h,
            steps=model.steps,
            coarsening=self.coarsening,
            relaxation=self.relaxation,
            iterations=self.iterations,
            options=options,
        )
        size = float(np.abs(found.cuts[-1]).max())
        errors = found.errors / size if size > 0 else found.errors
        work = found.work
        return ParallelEntry(errors.tolist(), work.fine + work.coarse, work.critical_path, work.sequential)
