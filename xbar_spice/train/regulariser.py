"""What keeps weights that change in time smooth and small, with weights of the step length, so that levels compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from xbar_spice.checks import Real, settle
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.weights import Model
from xbar_spice.weights.end import of_end

__all__ = ["Regulariser"]


@final
@dataclass(frozen=True)
class Regulariser:
    """A penalty alpha/(2 h) sum |theta_{j+1} - theta_j|^2 + beta h/2 sum |theta_j|^2 + beta/2 (|W|^2 + |mu|^2).

    Theta_j are the weights and biases of layer j, h the time for which they hold; W and mu those of encoder and
    classifier. With these powers of h a model and its prolongation have comparable penalties: prolonged "linear" the
    first term stays, "constant" the second. What a model keeps frozen is not penalised.

    Attributes:
        smoothness: alpha, >= 0.
        decay: beta, >= 0.
    """

    smoothness: float = 0.0
    decay: float = 0.0

    def __post_init__(self) -> None:
        settle(self, smoothness=Real(least=0), decay=Real(least=0))

    def value(self, model: Model) -> float:
        """The penalty of a model."""
        return sum(self._terms(model).values())

    def gradients(self, model: Model) -> dict[str, FloatArray]:
        """Its gradient with respect to each tensor that is not frozen, by name."""
        h, layered = _time_of_a_layer(model)
        found = {}
        for name, value in self._moved(model).items():
            of_field = not of_end(name)
            found[name] = self.decay * (h if of_field else 1.0) * value
            if of_field and layered:
                jumps = np.diff(value, axis=0)
                found[name][1:] += self.smoothness / h * jumps
                found[name][:-1] -= self.smoothness / h * jumps
        return found

    def _terms(self, model: Model) -> dict[str, float]:
        h, layered = _time_of_a_layer(model)
        smooth = decay = 0.0
        for name, value in self._moved(model).items():
            of_field = not of_end(name)
            decay += 0.5 * self.decay * (h if of_field else 1.0) * float(np.vdot(value, value))
            if of_field and layered:
                jumps = np.diff(value, axis=0)
                smooth += 0.5 * self.smoothness / h * float(np.vdot(jumps, jumps))
        return {"smoothness": smooth, "decay": decay}

    @staticmethod
    def _moved(model: Model) -> dict[str, FloatArray]:
        return {name: value for name, value in model.tensors.items() if name not in model.frozen}


def _time_of_a_layer(model: Model) -> tuple[float, bool]:
    """For how long the weights of a layer hold, and whether there are several layers."""
    layers = len(model.field.fields) if isinstance(model.field, Layers) else 1
    return model.h * model.steps / layers, layers > 1
