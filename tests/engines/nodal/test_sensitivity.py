"""Sensitivities against finite differences, against each other, and against the spread of drawn devices."""

from dataclasses import replace

import numpy as np
import pytest
from support import relative

from xbar_spice.engines.nodal.engine import NodalEngine
from xbar_spice.engines.nodal.sensitivity import Change, Sensitivity
from xbar_spice.engines.nodal.transfer_gradient import transfer_gradients
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.cells import Ohmic, OneTransistorOneResistor, Polynomial, Sinh
from xbar_spice.hardware.crossbar import Crossbar, Terminations

NAMES = ("r_word", "r_bit", "r_driver", "r_sense")
DEVICES = [Ohmic(), Sinh(0.2), Polynomial(), OneTransistorOneResistor()]
ENDS = [
    Terminations(),
    Terminations("double"),
    Terminations(transposed="swapped_ends"),
    Terminations("double", "far_ends"),
]


def array(rng, device=None, terminations=None, shape=(5, 4)):
    conductance = rng.uniform(60e-6, 200e-6, shape)
    return Crossbar(conductance, 20, 30, 100, 60, device=device or Ohmic(), terminations=terminations or Terminations())


def read(crossbar, volts, side):
    return NodalEngine("iterative", 1e-13).program(crossbar).read(volts, side)


def shifted(crossbar, change, step):
    values = {name: getattr(crossbar, name) + step * getattr(change, name) for name in NAMES}
    return replace(crossbar, conductance=crossbar.conductance + step * change.conductance, **values)


@pytest.mark.parametrize("terminations", ENDS, ids=lambda ends: f"{ends.drive}-{ends.transposed}")
@pytest.mark.parametrize("side", ["rows", "cols"])
@pytest.mark.parametrize("device", DEVICES, ids=lambda device: type(device).__name__)
def test_products_with_changes_are_finite_differences(device, side, terminations, rng):
    crossbar = array(rng, device, terminations)
    volts = rng.uniform(-0.3, 0.3, (crossbar.ports(side), 2))
    operator = Sensitivity(crossbar, volts, side, tolerance=1e-12)
    change = Change(crossbar.conductance * rng.uniform(-1, 1, crossbar.shape), *rng.uniform(-10, 10, 4))
    slope = (
        read(shifted(crossbar, change, 1e-4), volts, side) - read(shifted(crossbar, change, -1e-4), volts, side)
    ) / 2e-4
    found = operator.jvp(change)
    assert np.abs(found - slope).max() < 1e-6 * np.abs(slope).max()
    weights = rng.normal(size=found.shape)
    gradient = operator.vjp(weights)
    along = (gradient.conductance * change.conductance).sum() + sum(
        getattr(gradient, name) * getattr(change, name) for name in NAMES
    )
    assert along == pytest.approx((weights * found).sum(), rel=1e-8)


@pytest.mark.parametrize("side", ["rows", "cols"])
@pytest.mark.parametrize(
    ("changes", "device"),
    [
        ({"amplifier": Amplifier(5e3, 20.0)}, Sinh(0.2)),
        ({"amplifier": Amplifier(5e3, 20.0), "terminations": Terminations(sense="double")}, Ohmic()),
        ({"amplifier": Amplifier(5e3, 20.0, saturation=0.2), "terminations": Terminations("double")}, Sinh(0.2)),
        ({"terminations": Terminations("double", "far_ends", "double"), "open_rows": (1,)}, Ohmic()),
        ({"r_word": np.linspace(5, 30, 25).reshape(5, 5), "amplifier": Amplifier(5e3, 20.0)}, Ohmic()),
    ],
    ids=["amplifiers", "both ends sensed", "saturating", "both ends of all lines", "wires that differ"],
)
def test_amplifiers_and_arrays_without_a_grid_have_derivatives(changes, device, side, rng):
    crossbar = replace(array(rng, device), **changes)
    volts = rng.uniform(-0.3, 0.3, (crossbar.ports(side), 2))
    operator = Sensitivity(crossbar, volts, side, tolerance=1e-12)
    assert operator.currents == pytest.approx(read(crossbar, volts, side), rel=1e-8, abs=1e-15)
    change = Change(crossbar.conductance * rng.uniform(-1, 1, crossbar.shape), *rng.uniform(-10, 10, 4))
    if crossbar.amplifier.present:
        change = replace(change, r_feedback=100.0, gain=2.0)

    def moved(step):
        amplifier, near = crossbar.amplifier, shifted(crossbar, change, step)
        if amplifier.present:
            feedback, gain = amplifier.r_feedback + step * change.r_feedback, amplifier.gain + step * change.gain
            near = replace(near, amplifier=replace(amplifier, r_feedback=feedback, gain=gain))
        return read(near, volts, side)

    slope, found = (moved(1e-4) - moved(-1e-4)) / 2e-4, operator.jvp(change)
    assert np.abs(found - slope).max() < 1e-6 * np.abs(slope).max()
    weights = rng.normal(size=found.shape)
    gradient = operator.vjp(weights)
    along = (gradient.conductance * change.conductance).sum() + sum(
        getattr(gradient, name) * getattr(change, name) for name in (*NAMES, "r_feedback", "gain")
    )
    assert along == pytest.approx((weights * found).sum(), rel=1e-8)
    if crossbar.linear:
        assert relative(operator.conductance_gradients(weights[np.newaxis])[0], gradient.conductance) < 1e-9


