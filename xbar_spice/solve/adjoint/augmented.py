"""The continuous adjoint as a single solve backwards: state, adjoint and gradient together, from no stored steps.

From the last time on, with tau = t_i - t between two times at which the loss looks at the state,

    dz/dtau = -f(z),   da/dtau = J(z)^T a,   dg/dtau = (df/dtheta)^T a,

z and a are one state for the method and its error estimate; g, which nothing depends on, is the sum of the method's
weights over the same stages. At each t_i a gains dL/dz(t_i), and z starts anew from the state that was kept there. An
evaluation is one read of each array forwards and one backwards. It is not the gradient of the discrete scheme: it is as
far from it as the method is from the equation.

Source: Chen et al., Neural ordinary differential equations, NeurIPS 2018, algorithm 1 and appendix C.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xbar_spice.checks import Array, Whole, checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import METHODS
from xbar_spice.read_context import stage
from xbar_spice.solve.fields.contributions import Contributions
from xbar_spice.solve.fields.evaluation import Evaluation, IndexArray, Parameters
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.integrators.dormand_prince import DormandPrince
from xbar_spice.solve.integrators.integration import MOST_STEPS, method_text
from xbar_spice.solve.integrators.method import ForwardRun, Grid, Method, SolveOptions
from xbar_spice.solve.integrators.runge_kutta import RungeKutta
from xbar_spice.solve.integrators.step_control import AdaptiveOptions

__all__ = ["AugmentedGradients", "augmented_gradients"]


@final
@dataclass(frozen=True)
class AugmentedGradients:
    """Gradients of a loss of states at several times; for a single sample the batch axis is absent.

    Attributes:
        z0: dL/dz(t_0), (n[, batch]).
        parameters: dL/d(parameter) by name, summed over the samples.
        t: dL/dt_i, (times,), summed over the samples; of t_0 what a later start of the solution changes.
        evaluations: Evaluations of f and J^T a on the way back to each time but the last, (times - 1[, batch]).
    """

    z0: FloatArray
    parameters: Parameters
    t: FloatArray
    evaluations: NDArray[np.int64]


@checked()
def augmented_gradients(
    field: Field,
    t: ArrayLike,
    z: ArrayLike,
    cotangents: ArrayLike,
    method: str | Method = "rk4",
    *,
    steps: int = 1,
    adaptive: AdaptiveOptions | None = None,
) -> AugmentedGradients:
    """Gradients of a loss L(z(t_0), ..., z(t_k)) by one solve backwards in time.

    Args:
        field: f of dz/dt = f(z).
        t: (times,), growing, at least two.
        z: (times, n[, batch]) the states there, as a solution has them.
        cotangents: dL/dz(t_i), of the shape of z.
        method: An explicit Runge-Kutta method, or `dopri5`, which chooses its steps by z and a together.
        steps: Steps between two times, >= 1; of `dopri5` points that it has to hit.
        adaptive: How `dopri5` chooses its steps; `AdaptiveOptions()` by default.

    Raises:
        InvalidInputError: An argument is not allowed.

    Example:
        >>> from xbar_spice.solve.fields.layer_field import LayerField
        >>> decay = LayerField([[-1.0]], activation="identity")
        >>> found = augmented_gradients(decay, [0.0, 1.0], [[1.0], [np.exp(-1.0)]], [[0.0], [1.0]], steps=16)
        >>> found.z0, found.t  # exp(-1), and L = exp(-(t_1 - t_0)): minus and plus that
        (array([0.36788]), array([ 0.36788, -0.36788]))
    """
    scheme = METHODS.get(method)
    if not isinstance(scheme, RungeKutta | DormandPrince):
        raise InvalidInputError(
            f"method must be an explicit Runge-Kutta method, such as rk4 or dopri5, got {method_text(method)}"
        )
    times, states, pulls = Array()("t", t), Array()("z", z), Array()("cotangents", cotangents)
    if times.ndim != 1 or times.size < 2 or not (np.diff(times) > 0).all():
        raise InvalidInputError(f"t must be at least two growing times, got an array of shape {times.shape}")
    if states.ndim not in (2, 3) or states.shape[:2] != (times.size, field.states) or pulls.shape != states.shape:
        raise InvalidInputError(
            f"z and cotangents must have shape ({times.size}, {field.states}), with an axis of samples behind it if "
            f"there are several, got {states.shape} and {pulls.shape}"
        )
    batched = states.ndim == 3
    if not batched:
        states, pulls = states[..., np.newaxis], pulls[..., np.newaxis]
    back, n = _Augmented(field), field.states
    options = SolveOptions(adaptive=adaptive or AdaptiveOptions())
    points, total = Whole(1, MOST_STEPS)("steps", steps), Contributions((), states.shape[2])
    a, of_times, evaluations = np.zeros_like(states[0]), np.zeros(times.size), list[NDArray[np.int64]]()
    for i in range(times.size - 1, -1, -1):
        a = a + pulls[i]
        with stage(phase="adjoint", step=i):
            slope = field.evaluate_finite(states[i]).value
            of_times[i] = float(np.vdot(pulls[i], slope)) if i else -float(np.vdot(a - pulls[0], slope))
            if i == 0:
                break
        h = float(times[i] - times[i - 1]) / points
        run = scheme.run(back, np.vstack([states[i], a]), Grid(h, points), options)
        for weight, samples, at in _weighted(scheme, run):
            inner, adjoint, hidden = back.parts(at)
            total.add(field, inner, weight * adjoint, weight * hidden, step=0, samples=samples)
        a = run.z[-1, n:]
        evaluations.insert(0, run.report.evaluations.sum(axis=0))
    counts = np.array(evaluations)
    return AugmentedGradients(
        a if batched else a[:, 0], total.collect(field.tie), of_times, counts if batched else counts[:, 0]
    )


def _weighted(scheme: Method, run: ForwardRun) -> Iterator[tuple[float | FloatArray, IndexArray, Evaluation]]:
    """Every stage of a run with its part of the integral over time, and its samples."""
    everyone = np.arange(run.z.shape[2])
    if isinstance(scheme, RungeKutta):
        for stages in run.evaluations[:-1]:
            for b, at in zip(scheme.tableau.b, stages, strict=True):
                yield run.grid.h * b, everyone, at
    elif isinstance(scheme, DormandPrince):
        for taken in (taken for step in run.substeps for taken in step):
            for b, at in zip(scheme.weights, taken.stages, strict=True):
                yield taken.h * b, taken.samples, at


@final
class _Augmented(Field):
    """[z; a] backwards in time; explicit methods ask it for nothing but its values."""

    def __init__(self, field: Field) -> None:
        self.field = field

    @property
    def states(self) -> int:
        return 2 * self.field.states

    @property
    def hidden_units(self) -> int:
        return self.field.hidden_units

    def evaluate(self, z: FloatArray) -> Evaluation:
        n = self.field.states
        at = self.field.evaluate(z[:n])
        hidden = self.field.pull_hidden(at, z[n:])
        value = np.vstack([-at.value, self.field.pull_state(at, hidden)])
        return Evaluation(z, value, at.slope, at.hidden, (*at.inputs, at.value, hidden))

    def parts(self, at: Evaluation) -> tuple[Evaluation, FloatArray, FloatArray]:
        """The evaluation of f within one of this field, a, and what `pull_hidden` made of a."""
        n = self.field.states
        *inputs, value, hidden = at.inputs
        return Evaluation(at.z[:n], value, at.slope, at.hidden, tuple(inputs)), at.z[n:], hidden

    def jvp(self, evaluation: Evaluation, direction: FloatArray) -> NoReturn:
        raise NotImplementedError

    def pull_hidden(self, evaluation: Evaluation, cotangent: FloatArray) -> NoReturn:
        raise NotImplementedError

    def pull_state(self, evaluation: Evaluation, hidden_cotangent: FloatArray) -> NoReturn:
        raise NotImplementedError

    def parameter_gradients(
        self, evaluation: Evaluation, cotangent: FloatArray, hidden_cotangent: FloatArray
    ) -> NoReturn:
        raise NotImplementedError

    def parameter_jvp(self, evaluation: Evaluation, direction: Parameters) -> NoReturn:
        raise NotImplementedError
