"""A neural ODE as a torch module, on arrays or digital."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any, Self, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from xbar_spice.checks import Instance
from xbar_spice.cosim import SolverOptions
from xbar_spice.cosim.training.chip import GradientKind as HardwareGradient
from xbar_spice.cosim.training.chip import programmed_on
from xbar_spice.engines.base import Engine
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.mapping.design import Design
from xbar_spice.solve.adjoint.discrete import gradients
from xbar_spice.solve.integrators.integration import Trajectory, integrate
from xbar_spice.torch.arrays import ArraySettings, GradientKind
from xbar_spice.torch.layers import OnArrays, like, numbers
from xbar_spice.train.processor import Programmed
from xbar_spice.weights import Chain, Classifier, Encoder, Model, matrix_of, named_gradients
from xbar_spice.weights.end import of_end

__all__ = ["OdeBlock"]

_KINDS: dict[GradientKind, HardwareGradient] = {"transposed": "hardware", "digital": "hybrid", "true": "true"}


class _Solve(torch.autograd.Function):
    """z(T) of z(0), with the discrete adjoint of the steps that were taken."""

    @staticmethod
    def forward(ctx: Any, z0: Tensor, block: OdeBlock, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(z0, *tensors)  # so that torch notices if they are changed before the backward pass
        ctx.solved = block.solved(numbers(z0).T)
        return like(ctx.solved.trajectory.z[-1].T, z0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        z0, *tensors = ctx.saved_tensors
        of_z0, found = ctx.solved.pull(numbers(cotangent).T)
        return (
            like(of_z0.T, z0),
            None,
            *(like(found[name], t) for name, t in zip(ctx.solved.names, tensors, strict=True)),
        )


@final
@dataclass(frozen=True, eq=False)
class _Solved:
    """A forward run, and how its gradients are named."""

    model: Model
    trajectory: Trajectory
    on_arrays: Programmed | None
    names: tuple[str, ...]

    def pull(self, cotangent: FloatArray) -> tuple[FloatArray, dict[str, FloatArray]]:
        """The gradients of sum(cotangent * z(T)) with respect to z(0), (n, batch), and to the tensors by name."""
        found = gradients(self.trajectory, cotangent)
        named = None if self.on_arrays is None else self.on_arrays.of_tensors
        return found.z0, named(found, {}) if named else named_gradients(self.model, found.parameters)


@final
class OdeBlock(OnArrays):
    """Final states of a neural ODE, whose field is any of a `Model`, on arrays or digital.

    The tensors of the field are parameters of their names, such as `A`, `B` and `bias`; of dots in a name underscores
    are left. The gradient is that of the discrete steps, exact to rounding.

    Args:
        model: Field, time grid and method, and the tensors to begin with; without encoder and classifier, which are
            layers of their own around the block.
        design: How the arrays are built; None multiplies digitally, until `convert` puts it on arrays.
        engine: As for `CrossbarLinear`, as all that follow up to `seed`.
        gradient: See there.
        seed: See there.
        solver: How implicit equations are solved.
        device: Of the parameters.
        dtype: Of the parameters; torch's default when left out.

    Raises:
        InvalidInputError: The model has an encoder or a classifier, it asks for Fourier forms, or a setting is not
            allowed, see `ArraySettings`.

    Example:
        >>> block = OdeBlock(Model([[1.0, 0.0]], [[0.0], [1.0]], h=0.25, steps=4))
        >>> block(torch.ones(5, 2)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        model: Model,
        *,
        design: Design | None = None,
        engine: str | Engine = "nodal",
        gradient: GradientKind = "true",
        seed: int | None = None,
        solver: SolverOptions | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        Instance(Model, example="Model(A, B, h=0.1, steps=10)")("model", model)
        chip = None if design is None else ArraySettings(design, engine, gradient, seed)
        if "fourier" in model.on_arrays:
            raise InvalidInputError(
                "a block writes whole matrices, and the Fourier form of a convolution has blocks: leave 'fourier' out "
                "of on_arrays, or take `xs.tune`"
            )
        super().__init__(chip, model.written)
        self._model = replace(model, encoder=None, classifier=None)
        self._solver = SolverOptions() if solver is None else solver
        kind = torch.get_default_dtype() if dtype is None else dtype
        self._names = tuple(name for name in model.tensors if not of_end(name))
        for name in self._names:
            value = torch.tensor(np.array(model.tensors[name]), dtype=kind, device=device)
            self.register_parameter(_attribute(name), nn.Parameter(value))

    def model(self, *, encoder: Encoder | Chain | None = None, classifier: Classifier | Chain | None = None) -> Model:
        """The model with the tensors as they are now, with what stands before and behind it."""
        tensors = {name: numbers(getattr(self, _attribute(name))) for name in self._names}
        return replace(self._model.with_tensors(tensors), encoder=encoder, classifier=classifier)

    def on_arrays(self, chip: ArraySettings, name: str = "") -> Self:
        """A copy of a digital block on arrays.

        Args:
            chip: How they are built, who reads them, and what comes back.
            name: Of the block, before the names of the matrices, so that blocks of one seed have different devices.
        """
        made = copy.deepcopy(self)
        made._put_on(chip, self._model.written, f"{name}_" if name else "")
        return made

    def forward(self, z: Tensor) -> Tensor:
        """(..., n) states at time 0 to (..., n) at the end; all samples advance together."""
        tensors = [getattr(self, _attribute(name)) for name in self._names]
        final = _Solve.apply(z.reshape(-1, z.shape[-1]), self, *tensors)
        return final.reshape(z.shape)

    def solved(self, z0: FloatArray) -> _Solved:
        """The run from z0, (n, batch)."""
        model = self.model()
        chip, field, programmed = self.chip, model.field, None
        if chip is not None:
            matrices = [
                arrays.written(matrix_of(W)) for arrays, W in zip(self._arrays, model.written.values(), strict=True)
            ]
            programmed = programmed_on(model, matrices, _KINDS[chip.gradient])
            field = programmed.field
        options = self._solver
        if programmed is not None:
            options = options.allowing(programmed.noise(z0))
        trajectory = integrate(
            field,
            z0,
            model.method,
            h=model.h,
            steps=model.steps,
            newton=options.newton,
            krylov=options.krylov,
            adaptive=options.adaptive,
        )
        return _Solved(model, trajectory, programmed, self._names)

    def extra_repr(self) -> str:
        m = self._model
        return f"states={m.states}, h={m.h:g}, steps={m.steps}, method={m.method!r}, {super().extra_repr()}"


def _attribute(name: str) -> str:
    return name.replace(".", "_")
