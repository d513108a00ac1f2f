"""Right-hand sides f(z) of neural ODEs, with their exact derivatives."""

from xbar_spice.solve.fields.activation import Activation, get_activation
from xbar_spice.solve.fields.contributions import By, Contributions, Split, split_axes, summed
from xbar_spice.solve.fields.convolved import convolution_field
from xbar_spice.solve.fields.evaluation import BoolArray, Evaluation, IndexArray, Parameters, Tie
from xbar_spice.solve.fields.field import ActivationField, CircuitSolver, Field, ReluField
from xbar_spice.solve.fields.layer_field import LayerField
from xbar_spice.solve.fields.normalised import NormalisedField
from xbar_spice.solve.fields.residual import PerceptronField, ResidualField
from xbar_spice.solve.fields.split import SplitField, prefixed, unprefixed
from xbar_spice.solve.fields.systems import (
    AntisymmetricField,
    HamiltonianField,
    ParabolicField,
    antisymmetric_field,
    hamiltonian_field,
    parabolic_field,
)
from xbar_spice.solve.fields.timed import TimedField

__all__ = [
    "Activation",
    "ActivationField",
    "AntisymmetricField",
    "BoolArray",
    "By",
    "CircuitSolver",
    "Contributions",
    "Evaluation",
    "Field",
    "HamiltonianField",
    "IndexArray",
    "LayerField",
    "NormalisedField",
    "ParabolicField",
    "Parameters",
    "PerceptronField",
    "ReluField",
    "ResidualField",
    "Split",
    "SplitField",
    "Tie",
    "TimedField",
    "antisymmetric_field",
    "convolution_field",
    "get_activation",
    "hamiltonian_field",
    "parabolic_field",
    "prefixed",
    "split_axes",
    "summed",
    "unprefixed",
]
