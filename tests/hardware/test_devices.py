"""Laws that every device obeys, and the published points of some."""

import json
from pathlib import Path

import numpy as np
import pytest
from support import engine_or_skip

from xbar_spice.engines.registry import get_engine
from xbar_spice.errors import ConvergenceError, DeviceError
from xbar_spice.hardware.cells import Device, Ohmic, OneSelectorOneResistor, OneTransistorOneResistor, Polynomial, Sinh
from xbar_spice.hardware.crossbar import Crossbar
from xbar_spice.spice.netlist import netlist

TRUTH = json.loads((Path(__file__).parents[1] / "truth" / "crossbar.json").read_text())
DEVICES = [
    Ohmic(),
    Sinh(0.25),
    Sinh(0.08),
    Polynomial(),
    OneTransistorOneResistor(),
    OneTransistorOneResistor(2e-4, 0.9, 0.5),
    OneSelectorOneResistor(),
    OneSelectorOneResistor(1e-12, 0.01),
]
NONLINEAR = DEVICES[1:]


def cells(rng, shape=(6, 5)):
    conductance = 10 ** rng.uniform(np.log10(50e-6), np.log10(225e-6), shape)
    return conductance, rng.uniform(-0.5, 0.5, shape)


@pytest.mark.parametrize("device", DEVICES, ids=repr)
def test_derivatives_are_those_of_the_current(device, rng):
    conductance, voltage = cells(rng)
    dv, dg = 1e-6, 1e-6 * conductance
    by_voltage = (device.current(conductance, voltage + dv) - device.current(conductance, voltage - dv)) / (2 * dv)
    by_conductance = (device.current(conductance + dg, voltage) - device.current(conductance - dg, voltage)) / (2 * dg)
    assert device.differential_conductance(conductance, voltage) == pytest.approx(by_voltage, rel=1e-7)
    assert device.conductance_sensitivity(conductance, voltage) == pytest.approx(by_conductance, rel=1e-7)
    assert Device.conductance_sensitivity(device, conductance, voltage) == pytest.approx(by_conductance, rel=1e-7)


@pytest.mark.parametrize("device", DEVICES, ids=repr)
def test_no_voltage_no_current_and_no_cell_no_current(device, rng):
    conductance, voltage = cells(rng)
    assert np.all(device.current(conductance, 0 * voltage) == 0)
    assert np.all(device.current(0 * conductance, voltage) == 0)
    assert np.all(device.differential_conductance(0 * conductance, voltage) == 0)


@pytest.mark.parametrize("device", [Ohmic(), Sinh(), Polynomial()], ids=repr)
def test_conductance_is_the_small_signal_one(device, rng):
    conductance, _ = cells(rng)
    assert device.differential_conductance(conductance, 0 * conductance) == pytest.approx(conductance)


def test_transistor_in_saturation_carries_its_limit():
    device = OneTransistorOneResistor(beta=1e-4, v_gate=0.6, v_threshold=0.4)
    limit = 0.5e-4 * 0.2**2
    assert device.current(np.array([1e-3]), np.array([0.5])) == pytest.approx([limit])
    assert np.all(device.differential_conductance(np.array([1e-3]), np.array([0.5])) == 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Sinh(0.0),
        lambda: OneTransistorOneResistor(v_gate=0.1),
        lambda: Polynomial(g_range=(1, 0.5)),
        lambda: OneSelectorOneResistor(i0=0.0),
        lambda: OneSelectorOneResistor(v0=-1.0),
    ],
)
def test_senseless_parameters_are_refused(make):
    with pytest.raises(DeviceError):
        make()


def test_selector_and_resistor_share_the_voltage(rng):
    device = OneSelectorOneResistor(i0=1e-9, v0=0.03)
    conductance, voltage = cells(rng)
    over_selector = device.selector_voltage(conductance, voltage)
    current = device.current(conductance, voltage)
    assert conductance * (voltage - over_selector) == pytest.approx(current, rel=1e-12)
    assert 1e-9 * np.sinh(over_selector / 0.03) == pytest.approx(current, rel=1e-12)


def test_a_selector_leaks_below_its_threshold_and_vanishes_far_above():
    device = OneSelectorOneResistor(i0=1e-12, v0=0.01)
    conductance = np.full(3, 1e-4)
    ratio = device.current(conductance, np.array([0.02, 0.1, 10.0])) / (conductance * [0.02, 0.1, 10.0])
    assert ratio[0] < 1e-5
    assert ratio[1] < 0.02
    assert ratio[2] > 0.97


@pytest.mark.parametrize("engine", ["nodal", "ngspice"])
def test_sinh_ladder_from_the_far_end(engine):
    case = TRUTH["sinh_ladder"]
    crossbar = Crossbar(np.full((1, case["N"]), case["I0"] / case["V0"]), r_word=case["r"], device=Sinh(case["V0"]))
    with engine_or_skip(engine).program(crossbar) as session:
        total = session.read([case["V_source"]]).sum()
    assert total == pytest.approx(case["I_total"], rel=1e-11)


@pytest.mark.ngspice
@pytest.mark.parametrize("side", ["rows", "cols"])
@pytest.mark.parametrize("device", NONLINEAR, ids=repr)
def test_nonlinear_arrays_agree_with_ngspice(device, side, rng):
    conductance, _ = cells(rng, (5, 4))
    conductance[1, 2] = 0.0
    crossbar = Crossbar(conductance, 20, 30, 50, 25, device=device)
    volts = rng.uniform(-0.4, 0.4, (crossbar.ports(side), 3))
    with engine_or_skip("ngspice").program(crossbar) as session:
        expected = session.read(volts, side)
    assert get_engine("nodal").program(crossbar).read(volts, side) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("device", NONLINEAR, ids=repr)
def test_ideal_lines_give_the_ideal_read(device, rng):
    conductance, _ = cells(rng)
    crossbar = Crossbar(conductance, device=device)
    volts = rng.uniform(-0.4, 0.4, (6, 2))
    reads = [get_engine(name).program(crossbar).read(volts) for name in ("nodal", "ideal")]
    assert reads[0] == pytest.approx(reads[1], rel=1e-12)


def test_a_batch_that_does_not_converge_names_its_columns(rng):
    class Latch(Device):  # a cell that switches: no solution where its curve is vertical
        linear = False
        template = "cells/ohmic.cir.j2"

        def current(self, conductance, voltage):
            return conductance * np.where(np.abs(voltage) > 0.1, 50.0, 1.0) * np.sign(voltage) * np.abs(voltage)

        def differential_conductance(self, conductance, voltage):
            return conductance * np.where(np.abs(voltage) > 0.1, 50.0, 1.0)

    crossbar = Crossbar(np.full((1, 1), 1e-3), r_word=500.0, device=Latch())
    with pytest.raises(ConvergenceError, match=r"columns \[1\]"):
        get_engine("nodal").program(crossbar).read([[0.05, 0.2]])


@pytest.mark.parametrize("device", NONLINEAR, ids=repr)
def test_decks_name_every_cell(device):
    deck = netlist(Crossbar([[1e-4, 2e-4]], 1, 1, device=device))
    assert all(f"0_{column} " in deck for column in range(2))
