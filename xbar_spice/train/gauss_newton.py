"""Block coordinate descent: the classifier by Newton's method, the weights of all layers by Gauss-Newton steps.

With the states of the last step held, the classifier's problem is convex: Newton's method solves it in a few steps, and
without a read. With the classifier held, a step of the weights solves (J^T S J + R) s = -g by conjugate gradients,
J being the derivative of the last states with respect to the weights, S the Hessian of the loss with respect to those
states, which is positive semidefinite, and R that of the penalty. J v is a tangent of the run, J^T u an adjoint: one
iteration takes as many forward and transposed reads as the run has steps. On arrays whose transposed reads are not the
transposes, J^T S J is not symmetric; where p^T H p > 0 fails, the iteration ends with what it has.

Source: Haber and Ruthotto, Stable architectures for deep neural networks, Inverse Problems 34 (2018) 014004.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct, idct

from xbar_spice.checks import Real, Whole, checked
from xbar_spice.data import Data
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.linear.threads import one_thread
from xbar_spice.solve.adjoint.discrete import gradients
from xbar_spice.solve.adjoint.tangent import tangent
from xbar_spice.solve.fields.evaluation import Parameters
from xbar_spice.solve.integrators.integration import Trajectory, integrate
from xbar_spice.solve.integrators.layers import Layers, fields_of
from xbar_spice.train.losses import Score, objective_of, softmax_cross_entropy
from xbar_spice.train.processor import Digital, Processor
from xbar_spice.train.regulariser import Regulariser
from xbar_spice.train.samples import Samples, as_samples
from xbar_spice.weights import Classifier, Model, kernel_name, matrix_of, named_gradients

__all__ = ["BlockStep", "NewtonFit", "block_coordinate_descent", "gauss_newton_product", "newton_classifier"]

_SUFFICIENT = 1e-4  # part of the expected decrease that a step must bring (Armijo)
_HALVINGS = 10
_MOST = 10**6  # rounds and iterations


@final
@dataclass(frozen=True, eq=False)
class NewtonFit:
    """The best classifier of some states, and how it was found.

    Attributes:
        classifier: With the least mean cross-entropy + decay/2 (|weight|^2 + |bias|^2).
        objectives: That, at the start and after each step.
        slopes: Norm of its gradient, likewise.
    """

    classifier: Classifier
    objectives: tuple[float, ...]
    slopes: tuple[float, ...]


def newton_classifier(
    z: FloatArray,
    labels: NDArray[np.int64],
    classes: int,
    *,
    decay: float,
    iterations: int = 20,
    tolerance: float = 1e-9,
) -> NewtonFit:
    """Fit a linear classifier to states by Newton's method, from zero; no state is computed, so no array is read.

    Args:
        z: (n, samples).
        labels: (samples,), from 0.
        classes: How many there are.
        decay: > 0, which makes the problem strictly convex.
        iterations: At most.
        tolerance: Norm of the gradient, relative to that at the start, at which it ends.
    """
    X = np.vstack([z, np.ones((1, z.shape[1]))])
    V = np.zeros((classes, len(X)))
    objectives, slopes = [], []
    for _ in range(iterations + 1):
        score = softmax_cross_entropy(V[:, :-1], V[:, -1], z, labels)
        gradient = np.column_stack([score.tensors["classifier.weight"], score.tensors["classifier.bias"]]) + decay * V
        objectives.append(score.loss + 0.5 * decay * float(np.vdot(V, V)))
        slopes.append(float(np.linalg.norm(gradient)))
        if slopes[-1] <= tolerance * slopes[0]:
            break
        P = _softmax(V @ X)
        curvature = np.einsum("cs,cd->cds", P, np.eye(classes)) - np.einsum("cs,ds->cds", P, P)
        H = np.einsum("cds,is,js->cidj", curvature, X, X).reshape(V.size, V.size) / z.shape[1]
        V = V - np.linalg.solve(H + decay * np.eye(V.size), gradient.ravel()).reshape(V.shape)
    return NewtonFit(Classifier(V[:, :-1], V[:, -1]), tuple(objectives), tuple(slopes))


def _softmax(scores: FloatArray) -> FloatArray:
    P = np.exp(scores - scores.max(axis=0))
    return np.asarray(P / P.sum(axis=0))


def gauss_newton_product(model: Model, run: Trajectory, direction: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """J^T S J v by one tangent and one adjoint of a run, S being the Hessian of the loss at its last states.

    Args:
        model: With a linear classifier, whose cross-entropy is the loss; without one it is a squared distance.
        run: Of its field, on whatever operators, of all samples.
        direction: v, by the names of the model's tensors.
    """
    moved = model.ended(tangent(run, np.zeros_like(run.z[0]), _of_field(model, direction)))
    samples = moved.shape[1]
    if model.classifier is None:
        curved = moved / samples
    else:
        W = _classifier(model).weight
        P = _softmax(_classifier(model).logits(model.ended(run.z[-1])))
        moved = W @ moved
        curved = W.T @ (P * moved - P * (P * moved).sum(axis=0)) / samples
    return named_gradients(model, gradients(run, model.started(curved)).parameters)


@final
@dataclass(frozen=True, eq=False)
class BlockStep:
    """One round of block coordinate descent.

    Attributes:
        model: After it.
        loss: Of `model`, the mean over the samples.
        accuracy: Share of the samples that are classified correctly; None where nothing is classified.
        objective: That with the penalty.
        residuals: Relative residual of the conjugate gradients after each iteration.
        length: Part of the Gauss-Newton step that was taken; 0 if none made the objective smaller.
        forward: Forward products of each sample with the matrix of a layer.
        transposed: Transposed ones.
    """

    model: Model
    loss: float
    accuracy: float | None
    objective: float
    residuals: tuple[float, ...]
    length: float
    forward: int
    transposed: int


@checked()
def block_coordinate_descent(
    model: Model,
    data: Samples | Data,
    regulariser: Regulariser,
    *,
    rounds: int = 10,
    cg_iterations: int = 20,
    cg_tolerance: float = 1e-2,
    processor: Processor | None = None,
    progress: Callable[[BlockStep], None] | None = None,
) -> tuple[BlockStep, ...]:
    """Train classifier and layers in turn; the encoder stays as it is.

    Args:
        model: With a linear classifier, if the samples have labels; without one, if they have targets.
        data: With labels, or with targets of the last states.
        regulariser: The penalty, with a decay > 0.
        rounds: How many, >= 1.
        cg_iterations: Of each step of the weights, >= 1.
        cg_tolerance: Relative residual at which they end.
        processor: Who runs the model; digital matrices when left out.
        progress: Called after every round.

    Raises:
        InvalidInputError: An argument is not allowed.
    """
    samples = as_samples(data)
    _check(model, samples, regulariser)
    count = Whole(1, _MOST)("cg_iterations", cg_iterations)
    tolerance = Real(above=0, below=1)("cg_tolerance", cg_tolerance)
    on = processor or Digital()
    done: list[BlockStep] = []

    def score_of(now: Model, z: FloatArray) -> Score:
        return objective_of(now, samples.labels, samples.targets).evaluate(z)

    with one_thread():
        for number in range(Whole(1, _MOST)("rounds", rounds)):
            with on.programmed(model, f"round {number}") as programmed:
                run = _run(programmed.field, model, samples)
                z = model.ended(run.z[-1])
                if model.classifier is not None:
                    classes = len(_classifier(model).weight)
                    fitted = newton_classifier(z, samples.classes, classes, decay=regulariser.decay)
                    model = replace(model, classifier=fitted.classifier)
                score = score_of(model, z)
                pulled = named_gradients(model, gradients(run, model.started(score.cotangent)).parameters)
                penalty = regulariser.gradients(model)
                slope = {name: pulled[name] + penalty[name] for name in _layers(model)}
                step, residuals = _conjugate_gradients(
                    lambda v, run=run, model=model: _with_penalty(model, regulariser, run, v),  # type: ignore[misc]
                    {name: -value for name, value in slope.items()},
                    lambda r, model=model: _preconditioned(model, regulariser, r),  # type: ignore[misc]
                    count,
                    tolerance,
                )
            before = score.loss + regulariser.value(model)
            slant = _dot(slope, step)
            length, trials = 1.0, 0
            for trials in range(1, _HALVINGS + 1):
                moved = {name: value + length * step[name] for name, value in _layers(model).items()}
                tried = model.with_tensors(moved)
                with on.programmed(tried, f"round {number}, trial {trials}") as programmed:
                    found = score_of(tried, tried.ended(_run(programmed.field, tried, samples).z[-1]))
                value = found.loss + regulariser.value(tried)
                if value <= before + _SUFFICIENT * length * slant:
                    break
                length /= 2
            else:
                tried, found, value, length = model, score, before, 0.0
            model = tried
            products = len(residuals)
            done.append(
                BlockStep(
                    model=model,
                    loss=found.loss,
                    accuracy=found.accuracy,
                    objective=value,
                    residuals=residuals,
                    length=length,
                    forward=model.steps * (1 + products + trials),
                    transposed=model.steps * (1 + products),
                )
            )
            if progress is not None:
                progress(done[-1])
    return tuple(done)


def _run(field: object, model: Model, data: Samples) -> Trajectory:
    z0 = model.started(model.initial(data.x))
    return integrate(field, z0, model.method, **model.times)  # type: ignore[arg-type]


def _classifier(model: Model) -> Classifier:
    found = model.classifier
    if not isinstance(found, Classifier) or not found.plain:
        raise InvalidInputError("block coordinate descent needs a model with a linear Classifier(weight, bias)")
    return found


def _check(model: Model, samples: Samples, regulariser: Regulariser) -> None:
    if model.classifier is not None:
        _classifier(model)
    if samples.times is not None or (samples.labels is None) == (model.classifier is not None):
        raise InvalidInputError(
            "block coordinate descent takes samples with labels and a model with a linear classifier, or samples with "
            "targets of the last states and a model without one; for other losses take `lbfgs`"
        )
    if not regulariser.decay > 0.0:
        raise InvalidInputError(
            "regulariser must have a decay > 0, which makes the classifier's problem strictly convex, "
            f"got {regulariser}"
        )
    if model.stages:
        raise InvalidInputError(
            "Gauss-Newton steps are made for one field, and this model has stages in front: take `lbfgs` or `adam`"
        )
    if others := {"bias", "encoder", "classifier"} & set(model.on_arrays):
        raise InvalidInputError(
            f"Gauss-Newton steps are made for the matrices of a field on arrays, and this model has its {min(others)} "
            "there, too: train it by `lbfgs` or `adam`, or leave that out of on_arrays"
        )


def _layers(model: Model) -> dict[str, FloatArray]:
    """The tensors of the field that are trained."""
    ends = ("encoder.", "classifier.")
    return {
        name: value for name, value in model.tensors.items() if not name.startswith(ends) and name not in model.frozen
    }


def _of_field(model: Model, direction: Mapping[str, FloatArray]) -> Parameters:
    """A direction by the names that the field's gradients have."""
    fields = fields_of(model.field)
    moved = model.with_tensors(direction)  # by which kernels become matrices
    found: dict[str, FloatArray] = {}
    for j, field in enumerate(fields_of(moved.field)):
        end = f"[{j}]" if len(fields) > 1 else ""
        for name, operator in field.operators.items():
            if {name, kernel_name(name)} & direction.keys():
                found[f"{name}{end}"] = matrix_of(operator)
        for name, value in field.vectors.items():
            if name in direction:
                found[f"{field.digital.get(name, name)}{end}"] = value
    return found


