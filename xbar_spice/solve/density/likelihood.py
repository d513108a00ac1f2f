"""The density of data that a neural ODE leads to a standard normal base, and its exact gradient.

A flow moves data x = z_0 to z_N, and the density goes along: with the map of step n, Phi_n,

    log p(x) = log N(z_N; 0, I) + sum_n log |det Phi_n'|        by "determinant": what the steps do, to the last digit
    log p(x) = log N(z_N; 0, I) + integral of tr J dt           by "trace": what the ODE does, as the method integrates

For forward Euler Phi_n' = I + h J_n, for implicit Euler (I - h J_{n+1})^-1, for the trapezoid both with h / 2; the
gradient of s log |det (I + c J)| with respect to J is s c (I + c J)^-1. What the methods approximate are densities of
mass 1 in the limit of small h; by the determinant the mass is 1 at any h at which the map is one to one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xbar_spice.checks import ANYTHING, Array, Real, Whole, checked, given
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import METHODS
from xbar_spice.solve.adjoint.discrete import Gradients, gradients
from xbar_spice.solve.density.jacobian import factors_of, jacobians, of_matrices
from xbar_spice.solve.density.traced import CurvedField, ProbedField, TracedField
from xbar_spice.solve.fields.evaluation import Evaluation, Parameters
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.integrators import LinearMultistep, Method, Verlet
from xbar_spice.solve.integrators.dormand_prince import DormandPrince
from xbar_spice.solve.integrators.integration import MOST_STEPS, Trajectory, integrate, method_text
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.solve.integrators.method import ForwardRun

__all__ = ["By", "DensityGradients", "Volume", "curved", "density_gradients", "log_density", "normal", "volume"]

By = Literal["determinant", "trace", "hutchinson"]
"""How a density is followed along the solution."""

_MOST_PROBES = 10**6
_BLOCK = 2**16  # samples that are followed at once: a million states of every step need not be held


@final
@dataclass(frozen=True)
class DensityGradients:
    """The log density of samples, and the gradients of its sum over them.

    Attributes:
        log_density: log p(x), (samples,).
        x: The gradient with respect to each sample, (samples, n): the score of the density. NaN for a sample that has
            none, because its states or determinants are not finite, or a determinant is 0.
        parameters: Those of the field's parameters by name, of the sum over the samples with their weights, without
            those that have none; by layer, such as "A[0]", if there are several.
        least_determinant: (samples,) the smallest determinant of a step on each sample's way; where it is not > 0 the
            map folds, and the density has another mass than 1. None where densities follow traces.
        evaluations: (samples,) of f on the way there (NFE).
        adjoint_evaluations: (samples,) of J^T w on the way back.
    """

    log_density: FloatArray
    x: FloatArray
    parameters: Parameters
    least_determinant: FloatArray | None
    evaluations: NDArray[np.int64]
    adjoint_evaluations: NDArray[np.int64]


class _Term(NamedTuple):
    """sign log |det(I + c J)| at an evaluation, which belongs to a grid point."""

    sign: float
    c: float
    at: Evaluation
    point: int


@checked(x=ANYTHING, steps=Whole(1, MOST_STEPS), h=Real(above=0), probes=Whole(1, _MOST_PROBES))
@np.errstate(over="ignore", invalid="ignore")  # a sample that runs away has no density, which its number says
def log_density(
    field: Field | Layers,
    x: ArrayLike,
    method: str | Method = "forward_euler",
    *,
    h: float,
    steps: int,
    by: By = "determinant",
    rng: np.random.Generator | None = None,
    probes: int = 1,
) -> FloatArray:
    """The log density that a flow gives samples: it leads them to a standard normal base.

    On arrays every product is a read. A field of the form L sig(R z + b) is read beside its steps by the unit vectors
    only, once, and its determinants and traces are made of the matrices that these reads show and of the slopes of
    the run; of any other field they take products with the Jacobian.

    Args:
        field: f, or `Layers` of fields that follow each other in time.
        x: (samples, n).
        method: A name of `METHODS`, a `Method`, or a text such as "file.py:Class(option=1)".
        h: Step size, > 0.
        steps: Number of steps, >= 1; a multiple of the number of layers.
        by: "determinant" of the map of each step, exact for what ran, for methods of one step; the "trace" of the
            Jacobian, integrated by the method; or "hutchinson", an estimate of the trace without bias.
        rng: Of Hutchinson's probes, which are 1 or -1, others for each sample and the same at every step.
        probes: Number of probes of each sample.

    Returns:
        (samples,).

    Raises:
        InvalidInputError: An argument is not allowed, or the method has no determinant.

    Example:
        >>> from xbar_spice.solve.fields.layer_field import LayerField
        >>> halving = LayerField([[-0.5]], activation="identity")  # one step of h = 1 halves x
        >>> log_density(halving, [[0.0]], h=1.0, steps=1)  # log N(0; 0, 1) + log 1/2
        array([-1.61208571])
    """
    scheme, layers, samples = _settled(field, x, method, by, rng)
    found = []
    for first in range(0, len(samples), _BLOCK):
        block = samples[first : first + _BLOCK]
        drawn = _probes(by, rng, probes, block)
        found.append(_followed(layers, block, scheme, method_text(method), h, steps, by, drawn))
    return np.concatenate(found)


@checked(x=ANYTHING, weights=ANYTHING, steps=Whole(1, MOST_STEPS), h=Real(above=0), probes=Whole(1, _MOST_PROBES))
@np.errstate(over="ignore", invalid="ignore")
def density_gradients(
    field: Field | Layers,
    x: ArrayLike,
    method: str | Method = "forward_euler",
    *,
    h: float,
    steps: int,
    by: By = "determinant",
    rng: np.random.Generator | None = None,
    probes: int = 1,
    weights: ArrayLike | None = None,
) -> DensityGradients:
    """The log density of samples with its gradients, exact for what `log_density` computes.

    The transposed products are reads of the operators that made the run. At a kink, as relu has them, the density
    jumps, which no gradient sees: train with tanh or softplus.

    Args:
        field: f of the form L sig(R z + b), such as `ActivationField` or `LayerField`, or `Layers` of them.
        x: (samples, n).
        method: Of one step and linear for the determinant: forward_euler, implicit_euler, trapezoid, or Verlet's; any
            one for the trace.
        h: Step size, > 0.
        steps: Number of steps, >= 1.
        by: As for `log_density`.
        rng: As there.
        probes: As there.
        weights: (samples,) of each sample's log density in the sum; 1 each when left out, -1 / samples for a mean
            negative log-likelihood.

    Raises:
        InvalidInputError: An argument is not allowed, or field or method have no such gradient.

    Example:
        >>> from xbar_spice.solve.fields.layer_field import LayerField
        >>> halving = LayerField([[-0.5]], activation="identity")
        >>> density_gradients(halving, [[2.0]], h=1.0, steps=1).x  # of -(x / 2)^2 / 2
        array([[-0.5]])
    """
    scheme, layers, samples = _settled(field, x, method, by, rng)
    share = np.ones(len(samples)) if weights is None else Array()("weights", weights)
    if share.shape != (len(samples),):
        raise InvalidInputError(f"weights must have shape ({len(samples)},), one for each sample, got {given(share)}")
    name = method_text(method)
    if isinstance(scheme, Verlet):
        trajectory = integrate(layers, samples.T, scheme, h=h, steps=steps)
        z = trajectory.z[-1]
        back = gradients(trajectory, np.where(np.isfinite(z).all(axis=0), -z * share, 0.0))
        least = np.ones(len(samples)) if by == "determinant" else None
        return DensityGradients(normal(z), back.z0.T, back.parameters, least, *_spent(trajectory, back))
    if by != "determinant":
        traced = Layers([TracedField(part, _probes(by, rng, probes, samples)) for part in layers.fields])
        trajectory = integrate(traced, _beside_zero(samples), method, h=h, steps=steps)
        z, traces = trajectory.z[-1, :-1], trajectory.z[-1, -1]
        lost = ~np.isfinite(trajectory.z[-1]).all(axis=0)
        back = gradients(trajectory, np.where(lost, 0.0, np.vstack([-z * share, share])))
        spent = _spent(trajectory, back)
        return DensityGradients(normal(z) + traces, back.z0[:-1].T, back.parameters, None, *spent)
    if not isinstance(scheme, LinearMultistep):
        raise InvalidInputError(
            f'{name} has no gradient of its determinant: take forward_euler, implicit_euler or trapezoid, or by="trace"'
        )
    return _by_determinant(layers, samples, scheme, h, steps, share)


def _by_determinant(
    layers: Layers, samples: FloatArray, scheme: LinearMultistep, h: float, steps: int, share: FloatArray
) -> DensityGradients:
    trajectory = integrate(curved(layers), samples.T, scheme, h=h, steps=steps, stops=range(1, steps))
    found, z = volume(trajectory, share), trajectory.z[-1]
    lost, at = found.lost, dict(found.at)
    back = gradients(trajectory, at.pop(steps, 0.0) + np.where(lost, 0.0, -z * share), at=at)
    parameters = {name: value + found.parameters[name] for name, value in back.parameters.items()}
    x = np.where(lost, np.nan, back.z0).T
    spent = _spent(trajectory, back)
    return DensityGradients(normal(z) + found.logarithm, x, parameters, found.least_determinant, *spent)


def curved(field: Field | Layers) -> Layers:
    """The same field, whose runs keep what the volume along them needs: of the form L sig(R z + b).

    Raises:
        InvalidInputError: It is of another form, or its activation has no second derivative.
    """
    return Layers([CurvedField(part) for part in (field if isinstance(field, Layers) else Layers([field])).fields])


@final
@dataclass(frozen=True, eq=False)
class Volume:
    """What a run does to the volume around each sample.

    Attributes:
        logarithm: log |det| of all steps, (samples,).
        least_determinant: The smallest determinant of a step, (samples,).
        lost: Which samples have none, because states or determinants are not finite, (samples,).
        at: Cotangents of the states at grid points, (n, samples), of the sum of the logarithms with their weights.
        parameters: The same of the field's parameters, at fixed states.
    """

    logarithm: FloatArray
    least_determinant: FloatArray
    lost: NDArray[np.bool_]
    at: Mapping[int, FloatArray]
    parameters: Parameters


def volume(trajectory: Trajectory, share: FloatArray | None = None) -> Volume:
    """The volume along a run of a `curved` field, and the derivatives of its logarithm.

    Each step's determinant hands a cotangent to the states that it is made at, and an adjoint carries it back.

    Args:
        trajectory: Of a linear method of one step, with a stop at every grid point.
        share: (samples,) weight of each sample in the sum that is differentiated; no derivatives when left out.
    """
    scheme = trajectory.scheme
    if not isinstance(scheme, LinearMultistep):
        raise InvalidInputError(f"{scheme} has no determinant that is differentiated")
    samples = trajectory.z.shape[-1]
    terms = [(run, cast(CurvedField, run.field), term) for run in trajectory.runs for term in _terms(scheme, run)]
    total, least = np.zeros(samples), np.full(samples, np.inf)
    for _, field, term in terms:
        sign, size = np.linalg.slogdet(_map(field, term))
        total += term.sign * size
        least = np.minimum(least, sign * np.exp(size))
    lost = ~np.isfinite(total) | ~np.isfinite(trajectory.z[-1]).all(axis=0)
    if share is None:
        return Volume(total, least, lost, {}, {})
    at: dict[int, FloatArray] = {}
    direct: dict[str, FloatArray] = {}
    layers = 1 + max(run.grid.layer for run in trajectory.runs)
    for run, field, term in terms:
        M = np.where(lost[:, np.newaxis, np.newaxis], np.eye(field.states), _map(field, term))
        G = np.where(lost, 0.0, term.sign * term.c * share)[:, np.newaxis, np.newaxis] * np.linalg.inv(M)
        left, right, of_slope = field.factors.pull(np.asarray(term.at.slope, dtype=float), G)
        hidden = field.curvature(term.at) * of_slope
        at[term.point] = at.get(term.point, 0.0) + field.pull_state(term.at, hidden)
        inside = field.parameter_gradients(term.at, np.zeros_like(term.at.value), hidden)
        matrices = of_matrices(field.field, left, right)
        found = field.tie.collect({name: value + matrices[name] for name, value in inside.items()})
        for name, value in found.items():
            named = name if layers == 1 else f"{name}[{run.grid.layer}]"
            direct[named] = direct[named] + value if named in direct else value
    return Volume(total, least, lost, at, direct)


def _spent(trajectory: Trajectory, back: Gradients) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    forward = trajectory.evaluations.sum(axis=0)
    return forward, np.zeros_like(forward) if back.evaluations is None else back.evaluations


def _map(field: CurvedField, term: _Term) -> FloatArray:
    """I + c J of each sample, (batch, n, n)."""
    return np.asarray(np.eye(field.states) + term.c * field.factors.jacobians(np.asarray(term.at.slope, dtype=float)))


def _followed(
    layers: Layers,
    samples: FloatArray,
    scheme: Method,
    name: str,
    h: float,
    steps: int,
    by: By,
    probes: FloatArray | None,
) -> FloatArray:
    """The log density of each sample."""
    if isinstance(scheme, Verlet):  # kicks and drifts shear, and change no volume
        return normal(integrate(layers, samples.T, scheme, h=h, steps=steps).z[-1])
    if by == "determinant":
        stops = () if isinstance(scheme, LinearMultistep) else range(1, steps)
        trajectory = integrate(layers, samples.T, scheme, h=h, steps=steps, stops=stops)
        return normal(trajectory.z[-1]) + sum(_log_determinants(trajectory, layers))
    traced = Layers([_traced(part, probes) for part in layers.fields])
    z = integrate(traced, _beside_zero(samples), scheme, h=h, steps=steps).z[-1]
    return np.asarray(normal(z[:-1]) + z[-1])


def _traced(field: Field, probes: FloatArray | None) -> Field:
    try:
        return TracedField(field, probes)
    except InvalidInputError:  # its value needs no more than products
        return ProbedField(field, probes)


def _log_determinants(trajectory: Trajectory, layers: Layers) -> Iterator[FloatArray]:
    """Logarithms of |det| of each step of each sample, (batch,)."""
    scheme, factors = trajectory.scheme, [factors_of(part) for part in layers.fields]
    units = np.eye(layers.states)
    for run in trajectory.runs:
        if isinstance(scheme, LinearMultistep):
            for term in _terms(scheme, run):
                M = np.eye(layers.states) + term.c * jacobians(run.field, term.at, factors[run.grid.layer])
                yield term.sign * np.linalg.slogdet(M)[1]
        else:  # one step a run, whose tangents of unit vectors are the columns
            batch, krylov = run.z.shape[2], trajectory.options.krylov
            columns = [
                scheme.tangent(run, np.repeat(unit[:, np.newaxis], batch, axis=1), {}, krylov).z for unit in units
            ]
            yield np.linalg.slogdet(np.stack(columns).transpose(2, 1, 0))[1]


def _terms(scheme: LinearMultistep, run: ForwardRun) -> Iterator[_Term]:
    """What each step of a run adds to the logarithm: I + h b_1 J_k over I - h b_0 J_{k+1}."""
    for k in range(run.grid.steps):
        explicit, implicit = (run.grid.h * scheme.coefficient(k, j) for j in (1, 0))
        if explicit:
            yield _Term(1.0, explicit, run.evaluations[k][0], run.grid.start + k)
        if implicit:
            yield _Term(-1.0, -implicit, run.evaluations[k + 1][0], run.grid.start + k + 1)


def _settled(
    field: Field | Layers, x: ArrayLike, method: str | Method, by: By, rng: np.random.Generator | None
) -> tuple[Method, Layers, FloatArray]:
    """The method, the layers and the samples, if they go together."""
    layers = field if isinstance(field, Layers) else Layers([field])
    samples = Array()("x", x)
    if samples.ndim != 2 or samples.shape[1] != layers.states or not samples.size:
        raise InvalidInputError(f"x must have shape (samples, {layers.states}), got {given(samples)}")
    scheme = METHODS.get(method)
    if by == "determinant" and not scheme.one_step:
        raise InvalidInputError(
            f"a step of {method_text(method)} has no determinant, because it depends on states before the last one: "
            'take a method of one step, such as forward_euler or rk4, or by="trace"'
        )
    if by == "hutchinson" and rng is None:
        raise InvalidInputError('by="hutchinson" draws probes: give rng, such as np.random.default_rng(0)')
    leaves = isinstance(scheme, DormandPrince) or (isinstance(scheme, LinearMultistep) and scheme.implicit)
    if by == "hutchinson" and leaves:  # samples, once they are done, and with them the place of their probes
        raise InvalidInputError(
            f'by="hutchinson" has probes for all samples side by side, of which {method_text(method)} lets some go: '
            'take forward_euler, ab3 or rk4, or by="trace"'
        )
    return scheme, layers, samples


def _probes(by: By, rng: np.random.Generator | None, probes: int, samples: FloatArray) -> FloatArray | None:
    """(probes, n, samples) of 1 and -1; drawn sample by sample, so that the same ones come whatever the blocks are."""
    if by != "hutchinson" or rng is None:
        return None
    drawn = rng.integers(0, 2, (len(samples), probes, samples.shape[1]))
    return np.asarray(2.0 * drawn.transpose(1, 2, 0) - 1.0)


def _beside_zero(samples: FloatArray) -> FloatArray:
    return np.vstack([samples.T, np.zeros((1, len(samples)))])


def normal(z: FloatArray) -> FloatArray:
    """The logarithm of N(z; 0, I), (batch,) of (n, batch)."""
    return np.asarray(-0.5 * np.sum(z * z, axis=0) - 0.5 * len(z) * np.log(2.0 * np.pi))
