"""How Newton's method solves the implicit equation of a time step: how exactly, how long, from where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final, get_args

from xbar_spice.checks import settle
from xbar_spice.errors import InvalidInputError

__all__ = ["NewtonOptions"]

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

    rtol: float = 1e-14
    floor: float = 1e-8
    max_iterations: int = 50
    max_backtracks: int = 8
    max_uphill: int = 2
    continuation: int = 6
    noise: float = 0.0
    forcing: Forcing = "tight"
    start: Start = "last"

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
