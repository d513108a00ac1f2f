"""What every linear solver offers: one run of its iteration, and what it needs besides the products of a matrix."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

from xbar_spice.checks import settle
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.fields.evaluation import Evaluation
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.linear_solvers.cycle import Cycle, Product

__all__ = ["LinearSolver", "check_damping", "check_restart"]


@dataclass(frozen=True)
class LinearSolver(ABC):
    """Solves a batch of independent linear systems M x = rhs, each known by its products M x only.

    A solver of one's own subclasses this, as a frozen dataclass if it has options of its own, and is handed over where
    the name of a built-in one goes. It says how one run of its iteration goes (`cycle`); what surrounds the runs, such
    as samples that have converged and the true residual, is the same for all. `Richardson` in
    `xbar_spice/solve/linear_solvers/richardson.py` is a complete example.

    Attributes:
        rtol: Residual aimed at, relative to the right-hand side. A Newton step asks for no more than it needs.
        max_iterations: Products per system.
        warm_start: Whether the adjoint's systems start from the one before instead of from zero.

    Raises:
        InvalidInputError: A value is out of range.
    """

    rtol: float = 1e-15
    max_iterations: int = 1000
    warm_start: bool = False

    drifts: ClassVar[bool] = True
    """Whether the residual that the iteration keeps may drift from the true one, which is then read at its end."""

    noise_factor: ClassVar[float] = 5.0
    """The residual that noisy reads leave, in units of the noise of one product; 1 if the iteration adds up none."""

    def __post_init__(self) -> None:
        settle(self)
        if not 0.0 <= self.rtol < 1.0:
            raise InvalidInputError(f"rtol of a linear solve must be in [0, 1), got {self.rtol}")
        if self.max_iterations < 1:
            raise InvalidInputError(f"max_iterations of a linear solve must be >= 1, got {self.max_iterations}")

    @abstractmethod
    def cycle(
        self, residual: FloatArray, targets: FloatArray, *, inverse: Product | None = None, watch: bool = False
    ) -> Cycle:
        """One run of the iteration, for some samples of a batch.

        Args:
            residual: r, (n, samples), none of them zero; the run solves M d = r from d = 0.
            targets: |r - M d| aimed at, (samples,).
            inverse: What `inverse` of this class gave.
            watch: Whether the `stiffest` part of the cycle is wanted, if this solver finds it without a product.
        """

    @property
    def fallback(self) -> LinearSolver | None:
        """Who solves anew the samples of which this solver could make nothing; None if nobody does."""
        return None

    def inverse(self, field: Field, at: Evaluation, c: float, *, transposed: bool) -> Product | None:
        """X to about (I - c J)^{-1} x, called as a product is; None, as by default, if there is no such thing.

        Newton's method takes what it gives for the solution, at no product, and measures by its next residual; the
        adjoint hands it to `cycle`.

        Args:
            field: Whose Jacobian J is; its `twin` and its `circuit` are what `prepared` has set up.
            at: The field evaluated where J is taken.
            c: Step size times the coefficient of the implicit term.
            transposed: Whether it is J^T.
        """
        return None

    def prepared(
        self, field: Field, digital: Field, engine: Any, report: dict[str, Any]
    ) -> AbstractContextManager[object]:
        """What a field of arrays needs for this solver, as long as the context lasts; nothing by default.

        Args:
            field: Of arrays; a twin or a circuit is set on it.
            digital: The same field with the weights as meant.
            engine: A name, or who answers the reads of circuits.
            report: Gets, when the context ends, what a record should say about it: plain values by name.
        """
        return nullcontext()

    def without_circuit(self) -> LinearSolver:
        """The solver for fields that are not `prepared`, such as digital ones; by default this one."""
        return self


def check_damping(damping: float) -> None:
    """Refuse a factor of corrections that is not in (0, 1]."""
    if not 0.0 < damping <= 1.0:
        raise InvalidInputError(f"damping must be in (0, 1], got {damping}")


def check_restart(restart: int | None) -> None:
    """Refuse a length of a cycle that is below 1."""
    if restart is not None and restart < 1:
        raise InvalidInputError(f"restart must be None or >= 1, got {restart}")
