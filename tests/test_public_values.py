"""Every parameter of every public constructor and function gets values that it cannot mean.

Each is used as it should be, or refused with a text that names the parameter: no error of Python or NumPy leaks, and no
value passes for something else.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest

import xbar_spice as xs
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.biases import EDGES
from xbar_spice.study.store import Store
from xbar_spice.train.digits import jittered, load_digits
from xbar_spice.train.samples import Split
from xbar_spice.train.tasks import Task

HOSTILE: dict[str, Any] = {
    "a class": dict,
    "a text": "magic",
    "an empty text": "",
    "bytes": b"1",
    "None": None,
    "complex": 1 + 1j,
    "complex array": np.array([[1 + 1j, 2.0], [0.5, 1.0]]),
    "masked array": np.ma.masked_equal([[1e-5, 2e-5], [3e-5, 4e-5]], 2e-5),
    "array of objects": np.array([[1e-5, None], ["a", 4e-5]], dtype=object),
    "array of texts": np.array([["1", "2"], ["3", "4"]]),
    "NaN": np.nan,
    "infinity": np.inf,
    "array with NaN": np.array([[1e-5, np.nan], [1e-5, 1e-5]]),
    "negative": -1.5,
    "no number": [],
    "empty array": np.zeros((0, 2)),
    "array of three axes": np.full((2, 2, 2), 1e-5),
    "one value": np.array([1e-5]),
    "ragged": [[1e-5, 2e-5], [3e-5]],
    "True": True,
    "a fraction": 2.5,
    "huge": 1e308,
    "a huge whole number": 10**400,
    "a mapping": {"a": 1},
    "an object": object(),
    "a list of texts": ["a", "b"],
    "a function": lambda *values: None,
}


@dataclass
class Parts:
    """What the arguments are made of."""

    folder: Path

    weights = ((1.0, -0.5), (0.25, 1.0))
    conductance = ((1e-5, 2e-5), (3e-5, 4e-5))

    def __post_init__(self) -> None:
        self.crossbar = xs.Crossbar(self.conductance, r_word=1.0, r_bit=1.0)
        self.mapped = xs.map_weights(self.weights)
        self.bank = xs.get_engine("ideal").program_bank(self.mapped.crossbars)
        self.hardware = [xs.program(self.weights, engine="ideal", name=name) for name in "AB"]
        self.field = xs.ReluField(self.weights, self.weights)
        self.layer = xs.LayerField(self.weights)
        self.model = xs.Model(self.weights, self.weights, h=0.1, steps=1)
        self.problem = xs.Problem(self.model, np.ones((2, 2)), xs.SquaredDistance(np.zeros((2, 2))))
        self.trajectory = xs.integrate(self.field, [1.0, 0.5], h=0.1, steps=1)
        self.parallel = xs.parallel_in_time(self.field, [1.0, 0.5], h=0.1, steps=2, coarsening=1, iterations=1)
        self.subcircuit = xs.Subcircuit("c", ".subckt c p n g=1e-6\nR1 p n {1/g}\n.ends\n")
        self.deployed = xs.Model(
            np.eye(64), np.eye(64), h=0.1, steps=1, classifier=xs.Classifier(np.ones((10, 64)), np.zeros(10))
        )
        samples = load_digits().test.take(np.arange(4))
        self.targets = xs.Data(self.weights, targets=self.weights)
        self.digits = Split(samples, samples, jittered)
        xs.save_model(self.folder / "m.npz", self.model)
        (self.folder / "data.csv").write_text("x0,x1,label\n0,1,0\n1,0,1\n")
        (self.folder / "study.toml").write_text(STUDY)
        self.study = xs.load_study(self.folder / "study.toml")
        Store(self.folder / "empty").locked().__enter__()
        Store(self.folder / "empty").write_study(
            {"name": "empty", "axes": [], "cases": [], "parameters": {}, "written": ""}
        )


STUDY = """
name = "one case"
data = { task = "random", samples = 2 }
model = { weights = "m.npz" }
circuit = { engine = "ideal" }
"""


@dataclass(frozen=True)
class Tiny(Task):
    """Four digits, and one epoch."""

    name = "tiny"
    schedule = xs.Schedule(epochs=1, batch=2, jitter=0.0)

    def data(self) -> Split:
        samples = load_digits().test.take(np.arange(4))
        return Split(samples, samples)

    def initial(self, rng: np.random.Generator) -> xs.Model:
        return xs.Model(np.eye(64), -np.eye(64), h=0.1, steps=1)


# Name of a constructor or function to the arguments with which it works; all that are not given have a default that is
# tried as well.
CALLS: dict[str, Callable[[Parts], dict[str, Any]]] = {
    "Activation": lambda p: {"name": "double", "value": lambda s: 2 * s, "slope": lambda s, r: 2 + 0 * s},
    "ActivationField": lambda p: {"A": p.weights, "B": p.weights},
    "AdaptiveOptions": lambda p: {},
    "Amplifier": lambda p: {"r_feedback": 1e3},
    "AnalogMatrix": lambda p: {"weights": p.weights, "mapped": p.mapped, "bank": p.bank},
    "BiasSensitivity": lambda p: {"crossbar": p.crossbar, "biases": xs.Biases(left=0.1, bottom=0.0)},
    "BehindVia": lambda p: {"ohm": 20.0},
    "Biases": lambda p: {"left": 0.1},
    "Chip": lambda p: {"design": xs.Design()},
    "Classifier": lambda p: {"weight": p.weights, "bias": [0.0, 1.0]},
    "DigitalNumbers": lambda p: {"integer_bits": 4},
    "Converters": lambda p: {"adc_bits": 8},
    "CrossEntropy": lambda p: {"classifier": xs.Classifier(p.weights, [0.0, 1.0]), "labels": np.array([0, 1])},
    "Crossbar": lambda p: {"conductance": p.conductance},
    "Data": lambda p: {"x": p.weights, "labels": [0, 1]},
    "Design": lambda p: {},
    "Differential": lambda p: {},
    "Imex": lambda p: {},
    "Leapfrog": lambda p: {},
    "Interleaved": lambda p: {},
    "SignedRows": lambda p: {},
    "Offset": lambda p: {},
    "BitSliced": lambda p: {},
    "CmoDrift": lambda p: {},
    "PcmDrift": lambda p: {},
    "Drift": lambda p: {"nu": 0.1},
    "Correlated": lambda p: {"sigma": 0.1, "length": 2.0},
    "InTurn": lambda p: {"effects": (xs.Levels(4), xs.Stuck(0.1))},
    "Levels": lambda p: {},
    "MeasuredProgramming": lambda p: {"target": (1e-6, 1e-5), "mean": (1e-6, 1e-5), "std": (1e-7, 1e-7)},
    "PublishedError": lambda p: {},
    "Stuck": lambda p: {},
    "Streams": lambda p: {"seed": 0},
    "TableCell": lambda p: {
        "conductance": (1e-6, 1e-5),
        "volts": ((0.0, 1.0), (0.0, 1.0)),
        "amperes": ((0.0, 1e-6), (0.0, 1e-5)),
    },
    "Technology": lambda p: {
        "name": "mine",
        "source": "a table",
        "r_word": 1.0,
        "r_bit": 1.0,
        "c_word": 0.0,
        "c_bit": 0.0,
    },
    "technology": lambda p: {"node": "22nm"},
    "wire_technology": lambda p: {"width": 4e-8, "thickness": 8e-8, "pitch": 8e-8},
    "FeedbackLoop": lambda p: {"A": p.hardware[0], "B": p.hardware[1]},
    "FeedbackSolver": lambda p: {"mapped": p.mapped},
    "FourierConvolution": lambda p: dict(
        zip(
            ("rows", "columns", "blocks", "image_shape"),
            vars(xs.fourier_matrices(np.arange(9.0), (1, 3))).values(),
            strict=True,
        )
    ),
    "Kernels": lambda p: {"a": np.ones(9), "b": np.ones(9), "image_shape": (2, 3)},
    "KrylovOptions": lambda p: {},
    "LayerField": lambda p: {"K": p.weights},
    "Layers": lambda p: {"fields": [p.field]},
    "LineCapacitance": lambda p: {},
    "Chain": lambda p: {"layers": [xs.Encoder(np.eye(2)), xs.Classifier(np.eye(2))]},
    "Encoder": lambda p: {"weight": p.weights},
    "Model": lambda p: {"A": p.weights, "B": p.weights, "h": 0.1, "steps": 2},
    "NewtonOptions": lambda p: {},
    "Normalisation": lambda p: {"scale": [1.0, 2.0]},
    "Ohmic": lambda p: {},
    "OneSelectorOneResistor": lambda p: {},
    "OneTransistorOneResistor": lambda p: {},
    "OpAmp": lambda p: {},
    "Polynomial": lambda p: {},
    "Pool": lambda p: {"pooling": "mean", "image_shape": (2, 3)},
    "Problem": lambda p: {
        "model": p.model, "z0": np.ones((2, 2)), "objective": xs.SquaredDistance(np.zeros((2, 2)))
    },
    "Pulse": lambda p: {"width": 1e-9},
    "ReadNoise": lambda p: {"device": 0.01},
    "ReadTrace": lambda p: {},
    "ReluField": lambda p: {"A": p.weights, "B": p.weights},
    "Schedule": lambda p: {},
    "Sensitivity": lambda p: {"crossbar": p.crossbar, "drive": [0.1, 0.2]},
    "Sinh": lambda p: {},
    "Stage": lambda p: {"model": p.model},
    "staged": lambda p: {"models": [p.model, p.model]},
    "SolverOptions": lambda p: {},
    "SplitField": lambda p: {"velocity": p.layer, "force": p.layer},
    "SquaredDistance": lambda p: {"target": np.zeros((2, 2))},
    "SquaredDistances": lambda p: {"target": np.zeros((2, 2, 2)), "times": [0.0, 1.0]},
    "Subcircuit": lambda p: {"name": "c", "library": p.subcircuit.library},
    "SubcircuitCell": lambda p: {"subcircuit": p.subcircuit},
    "Terminations": lambda p: {},
    "Variation": lambda p: {"programming": 0.1},
    "antisymmetric_field": lambda p: {"K": p.weights},
    "augmented_gradients": lambda p: {
        "field": p.field, "t": [0.0, 0.1], "z": [[1.0, 0.5], [1.0, 0.5]], "cotangents": [[0.0, 0.0], [1.0, 0.0]]
    },
    "attribute": lambda p: {"problem": p.problem, "design": xs.Design(r_word=10.0)},
    "checkpointed_gradients": lambda p: {
        "field": p.field, "z0": [1.0, 0.5], "cotangent": lambda z: z, "h": 0.1, "steps": 1, "every": 1
    },
    "compensate": lambda p: {"crossbar": p.crossbar, "wanted": p.conductance, "g_min": 1e-6, "g_max": 1e-4},
    "continuous_gradients": lambda p: {"trajectory": p.trajectory, "cotangent": [1.0, 0.0]},
    "convolution_field": lambda p: {"a": np.ones(9), "b": np.ones(9), "image_shape": (2, 3)},
    "Convolution": lambda p: {"kernel": np.ones(9), "image_shape": (2, 3)},
    "PerceptronField": lambda p: {"activation": "relu", "K1": p.weights},
    "NormalisedField": lambda p: {"activation": "relu", "K1": p.weights, "scale1": np.ones(2)},
    "TimedField": lambda p: {"field": xs.LayerField([[0.0, 1.0]])},
    "ResidualField": lambda p: {"activation": "relu", "K1": p.weights},
    "field_named": lambda p: {"name": "layer", "tensors": {"K": p.weights}},
    "convolution_matrix": lambda p: {"kernel": np.ones(9), "image_shape": (2, 3)},
    "cosimulate": lambda p: {"problem": p.problem, "design": xs.Design(), "engine": "ideal"},
    "fourier_matrices": lambda p: {"kernel": np.ones(9), "image_shape": (2, 3)},
    "get_engine": lambda p: {"engine": "nodal"},
    "density_gradients": lambda p: {"field": p.field, "x": p.weights, "h": 0.1, "steps": 1},
    "EulerMaruyama": lambda p: {},
    "f_covariance": lambda p: {"field": p.field, "z": [1.0, 0.5], "eps": 0.1},
    "Regulariser": lambda p: {},
    "Monitors": lambda p: {"coarsening": 1},
    "cascade": lambda p: {"model": p.model, "data": p.targets, "levels": 1, "iterations": 1},
    "block_coordinate_descent": lambda p: {
        "model": p.model, "data": p.targets, "regulariser": xs.Regulariser(decay=0.1), "rounds": 1
    },
    "batch_variance": lambda p: {"sample_gradients": p.weights, "batch": 2},
    "Dropout": lambda p: {},
    "WeightNoise": lambda p: {},
    "DropoutField": lambda p: {"field": p.field, "part": 0.2, "keep": [1, 0]},
    "FixedPoint": lambda p: {"integer_bits": 3, "fraction_bits": 4},
    "fixed_point": lambda p: {"values": p.weights, "integer_bits": 3, "fraction_bits": 4},
    "inverse_flow": lambda p: {"field": p.field, "z": p.weights, "h": 0.1, "steps": 1},
    "log_density": lambda p: {"field": p.field, "x": p.weights, "h": 0.1, "steps": 1},
    "gradients": lambda p: {"trajectory": p.trajectory, "cotangent": [1.0, 0.0]},
    "hamiltonian_field": lambda p: {"K": p.weights},
    "integrate": lambda p: {"field": p.field, "z0": [1.0, 0.5], "h": 0.1, "steps": 1},
    "kernel_gradient": lambda p: {"matrix_gradient": np.ones((6, 6)), "image_shape": (2, 3)},
    "growth": lambda p: {"trajectory": p.trajectory},
    "half_select": lambda p: {"crossbar": p.crossbar, "cell": (0, 1), "volts": 0.5},
    "load_data": lambda p: {"path": p.folder / "data.csv"},
    "load_named_data": lambda p: {"name": "two_moons"},
    "load_device": lambda p: {"name": "ohmic"},
    "load_model": lambda p: {"path": p.folder / "m.npz"},
    "load_opamp": lambda p: {"name": "loaded"},
    "make_problem": lambda p: {"model": p.model, "task": "random"},
    "map_weights": lambda p: {"weights": p.weights},
    "measured_noise": lambda p: {"field": p.field, "z": np.ones((2, 1))},
    "netlist": lambda p: {"crossbar": p.crossbar},
    "parallel_gradients": lambda p: {"trajectory": p.parallel, "cotangent": [1.0, 0.0], "iterations": 1},
    "parallel_in_time": lambda p: {
        "field": p.field, "z0": [1.0, 0.5], "h": 0.1, "steps": 1, "coarsening": 1, "iterations": 1
    },
    "prolong": lambda p: {"model": p.model},
    "parabolic_field": lambda p: {"K": p.weights},
    "cmo_read_noise": lambda p: {"g_max": 80e-6, "after": 86400.0},
    "pcm_read_noise": lambda p: {},
    "program": lambda p: {"weights": p.weights, "engine": "ideal"},
    "random_stream": lambda p: {"seed": 0},
    "read_pulse": lambda p: {
        "crossbar": p.crossbar,
        "drive": [0.1, 0.2],
        "pulse": xs.Pulse(1e-9, 1e-10),
        "capacitance": xs.LineCapacitance(1e-16),
    },
    "reversed_gradients": lambda p: {
        "field": p.field, "z0": [1.0, 0.5], "cotangent": lambda z: z, "h": 0.1, "steps": 1
    },
    "save_model": lambda p: {"path": p.folder / "saved.npz", "model": p.model},
    "sensitivity_map": lambda p: {"problem": p.problem, "design": xs.Design(variation=xs.Variation(0.1))},
    "sign_flips": lambda p: {"found": np.ones(2), "reference": np.ones(2)},
    "solve_array": lambda p: {"crossbar": p.crossbar, "drive": [0.1, 0.2]},
    "tangent": lambda p: {"trajectory": p.trajectory, "z0": [1.0, 0.0]},
    "thermal_noise": lambda p: {"conductance": 1e-3, "bandwidth": 1e6},
    "three_gradients": lambda p: {"problem": p.problem, "design": xs.Design()},
    "train": lambda p: {"task": Tiny()},
    "load_study": lambda p: {"path": p.folder / "study.toml"},
    "latin_hypercube": lambda p: {"ranges": {"r_word": (0.1, 10.0), "tile": (1, 4)}, "count": 4, "seed": 0},
    "Study": lambda p: {"problem": p.problem, "design": xs.Design(), "axes": {"tile": [1, 2]}, "engine": "nodal"},
    "load_results": lambda p: {"folder": p.folder / "empty"},
    "load_traces": lambda p: {"folder": p.folder / "empty"},
    "iterate_study": lambda p: {"study": p.study, "folder": p.folder / "iterated"},
    "preview_study": lambda p: {"study": p.study, "folder": p.folder / "store"},
    "run_study": lambda p: {"study": p.study, "folder": p.folder / "store"},
    "write_report": lambda p: {"store_folder": p.folder / "empty", "output": p.folder / "report.html"},
    "tune": lambda p: {"model": p.deployed, "digits": p.digits, "schedule": xs.Schedule(epochs=1)},
    "PulseUpdate": lambda p: {"rise": (0.0, 1.0, 1.5), "fall": (1.5, 0.5, 0.0)},
    "WriteVerify": lambda p: {},
    "write_verify": lambda p: {
        "crossbar": xs.Crossbar([[4e-5, 8e-5]], r_word=1.0, device=xs.load_device("yakopcic_fast"))
    },
    "write_netlists": lambda p: {"mapped": p.mapped, "folder": p.folder / "decks", "name": "A"},
}  # fmt: skip
CALLS |= {
    name: lambda p: {}
    for name in ("BiCGStab", "Chord", "ConjugateGradients", "DormandPrince", "Feedback", "Gmres", "Richardson")
}
WITHOUT_ARGUMENTS = {  # base classes
    "__version__",
    "Converter",
    "DataSet",
    "DriftLaw",
    "DynamicDevice",
    "Field",
    "LinearOperator",
    "LinearSolver",
    "Mapping",
    "Method",
    "Objective",
    "Noise",
    "ProgrammingError",
    "XbarError",
}

# What an error may say in place of the parameter's own name.
SAID_AS = {
    ("ActivationField", "bias"): "needs A of shape",
    ("Subcircuit", "name"): "subcircuit",
    ("Subcircuit", "library"): "line 1",
    ("SubcircuitCell", "conductance_parameter"): "has the parameters",
    ("continuous_gradients", "method"): "adjoint equation",
    ("convolution_field", "a"): "kernel",
    ("convolution_field", "b"): "kernel",
    ("fourier_matrices", "kernel"): "kernel",
    ("KrylovOptions", "method"): "linear solver",
    ("load_data", "path"): "a file ending in",
    ("load_named_data", "name"): "data set",
    ("load_device", "name"): "device",
    ("load_study", "path"): "cannot be read",
    ("load_study", "settings"): "unknown key",
    **{("Study", name): "which is not a setting" for name in ("axes", "when", "skip")},
    ("run_study", "folder"): "cannot be",
    ("run_study", "study_file"): "weight file",
    ("load_results", "folder"): "is not the folder of a study",
    ("load_traces", "folder"): "is not the folder of a study",
    ("write_report", "store_folder"): "is not the folder of a study",
    ("write_report", "against"): "of one of",
    ("write_report", "output"): "cannot be written",
    ("write_report", "figures"): "figure",
    ("load_model", "path"): "a file ending in",
    ("load_opamp", "name"): "op-amp",
    ("measured_noise", "z"): "vectors of shape",
    ("save_model", "path"): "a name ending in",
    ("sign_flips", "found"): "gradients",
    ("ActivationField", "time"): "A of shape",
    ("field_named", "name"): "field",
    ("field_named", "tensors"): "kernel 'a'",
    ("sign_flips", "reference"): "gradients",
    ("Subcircuit", "wrapper"): ".subckt",
    ("SubcircuitCell", "resistance_parameter"): "has the parameters",
    **{(name, "krylov"): "linear solver" for name in ("SolverOptions", "integrate", "tangent")},
    **{(name, "krylov"): "linear solver" for name in ("continuous_gradients", "gradients", "parallel_gradients")},
    ("parallel_in_time", "coarse_method"): "method must be",
}

# Kinds of hostile values that an annotation makes right: by a part of its text.
RIGHT_BY_ANNOTATION = {
    "None": {"None"},
    "Optional[": {"None"},
    "<class 'bool'>": {"True"},
    "<class 'str'>": {"a text", "an empty text"},
    "Path": {"a text", "an empty text", "no number", "empty array", "a list of texts"},
    "Callable": {"a function"},
    "Mapping": {"a mapping"},
    "<class 'float'>": {"a fraction", "huge"},
    "float |": {"a fraction", "huge"},
    "<class 'int'>": {"huge", "a huge whole number"},
    "int |": {"huge", "a huge whole number"},
    "list[": {"no number", "ragged", "a list of texts"},
    "Collection": {"no number", "empty array"},  # nothing to split by
}
# And those that are right for other reasons.
ALSO_RIGHT = {
    **{("Biases", edge): {"NaN", "one value", "negative", "a fraction", "huge"} for edge in EDGES},
    **{("Biases", f"r_{edge}"): {"NaN", "one value", "a fraction", "huge"} for edge in EDGES},
    ("Biases", "amplified"): {"no number", "empty array"},
    ("Biases", "gates"): {"one value", "negative", "a fraction", "huge"},
    ("Crossbar", "open_rows"): {"no number", "empty array"},
    ("Data", "x"): {"array of three axes"},  # images
    ("fixed_point", "values"): {"negative", "a fraction", "huge", "one value", "array of three axes", "no number"}
    | {"empty array", "True"},
    ("FixedPoint", "parts"): {"no number", "empty array"},
    ("EulerMaruyama", "xi"): {"array of three axes"},
    ("Imex", "stencil"): {"one value"},
    ("Imex", "shape"): {"no number", "empty array"},
    ("Drift", "nu"): {"negative"},  # a conductance that rises
    ("InTurn", "effects"): {"no number", "empty array"},
    **{("Crossbar", name): {"a fraction", "huge"} for name in ("r_word", "r_bit")},
    ("half_select", "volts"): {"negative"},
    **{(name, of): {"array of three axes"} for name in ("map_weights", "program") for of in ("conductance", "before")},
    ("Design", "conductances"): {"a text"},  # the file is read when devices are programmed
    ("Kernels", "a"): {"one value"},  # a kernel of one tap
    ("Kernels", "b"): {"one value"},
    ("Model", "h"): {"one value", "negative"},
    **{
        (name, "h"): {"negative"}
        for name in ("integrate", "checkpointed_gradients", "reversed_gradients", "parallel_in_time")
    },
    ("Classifier", "bias"): {"None"},
    ("Normalisation", "scale"): {"one value"},
    ("Normalisation", "shift"): {"None"},
    ("Encoder", "bias"): {"None"},
    ("SquaredDistances", "target"): {"array of three axes"},
    ("integrate", "stops"): {"no number", "empty array"},
    ("integrate", "between"): {"no number", "empty array", "one value"},
    ("Model", "on_arrays"): {"no number"},
    ("Model", "frozen"): {"no number"},
    ("LayerField", "b"): {"True"},
    ("parabolic_field", "bias"): {"True"},  # which it may have on the array
    ("OneTransistorOneResistor", "v_threshold"): {"negative"},
    ("OpAmp", "gain"): {"infinity", "a huge whole number"},
    ("Polynomial", "square"): {"one value"},
    ("Polynomial", "cube"): {"one value"},
    ("Pulse", "width"): {"infinity", "a huge whole number"},
    **{("Study", name): {"no number", "empty array"} for name in ("when", "skip")},
    ("Study", "tags"): {"no number", "empty array", "a list of texts"},
    ("Subcircuit", "parameters"): {"no number", "empty array"},
    ("convolution_field", "a"): {"one value"},
    ("convolution_field", "b"): {"one value"},
    ("iterate_study", "scheduler"): {"a text"},  # nobody is asked before the first case is
    **{(name, "wait"): {"infinity", "a huge whole number"} for name in ("iterate_study", "run_study")},
    ("WriteVerify", "raise_volts"): {"negative"},
    ("WriteVerify", "lower_volts"): {"negative"},
    ("write_report", "extra"): {"no number", "empty array"},
    ("write_report", "figures"): {"no number", "empty array"},
    ("write_report", "formats"): {"no number", "empty array"},
    ("Convolution", "kernel"): {"one value"},
    ("convolution_matrix", "kernel"): {"one value"},
    ("fourier_matrices", "kernel"): {"one value"},
}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return Parts(tmp_path_factory.mktemp("public"))


def parameters(name: str) -> Iterator[tuple[str, str]]:
    """Each parameter, with its annotation as text."""
    public = inspect.unwrap(getattr(xs, name))
    hints = get_type_hints(public.__init__ if inspect.isclass(public) else public)
    for parameter in inspect.signature(public).parameters.values():
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            yield parameter.name, str(hints[parameter.name])


def test_the_table_has_every_public_name() -> None:
    assert CALLS.keys() | WITHOUT_ARGUMENTS == set(xs.__all__)


@pytest.mark.filterwarnings("ignore::xbar_spice.errors.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::xbar_spice.errors.DesignWarning")
@pytest.mark.parametrize("name", CALLS)
def test_no_value_passes_for_something_else(name: str, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(parts.folder)
    public, arguments = getattr(xs, name), CALLS[name]
    public(**arguments(parts))
    for parameter, annotation in parameters(name):
        right = ALSO_RIGHT.get((name, parameter), set()).union(
            *(kinds for text, kinds in RIGHT_BY_ANNOTATION.items() if text in annotation)
        )
        for kind, value in HOSTILE.items():
            refusal = refused(public, arguments(parts) | {parameter: value})
            if refusal is None:
                assert kind in right, f"{name} takes {kind} for {parameter}: {annotation}"
            else:
                said = SAID_AS.get((name, parameter), parameter)
                named = re.search(rf"\b{parameter}\b", refusal) or said in refusal
                assert named, f"{name}({parameter} = {kind}) does not name it: {refusal}"


def refused(public: Callable[..., Any], arguments: dict[str, Any]) -> str | None:
    """The text of our own error, None if there was none; any other error is a leak."""
    try:
        public(**arguments)
    except InvalidInputError as error:
        return str(error)
    return None
