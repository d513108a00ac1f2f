"""How Newton's method solves the implicit equation of a time step: how exactly, how long, from where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final, get_args

from xbar_spice.checks import settle
from xbar_spice.errors import InvalidInputError
from xbar_spice.settings import setting

__all__ = ["NewtonOptions"]

GROUP = "Newton's method of implicit steps"  # of the settings

Forcing = Literal["tight", "eisenstat-walker"]
Start = Literal["last", "extrapolated"]

_NOISE = 3.0  # |F| in units of the noise of a read below which Newton's method only follows the noise


@final
@dataclass(frozen=True)
class NewtonOptions:
    """How implicit equations are solved; |F| is measured relative to max(|base|, |z|), of a z that has not blown up.

    Attributes:
        rtol: |F| at which a sample has converged; of noisy reads give the `noise`, too.
        floor: |F| at which a sample that cannot be improved any more counts as converged: rounding of the reads may
            well lie above `rtol`, but stagnation above `floor` is a failure.
        max_iterations: Newton steps per sample.
        max_backtracks: Halvings of a step that does not reduce |F|.
        max_uphill: Full steps taken although not even a halved one reduces |F|: across a kink of relu the way to the
            solution may lead uphill. The best point seen is returned if it does not.
        continuation: Halvings of c with which a sample that has lost its way is tried again: the solution for a small
            c starts the iteration for twice as much, up to c itself. 0 for no second try.
        noise: Relative error of a read, as `measured_noise` gives it; a sample with |F| below three times as much has
            converged, because further reads would only follow the noise.
        forcing: How exactly a Newton step is solved: "tight", as exactly as `rtol` needs if F is linear, which relu
            makes it but for its kinks, or "eisenstat-walker", as exactly as the last step was good.
        start: Where a time step starts: at the "last" state, whose residual is mostly known, or "extrapolated" from
            the last two for one evaluation more.

    Raises:
        InvalidInputError: A value is out of range.
    """

    rtol: float = setting(
        1e-14, "Residual, relative to the state, at which a step is solved.", GROUP, unit="part", flag="--newton-rtol"
    )
    floor: float = setting(
        1e-8,
        "Residual at which a step that cannot be improved counts as solved.",
        GROUP,
        unit="part",
        flag="--newton-floor",
    )
    max_iterations: int = setting(
        50, "Newton iterations of each sample in a step.", GROUP, unit="count", flag="--newton-iterations"
    )
    max_backtracks: int = setting(
        8, "Halvings of an iteration that does not reduce the residual.", GROUP, unit="count", flag="--backtracks"
    )
    max_uphill: int = setting(
        2,
        "Full iterations taken although not even a halved one reduces the residual.",
        GROUP,
        unit="count",
        flag="--uphill",
    )
    continuation: int = setting(
        6, "Halvings of the step length with which a sample that was not solved is tried again.", GROUP, unit="count"
    )
    noise: float = setting(
        0.0,
        "Relative error of a read, below three times of which a step is solved.",
        GROUP,
        unit="part",
        flag="--newton-noise",
    )
    forcing: Forcing = setting("tight", "How exactly each iteration solves its linear system.", GROUP)
    start: Start = setting("last", "The state from which a step starts.", GROUP, flag="--newton-start")

    def __post_init__(self) -> None:
        settle(self)
        for name, value in (("rtol", self.rtol), ("floor", self.floor), ("noise", self.noise)):
            if not 0.0 <= value < 1.0:
                raise InvalidInputError(f"{name} of Newton's method must be in [0, 1), got {value}")
        if self.max_iterations < 1:
            raise InvalidInputError(f"max_iterations of Newton's method must be >= 1, got {self.max_iterations}")
        for name, count in (
            ("max_backtracks", self.max_backtracks),
            ("max_uphill", self.max_uphill),
            ("continuation", self.continuation),
        ):
            if count < 0:
                raise InvalidInputError(f"{name} must be >= 0, got {count}")
        for name, choice, allowed in (("forcing", self.forcing, Forcing), ("start", self.start, Start)):
            if choice not in get_args(allowed):
                raise InvalidInputError(f"{name} must be one of {', '.join(get_args(allowed))}, got {choice!r}")

    @property
    def tolerance(self) -> float:
        """|F| at which a sample has converged."""
        return max(self.rtol, _NOISE * self.noise)
