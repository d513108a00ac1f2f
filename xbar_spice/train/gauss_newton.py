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
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.convolution import Convolution
from xbar_spice.linear.operator import FloatArray
from xbar_spice.linear.threads import one_thread
from xbar_spice.solve.adjoint.discrete import gradients
from xbar_spice.solve.adjoint.tangent import tangent
from xbar_spice.solve.fields.evaluation import Parameters
from xbar_spice.solve.integrators.integration import Trajectory, integrate
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.train.losses import softmax_cross_entropy
from xbar_spice.train.processor import Digital, Processor
from xbar_spice.train.regulariser import Regulariser
from xbar_spice.train.samples import Samples
from xbar_spice.weights import Classifier, Model, named_gradients

__all__ = ["BlockStep", "NewtonFit", "block_coordinate_descent", "gauss_newton_product", "newton_classifier"]

_SUFFICIENT = 1e-4  # part of the expected decrease that a step must bring (Armijo)
_HALVINGS = 10


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
        model: With a linear classifier.
        run: Of its field, on whatever operators, of all samples.
        direction: v, by the names of the model's tensors.
    """
    W = _classifier(model).weight
    z = model.ended(run.z[-1])
    P = _softmax(_classifier(model).logits(z))
    moved = W @ model.ended(tangent(run, np.zeros_like(run.z[0]), _of_field(model, direction)))
    curved = W.T @ (P * moved - P * (P * moved).sum(axis=0)) / z.shape[1]
    return named_gradients(model, gradients(run, model.started(curved)).parameters)


@final
@dataclass(frozen=True, eq=False)
class BlockStep:
    """One round of block coordinate descent.

    Attributes:
        model: After it.
        loss: Mean cross-entropy of `model`.
        objective: That with the penalty.
        residuals: Relative residual of the conjugate gradients after each iteration.
        length: Part of the Gauss-Newton step that was taken; 0 if none made the objective smaller.
        forward: Forward products of each sample with the matrix of a layer.
        transposed: Transposed ones.
    """

    model: Model
    loss: float
    objective: float
    residuals: tuple[float, ...]
    length: float
    forward: int
    transposed: int


@checked()
def block_coordinate_descent(
    model: Model,
    data: Samples,
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
        model: With a linear classifier.
        data: With labels.
        regulariser: The penalty, with a decay > 0.
        rounds: How many, >= 1.
        cg_iterations: Of each step of the weights, >= 1.
        cg_tolerance: Relative residual at which they end.
        processor: Who runs the model; digital matrices when left out.
        progress: Called after every round.

    Raises:
        InvalidInputError: An argument is not allowed.
    """
    _check(model, regulariser)
    count = Whole(1)("cg_iterations", cg_iterations)
    tolerance = Real(above=0, below=1)("cg_tolerance", cg_tolerance)
    on = processor or Digital()
    done: list[BlockStep] = []

    def states(now: Model, occasion: str) -> FloatArray:
        with on.programmed(now, occasion) as programmed:
            return np.asarray(_run(programmed.field, now, data).z[-1])

    def objective(now: Model, z: FloatArray) -> tuple[float, float]:
        fixed = _classifier(now)
        loss = softmax_cross_entropy(fixed.weight, fixed.bias, now.ended(z), data.classes).loss
        return loss, loss + regulariser.value(now)

    with one_thread():
        for number in range(Whole(1)("rounds", rounds)):
            with on.programmed(model, f"round {number}") as programmed:
                run = _run(programmed.field, model, data)
                z = model.ended(run.z[-1])
                classes = len(_classifier(model).weight)
                fitted = newton_classifier(z, data.classes, classes, decay=regulariser.decay)
                model = replace(model, classifier=fitted.classifier)
                score = softmax_cross_entropy(fitted.classifier.weight, fitted.classifier.bias, z, data.classes)
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
                loss, value = objective(tried, states(tried, f"round {number}, trial {trials}"))
                if value <= before + _SUFFICIENT * length * slant:
                    break
                length /= 2
            else:
                tried, loss, value, length = model, score.loss, before, 0.0
            model = tried
            products = len(residuals)
            done.append(
                BlockStep(
                    model=model,
                    loss=loss,
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


def _check(model: Model, regulariser: Regulariser) -> None:
    _classifier(model)
    if not regulariser.decay > 0.0:
        raise InvalidInputError(
            "regulariser must have a decay > 0, which makes the classifier's problem strictly convex, "
            f"got {regulariser}"
        )
    if "bias" in model.on_arrays or any(isinstance(one, Convolution) for one in model.operators.values()):
        raise InvalidInputError(
            "Gauss-Newton steps are made for dense matrices with digital biases; train convolutions, and biases on "
            "arrays, by `train` or `fit`"
        )


def _layers(model: Model) -> dict[str, FloatArray]:
    """The tensors of the field that are trained."""
    ends = ("encoder.", "classifier.")
    return {
        name: value for name, value in model.tensors.items() if not name.startswith(ends) and name not in model.frozen
    }


def _of_field(model: Model, direction: Mapping[str, FloatArray]) -> Parameters:
    """A direction by the names that the field's gradients have."""
    fields = model.field.fields if isinstance(model.field, Layers) else (model.field,)
    names = {name: fields[0].digital.get(name, name) for name in direction}
    if len(fields) == 1:
        return {names[name]: value for name, value in direction.items()}
    return {f"{names[name]}[{j}]": value[j] for name, value in direction.items() for j in range(len(fields))}


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