def test_reads_are_those_of_the_engine(rng):
    crossbar = array(rng)
    volts = rng.uniform(0, 0.2, (5, 3))
    assert Sensitivity(crossbar, volts).currents == pytest.approx(read(crossbar, volts, "rows"), rel=1e-9)


def test_gradients_predict_the_spread_of_drawn_devices(rng):
    crossbar = array(rng)
    volts = rng.uniform(0.1, 0.2, 5)
    sigma = 0.01 * crossbar.conductance
    operator = Sensitivity(crossbar, volts)
    predicted = [((operator.vjp(port).conductance * sigma) ** 2).sum() for port in np.eye(4)]
    draws = [
        read(replace(crossbar, conductance=crossbar.conductance + sigma * rng.normal(size=(5, 4))), volts, "rows")
        for _ in range(2000)
    ]
    assert np.var(draws, axis=0) == pytest.approx(predicted, rel=0.15)


def test_wrong_shapes_are_refused(rng):
    crossbar = array(rng)
    with pytest.raises(InvalidInputError, match=r"\(5, batch\)"):
        Sensitivity(crossbar, np.zeros(4))
    with pytest.raises(InvalidInputError, match="weights"):
        Sensitivity(crossbar, np.ones(5)).vjp(np.ones(5))


@pytest.mark.parametrize("transposed", ["same_ends", "far_ends"])
@pytest.mark.parametrize("side", ["rows", "cols"])
@pytest.mark.parametrize("open_rows", [(), (1,)])
def test_gradients_of_weighted_sums_are_those_of_vjp(rng, transposed, side, open_rows):
    crossbar = Crossbar(
        10 ** rng.uniform(-6, -4, size=(5, 7)),
        r_word=20.0,
        r_bit=5.0,
        r_driver=50.0,
        r_sense=10.0,
        terminations=Terminations(transposed=transposed),
        open_rows=open_rows,
    )
    ports, sensed = (5, 7) if side == "rows" else (7, 5)
    reads = Sensitivity(crossbar, rng.standard_normal((ports, 4)), side, tolerance=1e-12)
    weights = rng.standard_normal((3, sensed, 4))
    for found, weight in zip(reads.conductance_gradients(weights), weights, strict=True):
        assert relative(found, reads.vjp(weight).conductance) < 1e-10


def test_nonlinear_reads_have_no_common_adjoint_array():
    reads = Sensitivity(Crossbar([[1e-4]], r_word=1.0, device=Sinh(0.2)), [0.3])
    with pytest.raises(InvalidInputError, match=r"takes linear cells, got Sinh\(v0=0.2\); use vjp"):
        reads.conductance_gradients(np.ones((1, 1, 1)))


@pytest.mark.parametrize(
    ("shape", "terminations", "sums"),
    [((48, 33), "same_ends", 1), ((32, 36), "far_ends", 1), ((32, 40), "double", 1), ((5, 7), "same_ends", 3)],
)
@pytest.mark.parametrize("side", ["rows", "cols"])
def test_gradients_of_transfer_matrices_are_those_of_all_reads(rng, shape, terminations, sums, side):
    ends = Terminations("double") if terminations == "double" else Terminations(transposed=terminations)
    crossbar = Crossbar(10 ** rng.uniform(-6, -4, shape), 2.0, 1.0, 50.0, 10.0, terminations=ends)
    driven, sensed = shape if side == "rows" else shape[::-1]
    weights = rng.standard_normal((sums, sensed, driven))
    reads = Sensitivity(crossbar, np.eye(driven), side, tolerance=1e-12)
    for found, wanted in zip(
        transfer_gradients(crossbar, weights, side), reads.conductance_gradients(weights), strict=True
    ):
        assert relative(found, wanted) < 1e-10
