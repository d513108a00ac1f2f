"""The iteration of parallel-in-time runs: fine sweeps of all slices at once, a coarse sweep from slice to slice.

The steps are cut into M slices. F_k leads over slice k by all of its steps, G_k by a single long one. From a coarse
sweep U_{k+1} = G_k(U_k) on, each iteration makes

    V_0 = U_0,   V_{k+1} = F_k(U_k) + G_k(V_k) - G_k(U_k),

with "FCF" after another U_{k+1} <- F_k(U_k) of all slices at once. This is parareal, which is multigrid reduction in
time with two levels (full approximation scheme, F-relaxation). It is exact after M iterations, with "FCF" after M / 2,
and has the fixed point of the fine steps whatever the coarse one is: that only sets the speed.

Sources: Lions, Maday, Turinici, C. R. Acad. Sci. 332 (2001) 661; Guenther et al., SIAM J. Math. Data Sci. 2 (2020) 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.integrators.method import Carry

__all__ = ["MOST_ITERATIONS", "Coarse", "Cut", "Fine", "Relaxation", "Work", "iterated", "largest"]

MOST_ITERATIONS = 10**6  # far beyond what any number of slices needs

Relaxation = Literal["F", "FCF"]
"""What the slices do at once in an iteration: one fine sweep, or two."""


@final
@dataclass(frozen=True)
class Cut:
    """What goes from slice to slice.

    Attributes:
        z: State, or cotangent, (n, batch).
        carry: What a method of several steps needs besides; it is always that of the fine run before.
    """

    z: FloatArray
    carry: Carry = ()


@final
@dataclass(frozen=True)
class Work:
    """Steps of a run that is parallel in time; times the reads of a step they are reads of each sample.

    Attributes:
        sequential: Steps one after the other.
        fine: Fine steps of all iterations; the sweep that finds the states within the slices takes `sequential` more.
        coarse: Coarse steps of all iterations.
        critical_path: Steps that have to wait for each other where every slice has arrays of its own.
        critical_path_coarse_digital: Those of arrays, if coarse steps are made on digital matrices.

    Example:
        >>> Work.of(slices=16, coarsening=16, relaxation="F", iterations=4)
        Work(sequential=256, fine=1024, coarse=80, critical_path=144, critical_path_coarse_digital=64)
    """

    sequential: int
    fine: int
    coarse: int
    critical_path: int
    critical_path_coarse_digital: int

    @classmethod
    def of(cls, slices: int, coarsening: int, relaxation: Relaxation, iterations: int) -> Work:
        """The steps of some iterations; those of the first coarse sweep among them."""
        sweeps = 1 if relaxation == "F" else 2
        waited = sweeps * coarsening * iterations
        return cls(
            sequential=slices * coarsening,
            fine=sweeps * slices * coarsening * iterations,
            coarse=slices * (1 + sweeps * iterations),
            critical_path=slices + waited + (slices + sweeps - 1) * iterations,
            critical_path_coarse_digital=waited,
        )


Fine = Callable[[int, Cut], Cut]
"""Leads over a slice, by its number, by fine steps."""

Coarse = Callable[[int, FloatArray], FloatArray]
"""Leads over a slice by a single long step."""


def iterated(
    first: FloatArray,
    start: Sequence[FloatArray] | FloatArray | None,
    slices: int,
    fine: Fine,
    coarse: Coarse,
    relaxation: Relaxation,
    iterations: int,
    look: Callable[[list[Cut]], None],
) -> list[Cut]:
    """The states at the cuts, (slices + 1) of them.

    Args:
        first: The first of them, (n, batch).
        start: Those to begin with, the first of which may be another one than now; a coarse sweep makes them if None.
        slices: M.
        fine: F.
        coarse: G.
        relaxation: "F" or "FCF".
        iterations: How many.
        look: Called with the states, those to begin with and those of every iteration.
    """
    if start is None:
        cuts, swept = [Cut(first)], list[FloatArray]()
        for k in range(slices):
            swept.append(coarse(k, cuts[k].z))
            cuts.append(Cut(swept[k]))
    else:
        cuts = [Cut(z) for z in start]
        swept = [coarse(k, cuts[k].z) for k in range(slices)]
    look(cuts)
    for _ in range(iterations):
        ends = [fine(k, cuts[k]) for k in range(slices)]
        if relaxation == "FCF":
            cuts = [Cut(first), *ends]
            swept = [coarse(k, cuts[k].z) for k in range(slices)]
            ends = [fine(k, cuts[k]) for k in range(slices)]
        cuts, before, swept = [Cut(first)], swept, []
        for k in range(slices):
            swept.append(coarse(k, cuts[k].z))
            cuts.append(Cut(ends[k].z + (swept[k] - before[k]), ends[k].carry))
        look(cuts)
    return [Cut(first), *cuts[1:]]


def largest(cuts: Sequence[Cut], wanted: Sequence[Cut]) -> float:
    """Largest deviation of states at the cuts."""
    return float(max(np.abs(cut.z - one.z).max() for cut, one in zip(cuts, wanted, strict=True)))
