"""Every extension point, with its built-in parts by their shorthands.

One table a kind: the command line, study files, the guide and error texts take their choices from here. A built-in part
is one class in one file; its line here is all that makes its shorthand known. Nothing is imported before it is asked
for, so that `xbar-spice --help` stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xbar_spice.registry import Registry

if TYPE_CHECKING:
    from xbar_spice.data.named import DataSet
    from xbar_spice.engines.base import Engine
    from xbar_spice.hardware.converters import Converter
    from xbar_spice.hardware.device import Device
    from xbar_spice.hardware.drift import DriftLaw
    from xbar_spice.hardware.pulse_update import WeightUpdate
    from xbar_spice.hardware.read_noise import Noise
    from xbar_spice.hardware.technology import Technology
    from xbar_spice.hardware.variation import ProgrammingError
    from xbar_spice.mapping.base import Mapping
    from xbar_spice.report.figure import Figure
    from xbar_spice.solve.fields.field import Field
    from xbar_spice.solve.integrators.method import Method
    from xbar_spice.solve.linear_solvers.solver import LinearSolver
    from xbar_spice.spice.dialect import Dialect
    from xbar_spice.train.tasks import Task

__all__ = [
    "CONVERTERS",
    "DATA",
    "DEVICES",
    "DIALECTS",
    "DRIFT_LAWS",
    "ENGINES",
    "FIELDS",
    "FIGURES",
    "LINEAR_SOLVERS",
    "MAPPINGS",
    "METHODS",
    "NOISES",
    "PROGRAMMING_ERRORS",
    "REGISTRIES",
    "TASKS",
    "TECHNOLOGIES",
    "UPDATES",
]

ENGINES: Registry[Engine] = Registry(
    "engine",
    "xbar_spice.engines.base:Engine",
    {
        "ideal": "xbar_spice.engines.ideal:IdealEngine",
        "nodal": "xbar_spice.engines.nodal.engine:NodalEngine",
        "ngspice": "xbar_spice.engines.ngspice.engine:NgspiceEngine",
        "vacask": "xbar_spice.engines.vacask.engine:VacaskEngine",
    },
)
"""Who answers the reads of arrays."""

DIALECTS: Registry[Dialect] = Registry(
    "dialect",
    "xbar_spice.spice.dialect:Dialect",
    {
        "ngspice": "xbar_spice.spice.travel:NgspiceDialect",
        "spice3": "xbar_spice.spice.spice3:Spice3Dialect",
        "vacask": "xbar_spice.spice.vacask:VacaskDialect",
    },
)
"""Languages of exported decks."""

DEVICES: Registry[Device] = Registry(
    "device",
    "xbar_spice.hardware.device:Device",
    {
        "ohmic": "xbar_spice.hardware.cells:Ohmic",
        "sinh": "xbar_spice.hardware.cells:Sinh",
        "polynomial": "xbar_spice.hardware.cells:Polynomial",
        "one_transistor_one_resistor": "xbar_spice.hardware.cells:OneTransistorOneResistor",
        "one_selector_one_resistor": "xbar_spice.hardware.cells:OneSelectorOneResistor",
        "behind_via": "xbar_spice.hardware.behind_via:BehindVia",
        "vteam": "xbar_spice.hardware.dynamic:Vteam",
        "yakopcic": "xbar_spice.hardware.dynamic:Yakopcic",
        "stanford_gap_dynamic": "xbar_spice.hardware.dynamic:StanfordGap",
        "hp_joglekar": "xbar_spice.hardware.dynamic:HpJoglekar",
        "hp_drift": "xbar_spice.hardware.dynamic:HpDrift",
        "pershin": "xbar_spice.hardware.dynamic:Pershin",
    },
)
"""Laws of cells; `load_device` also finds parameter sets of them by name, and subcircuits."""

MAPPINGS: Registry[Mapping] = Registry(
    "mapping",
    "xbar_spice.mapping.base:Mapping",
    {
        "differential": "xbar_spice.mapping.pairs:Differential",
        "interleaved": "xbar_spice.mapping.pairs:Interleaved",
        "signed_rows": "xbar_spice.mapping.pairs:SignedRows",
        "offset": "xbar_spice.mapping.offset:Offset",
        "bit_sliced": "xbar_spice.mapping.slices:BitSliced",
    },
)
"""How signed weights become devices on lines."""

PROGRAMMING_ERRORS: Registry[ProgrammingError] = Registry(
    "variation",
    "xbar_spice.hardware.variation:ProgrammingError",
    {
        "relative": "xbar_spice.hardware.variation:Variation",
        "published": "xbar_spice.hardware.statistics:PublishedError",
        "measured": "xbar_spice.hardware.statistics:MeasuredProgramming",
        "levels": "xbar_spice.hardware.statistics:Levels",
        "stuck": "xbar_spice.hardware.statistics:Stuck",
        "correlated": "xbar_spice.hardware.statistics:Correlated",
        "table": "xbar_spice.hardware.statistics:programming_table",
        "write_verify": "xbar_spice.programming.write:WriteVerify",
        "in_turn": "xbar_spice.hardware.statistics:InTurn",
    },
)
"""What makes programmed devices differ from their targets."""

UPDATES: Registry[WeightUpdate] = Registry(
    "update",
    "xbar_spice.hardware.pulse_update:WeightUpdate",
    {
        "pulses": "xbar_spice.hardware.pulse_update:PulseUpdate",
        "curves": "xbar_spice.hardware.pulse_update:pulse_curves",
        "soft_bounds": "xbar_spice.hardware.pulse_update:soft_bounds",
    },
)
"""What pulses make of the weights that training asks for."""

DRIFT_LAWS: Registry[DriftLaw] = Registry(
    "drift",
    "xbar_spice.hardware.drift:DriftLaw",
    {
        "none": "xbar_spice.hardware.drift:NoDrift",
        "power_law": "xbar_spice.hardware.drift:Drift",
        "pcm": "xbar_spice.hardware.drift:PcmDrift",
        "cmo_hfox": "xbar_spice.hardware.drift:CmoDrift",
    },
)
"""What becomes of programmed devices with time."""

FIELDS: Registry[Field] = Registry(
    "field",
    "xbar_spice.solve.fields.field:Field",
    {
        "activation": "xbar_spice.solve.fields.field:ActivationField",
        "layer": "xbar_spice.solve.fields.layer_field:LayerField",
        "residual": "xbar_spice.solve.fields.residual:ResidualField",
        "perceptron": "xbar_spice.solve.fields.residual:PerceptronField",
        "normalised": "xbar_spice.solve.fields.normalised:NormalisedField",
        "antisymmetric": "xbar_spice.solve.fields.systems:AntisymmetricField",
        "parabolic": "xbar_spice.solve.fields.systems:ParabolicField",
        "hamiltonian": "xbar_spice.solve.fields.systems:HamiltonianField",
    },
)
"""How the matrices of a model act on its state; their tensors are options by name, see `weights.field_named`."""
NOISES: Registry[Noise] = Registry(
    "noise", "xbar_spice.hardware.read_noise:Noise", {"normal": "xbar_spice.hardware.read_noise:ReadNoise"}
)
"""What every read adds to the sense currents."""

CONVERTERS: Registry[Converter] = Registry(
    "converters",
    "xbar_spice.hardware.converters:Converter",
    {"uniform": "xbar_spice.hardware.converters:Converters"},
)
"""What finite resolution does to drives and sense currents."""

METHODS: Registry[Method] = Registry(
    "method",
    "xbar_spice.solve.integrators.method:Method",
    {
        "forward_euler": "xbar_spice.solve.integrators.multistep:FORWARD_EULER",
        "implicit_euler": "xbar_spice.solve.integrators.multistep:IMPLICIT_EULER",
        "trapezoid": "xbar_spice.solve.integrators.multistep:TRAPEZOID",
        "am3": "xbar_spice.solve.integrators.multistep:AM3",
        "ab3": "xbar_spice.solve.integrators.multistep:AB3",
        "rk4": "xbar_spice.solve.integrators.runge_kutta:RK4",
        "dopri5": "xbar_spice.solve.integrators.dormand_prince:DormandPrince",
        "verlet": "xbar_spice.solve.integrators.verlet:VERLET",
        "velocity_verlet": "xbar_spice.solve.integrators.verlet:VELOCITY_VERLET",
        "leapfrog": "xbar_spice.solve.integrators.leapfrog:Leapfrog",
        "euler_maruyama": "xbar_spice.solve.integrators.euler_maruyama:EulerMaruyama",
        "imex": "xbar_spice.solve.integrators.imex:Imex",
    },
)
"""How time goes on; those that differ in their coefficients only are objects of one class."""

LINEAR_SOLVERS: Registry[LinearSolver] = Registry(
    "linear solver",
    "xbar_spice.solve.linear_solvers.solver:LinearSolver",
    {
        "gmres": "xbar_spice.solve.linear_solvers.gmres:Gmres",
        "bicgstab": "xbar_spice.solve.linear_solvers.bicgstab:BiCGStab",
        "cg": "xbar_spice.solve.linear_solvers.conjugate_gradients:ConjugateGradients",
        "richardson": "xbar_spice.solve.linear_solvers.richardson:Richardson",
        "chord": "xbar_spice.solve.linear_solvers.chord:Chord",
        "feedback": "xbar_spice.feedback.linear_solver:Feedback",
    },
)
"""Who solves the linear systems of implicit steps."""

TECHNOLOGIES: Registry[Technology] = Registry(
    "technology",
    "xbar_spice.hardware.technology:Technology",
    {
        "node": "xbar_spice.hardware.technology:technology",
        "geometry": "xbar_spice.hardware.technology:wire_technology",
    },
)
"""Whose wires an array has; a node is also written as its name, such as "22nm"."""

DATA: Registry[DataSet] = Registry(
    "data set",
    "xbar_spice.data.named:DataSet",
    {
        "digits": "xbar_spice.data.tables:Digits",
        "two_moons": "xbar_spice.data.two_moons:TwoMoons",
        "spirals": "xbar_spice.data.spirals:Spirals",
        "spiral_paths": "xbar_spice.data.spirals:SpiralPaths",
        "spiral_windows": "xbar_spice.data.spirals:spiral_windows",
        "swiss_roll": "xbar_spice.data.swiss_roll:SwissRoll",
        "ellipses": "xbar_spice.data.ellipses:Ellipses",
        "peaks": "xbar_spice.data.peaks:Peaks",
        "breast_cancer": "xbar_spice.data.tables:BreastCancer",
        "wine": "xbar_spice.data.tables:Wine",
    },
)
"""Named sets of samples."""

TASKS: Registry[Task] = Registry(
    "task",
    "xbar_spice.train.tasks:Task",
    {
        "digits-conv": "xbar_spice.train.digits:digits_conv",
        "digits-dense": "xbar_spice.train.digits:digits_dense",
        "two-moons-flow": "xbar_spice.train.flow:TWO_MOONS_FLOW",
        "two-moons": "xbar_spice.train.named:TWO_MOONS",
        "swiss-roll": "xbar_spice.train.named:SWISS_ROLL",
        "ellipses": "xbar_spice.train.named:ELLIPSES",
        "peaks": "xbar_spice.train.named:PEAKS",
        "breast-cancer": "xbar_spice.train.named:BREAST_CANCER",
        "wine": "xbar_spice.train.named:WINE",
        "spirals": "xbar_spice.train.spirals:SPIRALS",
        "spirals-latent": "xbar_spice.train.spirals:SPIRALS_LATENT",
    },
)
"""What models are trained for."""

FIGURES: Registry[Figure] = Registry(
    "figure",
    "xbar_spice.report.figure:Figure",
    {
        "accuracy": "xbar_spice.report.curve_figures:Accuracy",
        "state_error": "xbar_spice.report.curve_figures:StateError",
        "loss_error": "xbar_spice.report.curve_figures:LossError",
        "likelihood_error": "xbar_spice.report.curve_figures:LikelihoodError",
        "gradient_error": "xbar_spice.report.curve_figures:GradientError",
        "gradient_cosine": "xbar_spice.report.curve_figures:GradientAngle",
        "effort": "xbar_spice.report.curve_figures:Effort",
        "cell_deficit": "xbar_spice.report.array_figures:CellDeficit",
        "reads": "xbar_spice.report.array_figures:Reads",
        "attribution": "xbar_spice.report.array_figures:Attribution",
    },
)
"""What a report draws of the results of a study, in this order."""

REGISTRIES: tuple[Registry[Any], ...] = (
    ENGINES,
    DEVICES,
    MAPPINGS,
    PROGRAMMING_ERRORS,
    UPDATES,
    DRIFT_LAWS,
    NOISES,
    CONVERTERS,
    TECHNOLOGIES,
    FIELDS,
    METHODS,
    LINEAR_SOLVERS,
    DATA,
    TASKS,
    FIGURES,
    DIALECTS,
)
"""All of them."""
