"""The way back: from the base to data, by the inverse of each step.

A step z' - h b_0 f(z') = z + h b_1 f(z) of a linear method read from its end is a step of length -h with b_0 and b_1
exchanged: forward Euler is undone by implicit Euler, and the trapezoid by itself. So the way back of an explicit step
is an equation, which Newton's method solves as long as the step is one to one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import ANYTHING, Array, Real, Whole, checked, given
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import METHODS
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.integrators import LinearMultistep, Method, SolveOptions, SolveReport
from xbar_spice.solve.integrators.integration import MOST_STEPS, Nonconvergence, handle_nonconvergence, method_text
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.solve.integrators.method import Grid
from xbar_spice.solve.newton.newton import NewtonOptions

__all__ = ["inverse_flow"]


@checked(z=ANYTHING, steps=Whole(1, MOST_STEPS), h=Real(above=0))
def inverse_flow(
    field: Field | Layers,
    z: ArrayLike,
    method: str | Method = "forward_euler",
    *,
    h: float,
    steps: int,
    newton: NewtonOptions | None = None,
    nonconvergence: Nonconvergence = "warn",
) -> FloatArray:
    """The samples that a flow leads to z: of normal numbers z, samples of its density.

    Args:
        field: f, or `Layers` of fields that follow each other in time.
        z: (samples, n) states at the end.
        method: Of one step. Exact, up to what `newton` leaves, for forward_euler, implicit_euler, trapezoid and
            Verlet's; any other method runs back in time, as exactly as it is.
        h: Step size of the way there, > 0.
        steps: Number of steps.
        newton: How equations of steps are solved; `NewtonOptions()` by default.
        nonconvergence: As for `integrate`: a step that has no inverse does not converge.

    Returns:
        (samples, n).

    Raises:
        InvalidInputError: An argument is not allowed, or the method looks back over several steps.
        ConvergenceError: A step was not inverted and `nonconvergence` is "raise".

    Example:
        >>> from xbar_spice.solve.fields.layer_field import LayerField
        >>> halving = LayerField([[-0.5]], activation="identity")
        >>> inverse_flow(halving, [[1.0]], h=1.0, steps=2)
        array([[4.]])
    """
    layers = field if isinstance(field, Layers) else Layers([field])
    ends = Array()("z", z)
    if ends.ndim != 2 or ends.shape[1] != layers.states or not ends.size:
        raise InvalidInputError(f"z must have shape (samples, {layers.states}), got {given(ends)}")
    scheme, options = METHODS.get(method), SolveOptions(newton=newton or NewtonOptions())
    if not scheme.one_step:
        raise InvalidInputError(
            f"{method_text(method)} looks back over several steps, and cannot be run back: take a method of one step, "
            "such as forward_euler or rk4"
        )
    state, reports = ends.T, []
    with np.errstate(over="ignore", invalid="ignore"):
        for part, piece in reversed(list(layers.pieces(Grid(h, steps)))):
            if isinstance(scheme, LinearMultistep):
                before = LinearMultistep(((*reversed((*scheme.rows[0], 0.0)[:2]),),))
                run = before.run(part, state, replace(piece, h=-h), options)
                state = run.z[-1]
                reports.append(run.report)
            else:
                for k in reversed(piece.numbers):
                    state = scheme.reverse(part, state, Grid(h, 1, k, piece.layer), options)
    if reports:
        report = SolveReport.joined(reports)
        handle_nonconvergence(f"the way back of {method_text(method)}", report, nonconvergence, scheme.hint)
    return state.T.copy()