def _with_penalty(
    model: Model, regulariser: Regulariser, run: Trajectory, v: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    product = gauss_newton_product(model, run, v)
    quadratic = regulariser.gradients(model.with_tensors(v))  # of v itself, the penalty being a quadratic form
    return {name: product[name] + quadratic[name] for name in v}


def _preconditioned(model: Model, regulariser: Regulariser, r: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """The inverse of (alpha/h second difference + gamma), by a cosine transform over the layers."""
    if not isinstance(model.field, Layers) or len(model.field.fields) < 2:
        return dict(r)
    layers = len(model.field.fields)
    h = model.h * model.steps / layers
    smooth, gamma = regulariser.smoothness / h, regulariser.decay * h + regulariser.smoothness / h
    scale = smooth * (2.0 - 2.0 * np.cos(np.pi * np.arange(layers) / layers)) + gamma
    found = {}
    for name, value in r.items():
        modes = dct(value, axis=0, norm="ortho") / scale.reshape(-1, *(1,) * (value.ndim - 1))
        found[name] = np.asarray(idct(modes, axis=0, norm="ortho"))
    return found


Vector = dict[str, FloatArray]


def _dot(a: Mapping[str, FloatArray], b: Mapping[str, FloatArray]) -> float:
    return sum(float(np.vdot(value, b[name])) for name, value in a.items())


def _conjugate_gradients(
    product: Callable[[Vector], Vector],
    rhs: Vector,
    preconditioned: Callable[[Vector], Vector],
    iterations: int,
    tolerance: float,
) -> tuple[Vector, tuple[float, ...]]:
    """What solves H x = rhs, as far as it goes, and the relative residual after each iteration."""
    x = {name: np.zeros_like(value) for name, value in rhs.items()}
    r, size = dict(rhs), np.sqrt(_dot(rhs, rhs))
    residuals: list[float] = []
    direction = residual_in_metric = None
    for _ in range(iterations):
        if size == 0.0:
            break
        z = preconditioned(r)
        metric = _dot(r, z)
        if direction is None:
            direction = z
        else:
            turned = metric / residual_in_metric  # type: ignore[operator]
            direction = {name: value + turned * direction[name] for name, value in z.items()}
        residual_in_metric = metric
        image = product(direction)
        curvature = _dot(direction, image)
        if curvature <= 0.0:  # reads that are no transposes of each other, or noise
            x = x if residuals else direction
            break
        far = metric / curvature
        x = {name: value + far * direction[name] for name, value in x.items()}
        r = {name: value - far * image[name] for name, value in r.items()}
        residuals.append(float(np.sqrt(_dot(r, r)) / size))
        if residuals[-1] <= tolerance:
            break
    return x, tuple(residuals)
