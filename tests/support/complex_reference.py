"""A second implementation of every field and method, in complex numbers and sharing no code with the package.

An imaginary part of 1e-30 on parameters and state carries a derivative through a run without cancellation (complex
step): Im L(x + 1e-30 i dx) / 1e-30 = <dL/dx, dx> to rounding. Kinks are taken by the real part, with u(0) = 0; the
implicit equations are solved by Newton's method on dense matrices, whose columns are complex steps, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.integrators.integration import Trajectory

ComplexArray = NDArray[np.complex128]
Values = Mapping[str, ComplexArray]
Function = Callable[[ComplexArray], ComplexArray]

STEP = 1e-30

SIGMA: dict[str, Function] = {
    "relu": lambda s: np.where(s.real > 0, s, 0),
    "abs": lambda s: s * np.sign(s.real),
    "identity": lambda s: s,
    "tanh": np.tanh,
    "sigmoid": lambda s: 1 / (1 + np.exp(-s)),
    "softplus": lambda s: np.log1p(np.exp(s)),
}
MOVES = [(-1, -1), (0, -1), (1, -1), (-1, 0), (0, 0), (1, 0), (-1, 1), (0, 1), (1, 1)]


def _one(z: ComplexArray) -> ComplexArray:
    return np.append(z, 1.0)


def _convolved(kernel: ComplexArray, image: ComplexArray, shape: tuple[int, int], wrap: bool) -> ComplexArray:
    """Sum of the taps times the image rolled by their moves; with zeros around it where nothing wraps around."""
    taps = kernel.reshape((1, 1, 9)) if kernel.ndim == 1 else kernel
    images = image.reshape(-1, *shape)
    padded = images if wrap else np.pad(images, [(0, 0), (1, 1), (1, 1)])
    moved = np.stack([np.roll(padded, move, axis=(1, 2)) for move in MOVES])
    result = np.einsum("oct,tchw->ohw", taps, moved)
    return (result if wrap else result[:, 1:-1, 1:-1]).ravel()


def _two(p: Values, z: ComplexArray, name: str, *, bias: bool = False) -> ComplexArray:
    return p["B"] @ SIGMA[name](p["A"] @ (_one(z) if bias else z))


def _convolution(p: Values, z: ComplexArray, shape: tuple[int, int], wrap: bool, name: str = "relu") -> ComplexArray:
    return _convolved(p["b"], SIGMA[name](_convolved(p["a"], z, shape, wrap)), shape, wrap)


def _parabolic_bias(p: Values, z: ComplexArray) -> ComplexArray:
    return -p["K"][:, :-1].T @ np.tanh(p["K"] @ _one(z))


RIGHT_SIDES: dict[str, Callable[[Values, ComplexArray], ComplexArray]] = {
    "relu": lambda p, z: _two(p, z, "relu"),
    "relu-bias": lambda p, z: _two(p, z, "relu", bias=True),
    "tanh": lambda p, z: _two(p, z, "tanh", bias=True),
    "sigmoid": lambda p, z: _two(p, z, "sigmoid", bias=True),
    "softplus": lambda p, z: _two(p, z, "softplus", bias=True),
    "abs": lambda p, z: _two(p, z, "abs", bias=True),
    "identity": lambda p, z: _two(p, z, "identity"),
    "layer": lambda p, z: np.tanh(p["K"] @ z + p["b"]),
    "residual-relu": lambda p, z: SIGMA["relu"](p["K"] @ z + p["b"]),
    "antisymmetric": lambda p, z: np.tanh((p["K"] - p["K"].T) @ z + p["b"]),
    "parabolic": lambda p, z: -p["K"].T @ SIGMA["relu"](p["K"] @ z),
    "parabolic-bias": _parabolic_bias,
    "convolution": lambda p, z: _convolution(p, z, (2, 2), True),
    "convolution-zero-4x4": lambda p, z: _convolution(p, z, (4, 4), False, "tanh"),
    "convolution-channels": lambda p, z: _convolution(p, z, (2, 1), False),
}
"""f(p, z) by the names of `solver_table.FIELDS`."""

PARTS: dict[str, tuple[Callable[[Values, ComplexArray], ComplexArray], Callable[[Values, ComplexArray], ComplexArray]]]
PARTS = {
    "hamiltonian": (
        lambda p, z: np.tanh(p["K"].T @ z + p["b"]),
        lambda p, y: -np.tanh(p["K"] @ y + p["b"]),
    ),
    "hamiltonian-relu": (lambda p, z: SIGMA["relu"](p["K"].T @ z), lambda p, y: -SIGMA["relu"](p["K"] @ y)),
    "split": (
        lambda p, z: p["velocity.B"] @ np.tanh(p["velocity.A"] @ z),
        lambda p, y: p["force.B"] @ SIGMA["softplus"](p["force.A"] @ y),
    ),
}
"""Velocity of z and force of y of the fields in two parts, and the length of y below."""

Y_LENGTH = {"hamiltonian": 2, "hamiltonian-relu": 3, "split": 2}


def right_side(name: str, p: Values, z: ComplexArray) -> ComplexArray:
    """f(z) with the parameters p."""
    if name in RIGHT_SIDES:
        return RIGHT_SIDES[name](p, z)
    velocity, force = PARTS[name]
    k = Y_LENGTH[name]
    return np.concatenate([velocity(p, z[k:]), force(p, z[:k])])


def solved(f: Function, f_real: Function, base: ComplexArray, c: float, guess: ComplexArray) -> ComplexArray:
    """The z with z = base + c f(z); `f_real` is f without the imaginary parts of its parameters."""
    z, eye = guess.astype(complex), np.eye(len(guess))
    for _ in range(30):
        columns = [f_real(z.real + STEP * 1j * unit).imag / STEP for unit in eye]
        change = np.linalg.solve(eye - c * np.stack(columns, axis=1), base + c * f(z) - z)
        z = z + change
        if all(np.linalg.norm(part(change)) <= 1e-15 * np.linalg.norm(part(z)) for part in (np.real, np.imag)):
            break
    return z


def reference_run(
    name: str,
    method: str,
    p: Values,
    z0: ComplexArray,
    h: float,
    steps: int,
    accepted: Sequence[Sequence[float]] = (),
) -> ComplexArray:
    """z_N of one sample; `accepted` are the sizes of the steps that an adaptive method took to each grid point."""
    real = {key: np.real(value) for key, value in p.items()}

    def f(z: ComplexArray) -> ComplexArray:
        return right_side(name, p, z)

    def f_real(z: ComplexArray) -> ComplexArray:
        return right_side(name, real, z)

    z, before, moved = z0.astype(complex), [], np.zeros_like(z0)
    for k in range(steps):
        if method == "dopri5":
            for size in accepted[k]:
                z = _runge_kutta(f, z, size, *DOPRI5)
        elif method == "rk4":
            z = _runge_kutta(f, z, h, *RK4)
        elif method == "leapfrog":
            moved = moved + h * h * f(z)
            z = z + moved
        elif method == "imex":  # with I for L
            z = (z + h * (f(z) + z)) / (1.0 + h)
        elif "verlet" in method:
            z = _verlet(name, method, p, z, h)
        else:
            new, old = COEFFICIENTS[method][min(k, len(COEFFICIENTS[method]) - 1)]
            before = [z, *before]
            base = z + h * sum((b * f(at) for b, at in zip(old, before, strict=False)), np.zeros_like(z))
            z = solved(f, f_real, base, h * new, z) if new else base
    return z


def complex_step(
    name: str,
    method: str,
    trajectory: Trajectory,
    parameters: Mapping[str, FloatArray],
    dz: FloatArray,
    dp: Mapping[str, FloatArray],
) -> tuple[FloatArray, FloatArray]:
    """z_N and its change along (dz, dp), (n, batch) each, of the steps that a trajectory took."""
    moved = {key: value + STEP * 1j * dp[key] for key, value in parameters.items()}
    z0 = trajectory.z[0] + STEP * 1j * dz
    ends = [
        reference_run(name, method, moved, z0[:, sample], trajectory.h, trajectory.steps, accepted(trajectory, sample))
        for sample in range(z0.shape[1])
    ]
    end = np.stack(ends, axis=1)
    return end.real, end.imag / STEP


def accepted(trajectory: Trajectory, sample: int) -> list[list[float]]:
    """The sizes of the steps that a sample took to each grid point."""
    return [
        [float(taken.h[list(taken.samples).index(sample)]) for taken in step if sample in taken.samples]
        for step in trajectory.runs[0].substeps
    ]


def _runge_kutta(f: Function, z: ComplexArray, h: float, rows: Sequence[Sequence[float]], b: Sequence[float]):
    slopes: list[ComplexArray] = []
    for row in rows:
        slopes.append(f(z + h * sum((a * k for a, k in zip(row, slopes, strict=True)), np.zeros_like(z))))
    return z + h * sum(weight * k for weight, k in zip(b, slopes, strict=True))


def _verlet(name: str, method: str, p: Values, state: ComplexArray, h: float) -> ComplexArray:
    velocity, force = PARTS[name]
    y, z = state[: Y_LENGTH[name]], state[Y_LENGTH[name] :]
    first, second = (1.0, 0.0) if method == "verlet" else (0.5, 0.5)
    z = z + first * h * force(p, y)
    y = y + h * velocity(p, z)
    return np.concatenate([y, z + second * h * force(p, y)])


# Coefficient of the new point, and those of the points before it from the last one on, for each step of the start.
COEFFICIENTS: dict[str, list[tuple[float, list[float]]]] = {
    "forward_euler": [(0.0, [1.0])],
    "implicit_euler": [(1.0, [])],
    "trapezoid": [(0.5, [0.5])],
    "am3": [(0.5, [0.5]), (5 / 12, [8 / 12, -1 / 12])],
    "ab3": [(0.0, [1.0]), (0.0, [1.5, -0.5]), (0.0, [23 / 12, -16 / 12, 5 / 12])],
}
RK4 = ([[], [0.5], [0.0, 0.5], [0.0, 0.0, 1.0]], [1 / 6, 1 / 3, 1 / 3, 1 / 6])
DOPRI5 = (  # Hairer, Norsett and Wanner, Solving ordinary differential equations I, table II.5.2
    [
        [],
        [1 / 5],
        [3 / 40, 9 / 40],
        [44 / 45, -56 / 15, 32 / 9],
        [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
        [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
    ],
    [35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
)
