"""The likelihood of samples as a loss: a flow is solved, differentiated and trained as any other model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import METHODS
from xbar_spice.solve.density.jacobian import field_of_factors
from xbar_spice.solve.density.likelihood import curved, normal, volume
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.integrators import LinearMultistep, Verlet
from xbar_spice.solve.integrators.integration import Trajectory, method_text
from xbar_spice.solve.integrators.layers import Layers, fields_of
from xbar_spice.train.losses import Objective, Score
from xbar_spice.train.observed import Beside
from xbar_spice.weights import Model

__all__ = ["Likelihood", "likelihood_of"]


@final
@dataclass(frozen=True)
class Likelihood(Objective):
    """Mean negative log-likelihood of samples in nats, which a flow leads to standard normal numbers.

    By the determinant of every step, as `log_density` has it. A loss of the whole run: its last states alone have the
    part of it that the normal base makes.

    Attributes:
        volume: Whether steps change it; those of Verlet's methods do not.
    """

    volume: bool = True

    def evaluate(self, z: FloatArray) -> Score:
        return Score(-float(normal(z).mean()), None, z * (1.0 / z.shape[1]))

    @property
    def whole_run(self) -> bool:  # type: ignore[override]
        return self.volume

    def followed(self, field: Field | Layers) -> Field | Layers:
        return curved(field) if self.volume else field

    def beside(self, trajectory: Trajectory, *, derivatives: bool = True) -> Beside | None:
        if not self.volume:
            return None
        samples = trajectory.z.shape[-1]
        found = volume(trajectory, np.full(samples, -1.0 / samples) if derivatives else None)
        least = float(found.least_determinant.min())
        return Beside(-float(found.logarithm.mean()), found.at, found.parameters, {"least_determinant": least})


def likelihood_of(model: Model, said: str = "samples") -> Likelihood:
    """The likelihood of samples of a model.

    Args:
        model: A flow.
        said: What the samples are, for errors.

    Raises:
        InvalidInputError: The model is none: its states are no samples, or its steps have no determinant.
    """
    scheme = METHODS.get(model.method)
    if model.encoder is not None or model.classifier is not None:
        raise InvalidInputError(
            f"{said}: a likelihood is of a flow, which leads the samples themselves to normal numbers, and this model "
            "has an encoder or a classifier; leave loss='likelihood' out"
        )
    if isinstance(scheme, Verlet):
        return Likelihood(volume=False)
    if not (isinstance(scheme, LinearMultistep) and scheme.one_step):
        raise InvalidInputError(
            f"{said}: {method_text(model.method)} has no gradient of its determinant, which a likelihood needs: take "
            "forward_euler, implicit_euler, trapezoid or velocity_verlet"
        )
    for field in fields_of(model.field):
        field_of_factors(field)
    return Likelihood()
