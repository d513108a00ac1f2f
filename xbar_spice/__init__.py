"""Circuit-level SPICE co-simulation of memristor crossbars that run neural ODEs.

    >>> import xbar_spice as xs
    >>> A, B = [[1.0, -0.5], [0.5, 1.0]], [[-1.0, 0.5], [0.5, -1.0]]
    >>> with xs.program(A, r_word=1.0) as A_hw, xs.program(B, r_word=1.0) as B_hw:
    ...     trajectory = xs.integrate(xs.ReluField(A_hw, B_hw), [1.0, 0.5], h=0.25, steps=4)
    ...     gradient = xs.gradients(trajectory, cotangent=[1.0, 0.0])
    >>> trajectory.z.shape, gradient.A.shape
    ((5, 2), (2, 2))

Names are imported when they are first used: simulator workers and `xbar-spice --help` start without SciPy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xbar_spice.amplifier import Amplifier
    from xbar_spice.array import Crossbar, Terminations
    from xbar_spice.circuit.device_models import load_device, load_opamp
    from xbar_spice.circuit.netlist import netlist
    from xbar_spice.compensation import compensate
    from xbar_spice.converters import Converters
    from xbar_spice.convolution import convolution_matrix, kernel_gradient
    from xbar_spice.cosim import (
        Chip,
        Problem,
        SolverOptions,
        attribute,
        cosimulate,
        sensitivity_map,
        sign_flips,
        three_gradients,
    )
    from xbar_spice.devices import (
        Ohmic,
        OneSelectorOneResistor,
        OneTransistorOneResistor,
        Polynomial,
        Sinh,
        SubcircuitCell,
    )
    from xbar_spice.dynamics import read_pulse
    from xbar_spice.engines.nodal.sensitivity import Sensitivity
    from xbar_spice.engines.nodal.solution import solve_array
    from xbar_spice.engines.registry import get_engine
    from xbar_spice.errors import XbarError
    from xbar_spice.export import write_netlists
    from xbar_spice.feedback import FeedbackLoop, FeedbackSolver, OpAmp
    from xbar_spice.linear import LinearOperator
    from xbar_spice.mapping import Design, map_weights
    from xbar_spice.operators import AnalogMatrix, ReadTrace, program
    from xbar_spice.pulse import LineCapacitance, Pulse
    from xbar_spice.read_noise import ReadNoise, pcm_read_noise, thermal_noise
    from xbar_spice.solve.activation import Activation
    from xbar_spice.solve.adjoint import gradients
    from xbar_spice.solve.continuous import continuous_gradients
    from xbar_spice.solve.field import ActivationField, ReluField
    from xbar_spice.solve.fields import antisymmetric_field, convolution_field, hamiltonian_field, parabolic_field
    from xbar_spice.solve.fourier import FourierConvolution, fourier_matrices
    from xbar_spice.solve.integrators import integrate
    from xbar_spice.solve.krylov import KrylovOptions
    from xbar_spice.solve.layer_field import LayerField
    from xbar_spice.solve.layers import Layers
    from xbar_spice.solve.memory import checkpointed_gradients, reversed_gradients
    from xbar_spice.solve.newton import NewtonOptions
    from xbar_spice.solve.noise import measured_noise
    from xbar_spice.solve.split import SplitField
    from xbar_spice.solve.step_control import AdaptiveOptions
    from xbar_spice.solve.tangent import tangent
    from xbar_spice.study.problem import make_problem
    from xbar_spice.subcircuit import Subcircuit
    from xbar_spice.train.losses import CrossEntropy, SquaredDistance
    from xbar_spice.train.tasks import Schedule
    from xbar_spice.train.training import tune
    from xbar_spice.variation import Variation, random_stream
    from xbar_spice.weights import Classifier, Kernels, Model, load_model, save_model

__all__ = [
    "Activation",
    "ActivationField",
    "AdaptiveOptions",
    "Amplifier",
    "AnalogMatrix",
    "Chip",
    "Classifier",
    "Converters",
    "CrossEntropy",
    "Crossbar",
    "Design",
    "FeedbackLoop",
    "FeedbackSolver",
    "FourierConvolution",
    "Kernels",
    "KrylovOptions",
    "LayerField",
    "Layers",
    "LineCapacitance",
    "LinearOperator",
    "Model",
    "NewtonOptions",
    "Ohmic",
    "OneSelectorOneResistor",
    "OneTransistorOneResistor",
    "OpAmp",
    "Polynomial",
    "Problem",
    "Pulse",
    "ReadNoise",
    "ReadTrace",
    "ReluField",
    "Schedule",
    "Sensitivity",
    "Sinh",
    "SolverOptions",
    "SplitField",
    "SquaredDistance",
    "Subcircuit",
    "SubcircuitCell",
    "Terminations",
    "Variation",
    "XbarError",
    "antisymmetric_field",
    "attribute",
    "checkpointed_gradients",
    "compensate",
    "continuous_gradients",
    "convolution_field",
    "convolution_matrix",
    "cosimulate",
    "fourier_matrices",
    "get_engine",
    "gradients",
    "hamiltonian_field",
    "integrate",
    "kernel_gradient",
    "load_device",
    "load_model",
    "load_opamp",
    "make_problem",
    "map_weights",
    "measured_noise",
    "netlist",
    "parabolic_field",
    "pcm_read_noise",
    "program",
    "random_stream",
    "read_pulse",
    "reversed_gradients",
    "save_model",
    "sensitivity_map",
    "sign_flips",
    "solve_array",
    "tangent",
    "thermal_noise",
    "three_gradients",
    "tune",
    "write_netlists",
]

_MODULES = {
    "amplifier": ("Amplifier",),
    "array": ("Crossbar", "Terminations"),
    "circuit.device_models": ("load_device", "load_opamp"),
    "circuit.netlist": ("netlist",),
    "compensation": ("compensate",),
    "converters": ("Converters",),
    "convolution": ("convolution_matrix", "kernel_gradient"),
    "cosim": (
        "Chip",
        "Problem",
        "SolverOptions",
        "attribute",
        "cosimulate",
        "sensitivity_map",
        "sign_flips",
        "three_gradients",
    ),
    "devices": ("Ohmic", "OneSelectorOneResistor", "OneTransistorOneResistor", "Polynomial", "Sinh", "SubcircuitCell"),
    "dynamics": ("read_pulse",),
    "engines.nodal.sensitivity": ("Sensitivity",),
    "engines.nodal.solution": ("solve_array",),
    "engines.registry": ("get_engine",),
    "errors": ("XbarError",),
    "export": ("write_netlists",),
    "feedback": ("FeedbackLoop", "FeedbackSolver", "OpAmp"),
    "linear": ("LinearOperator",),
    "mapping": ("Design", "map_weights"),
    "operators": ("AnalogMatrix", "ReadTrace", "program"),
    "pulse": ("LineCapacitance", "Pulse"),
    "read_noise": ("ReadNoise", "pcm_read_noise", "thermal_noise"),
    "solve.activation": ("Activation",),
    "solve.adjoint": ("gradients",),
    "solve.continuous": ("continuous_gradients",),
    "solve.field": ("ActivationField", "ReluField"),
    "solve.fields": ("antisymmetric_field", "convolution_field", "hamiltonian_field", "parabolic_field"),
    "solve.fourier": ("FourierConvolution", "fourier_matrices"),
    "solve.integrators": ("integrate",),
    "solve.krylov": ("KrylovOptions",),
    "solve.layer_field": ("LayerField",),
    "solve.layers": ("Layers",),
    "solve.memory": ("checkpointed_gradients", "reversed_gradients"),
    "solve.newton": ("NewtonOptions",),
    "solve.noise": ("measured_noise",),
    "solve.split": ("SplitField",),
    "solve.step_control": ("AdaptiveOptions",),
    "solve.tangent": ("tangent",),
    "study.problem": ("make_problem",),
    "subcircuit": ("Subcircuit",),
    "train.losses": ("CrossEntropy", "SquaredDistance"),
    "train.tasks": ("Schedule",),
    "train.training": ("tune",),
    "variation": ("Variation", "random_stream"),
    "weights": ("Classifier", "Kernels", "Model", "load_model", "save_model"),
}
_HOME = {name: f"xbar_spice.{module}" for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
