"""How the runs of a co-simulation solve their equations."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, final

from xbar_spice.checks import settle
from xbar_spice.parts import LINEAR_SOLVERS
from xbar_spice.solve.integrators.method import SolveOptions
from xbar_spice.solve.integrators.step_control import AdaptiveOptions
from xbar_spice.solve.linear_solvers.krylov import KrylovOptions, get_linear_solver
from xbar_spice.solve.linear_solvers.solver import LinearSolver
from xbar_spice.solve.newton.newton import NewtonOptions
from xbar_spice.solve.newton.noise import allowing_noise

__all__ = ["SolverOptions"]


@final
@dataclass(frozen=True)
class SolverOptions:
    """How both runs solve their implicit equations and choose adaptive steps; tighter costs more reads.

    What read noise and converters leave of an equation is known before it is solved, so that the analog run does not
    spend reads on more: see `allowing`.

    Attributes:
        newton: Implicit equations.
        krylov: Their linear systems: plain values, or a `LinearSolver`; its text stands for that solver at 1e-8.
        adaptive: The choice of step sizes.
    """

    newton: NewtonOptions = field(default_factory=lambda: NewtonOptions(rtol=1e-8))
    krylov: KrylovOptions | LinearSolver = field(default_factory=lambda: KrylovOptions(rtol=1e-8))
    adaptive: AdaptiveOptions = field(default_factory=AdaptiveOptions)

    def __post_init__(self) -> None:
        if isinstance(self.krylov, str):
            object.__setattr__(self, "krylov", KrylovOptions(rtol=1e-8, method=self.krylov))
        settle(self)

    def allowing(self, noise: float) -> SolverOptions:
        """The same, but no more exact than noisy reads allow, see `allowing_noise`.

        Args:
            noise: of the residual of an implicit step, relative to the state, as `expected_noise` gives it.
        """
        newton, krylov = allowing_noise(self.newton, self.krylov, noise)
        return SolverOptions(newton, krylov, self.adaptive.allowing(noise))

    @property
    def of_steps(self) -> SolveOptions:
        """The same as `parallel_in_time` and stages take it."""
        return SolveOptions(self.newton, get_linear_solver(self.krylov), self.adaptive)

    @property
    def iterative(self) -> SolverOptions:
        """The same for fields without twin or circuit, such as digital ones: GMRES in place of chord and feedback."""
        return replace(self, krylov=self.krylov.without_circuit())

    def describe(self) -> dict[str, Any]:
        """All of it as plain values, for a record; a linear solver stands there by its text and its options."""
        found: dict[str, Any] = asdict(self)
        if isinstance(self.krylov, LinearSolver):
            name, _ = LINEAR_SOLVERS.parsed(LINEAR_SOLVERS.text(self.krylov))
            found["krylov"] = {"method": name} | found["krylov"]
        return found
