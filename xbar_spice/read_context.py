"""Where in an algorithm a product is made, so that an array can label its reads without the solvers knowing of it."""

from __future__ import annotations

from contextvars import ContextVar, Token
from dataclasses import dataclass, replace
from typing import Any, Literal, final

__all__ = ["Phase", "Stage", "current_stage", "stage"]

Phase = Literal["forward", "newton", "krylov", "adjoint"]


@final
@dataclass(frozen=True, slots=True)
class Stage:
    """The place in a solve at which a product is made; None where a counter does not apply.

    Attributes:
        phase: "forward" for an explicit evaluation of f, "newton" for a residual evaluation, "krylov" for a product
            within the linear solve of a Newton step, "adjoint" for every transposed read, its linear solves included.
        step: Time step, counted from 0: the step that leads from z[step] to z[step + 1].
        newton: Newton iteration; 0 is the residual at the start guess, i the work on and after the i-th correction.
        krylov: Iteration of the linear solve, counted from 1.
    """

    phase: Phase | None = None
    step: int | None = None
    newton: int | None = None
    krylov: int | None = None


_OUTSIDE = Stage()
_CURRENT: ContextVar[Stage] = ContextVar("xbar_spice_stage", default=_OUTSIDE)


def current_stage() -> Stage:
    """The stage of the running code; `Stage()` outside any solver."""
    return _CURRENT.get()


@final
class stage:  # noqa: N801 - reads as a statement: `with stage(phase="newton"):`
    """Set some fields of the current stage inside a `with` block; the others keep their value.

    Example:
        >>> with stage(phase="adjoint", step=3):
        ...     with stage(krylov=1):
        ...         current_stage()
        Stage(phase='adjoint', step=3, newton=None, krylov=1)
    """

    __slots__ = ("_changes", "_token")

    def __init__(self, **changes: Any) -> None:
        self._changes = changes
        self._token: Token[Stage] | None = None

    def __enter__(self) -> Stage:
        entered = replace(_CURRENT.get(), **self._changes)
        self._token = _CURRENT.set(entered)
        return entered

    def __exit__(self, *exc: object) -> None:
        if self._token is not None:
            _CURRENT.reset(self._token)
            self._token = None
