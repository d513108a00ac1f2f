"""Whether a feedback circuit settles, and how fast: the eigenvalues of all its op-amps together.

Each op-amp has one pole, d(out)/dt = -speed (out / gain + in), and its input is a weighted sum of outputs, so that a
circuit is a linear system dy/dt = -speed (M y + ...). It settles if every eigenvalue of M has a positive real part.

For the loop of A and B without inverters, where the op-amps of A have the feedback factor a (their own conductance as
part of all at the node) and those of B the factor b, the eigenvalues are the roots of (b - x)(a - x) = a b mu for each
eigenvalue mu of c B D A. Both have a positive real part if and only if

    Re mu + q (Im mu)^2 < 1,    q = a b / (a + b)^2 <= 1/4.

A linear solve needs mu != 1 only. Amplifiers of very different speed need Re mu < 1, which is the spectrum of
I - c B D A in the right half plane; equal ones need more, |Re sqrt(mu)| < 1. The feedback array of W = I - c B D A has
one op-amp in each loop and asks for the spectrum of W, weighted by the loads, in the right half plane.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xbar_spice.errors import InvalidInputError, StabilityError
from xbar_spice.feedback.amplified import AmplifiedMatrix
from xbar_spice.linear.operator import FloatArray

__all__ = ["array_rates", "loop_rates", "require_stability", "two_pole_margin"]

ComplexArray = NDArray[np.complex128]


def array_rates(stage: AmplifiedMatrix) -> ComplexArray:
    """Rates at which a feedback array settles, 1/s, slowest first: its op-amps drive its own rails."""
    moving = stage.dynamics()
    matrix = moving.own
    matrix[:, stage.inverters : stage.inverters + stage.arrays.inputs] += moving.coupling
    return _rates(matrix, stage.opamp.speed)


def loop_rates(first: AmplifiedMatrix, second: AmplifiedMatrix, slopes: FloatArray) -> ComplexArray:
    """Rates at which the loop of two matrices settles, 1/s, slowest first.

    Args:
        first: the matrix that the solution drives.
        second: the one whose amplifiers hold the solution.
        slopes: (inputs of the second,) part of the first one's results that goes on to the second.
    """
    one, two = first.dynamics(), second.dynamics(slopes)
    split = len(one.own)
    matrix = np.zeros((split + len(two.own),) * 2)
    matrix[:split, :split], matrix[split:, split:] = one.own, two.own
    solution = split + second.inverters
    matrix[:split, solution : solution + second.arrays.outputs] = one.coupling
    # The inverters before the switches see every result; their coupling does not depend on the slopes.
    matrix[split:, first.inverters : first.inverters + first.arrays.outputs] = two.coupling
    return _rates(matrix, first.opamp.speed)


def two_pole_margin(eigenvalues: ComplexArray, ratio: float = 1.0) -> float:
    """1 - max(Re mu + q (Im mu)^2) over eigenvalues of c B D A: positive if the ideal loop settles.

    Args:
        eigenvalues: mu.
        ratio: a / b, how much faster the amplifiers of A are than those of B; the same for 1 / ratio.

    Raises:
        InvalidInputError: the ratio is not positive.

    Example:
        >>> two_pole_margin(np.array([0.5 + 1.0j, -3.0]))
        0.25
    """
    if not ratio > 0:
        raise InvalidInputError(f"the ratio of two feedback factors must be > 0, got {ratio}")
    q = 1.0 / (ratio + 2.0 + 1.0 / ratio)
    return float(1.0 - np.max(eigenvalues.real + q * eigenvalues.imag**2))


def require_stability(rates: ComplexArray, what: str, advice: str) -> None:
    """Refuse a circuit that does not settle.

    Raises:
        StabilityError: a rate has no positive real part; the text says which, and what to try.
    """
    slowest = rates[0]
    if not slowest.real > 0:
        raise StabilityError(
            f"{what} is unstable: of the rates of its {rates.size} op-amps {int((rates.real <= 0).sum())} have no "
            f"positive real part (the lowest is {slowest.real:.3g} {slowest.imag:+.3g}i per second), "
            f"all must have one; {advice}"
        )


def _rates(matrix: FloatArray, speed: float) -> ComplexArray:
    rates = np.asarray(speed * np.linalg.eigvals(matrix), dtype=complex)
    return rates[np.argsort(rates.real)]
