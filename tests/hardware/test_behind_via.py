"""Cells behind a via: the series law, its derivatives, and arrays of them against ngspice."""

import numpy as np
import pytest
from support import engine_or_skip, relative

import xbar_spice as xs
from xbar_spice.errors import DeviceError
from xbar_spice.hardware.behind_via import BehindVia

CELLS = [
    xs.Ohmic(),
    xs.Sinh(0.1),
    xs.Polynomial(),
    xs.OneTransistorOneResistor(),
    xs.OneSelectorOneResistor(1e-6, 0.05),
]


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: type(cell).__name__)
@pytest.mark.parametrize("ohm", [0.0, 30.0, 3e4])
def test_voltages_add_up_and_slopes_are_derivatives(cell, ohm, rng):
    via = BehindVia(ohm, cell)
    conductance, volts = rng.uniform(6e-5, 2e-4, 60), np.append(rng.uniform(-0.6, 0.6, 59), 0.0)
    current = via.current(conductance, volts)
    inside = via.cell_voltage(conductance, volts)
    assert inside + ohm * current == pytest.approx(volts, rel=1e-13, abs=1e-16)
    step = 1e-6
    slope = (via.current(conductance, volts + step) - via.current(conductance, volts - step)) / (2 * step)
    assert via.differential_conductance(conductance, volts) == pytest.approx(slope, rel=1e-6, abs=1e-12)
    grown = (via.current(conductance * (1 + step), volts) - via.current(conductance * (1 - step), volts)) / 2
    assert via.conductance_sensitivity(conductance, volts) * conductance * step == pytest.approx(
        grown, rel=1e-5, abs=1e-17
    )


def test_ohmic_cells_behind_vias_are_ohmic_cells_of_both(rng):
    conductance, wires = rng.uniform(1e-5, 1e-4, (4, 3)), (2.0, 3.0, 50.0, 20.0)
    volts = rng.uniform(-0.2, 0.2, (4, 2))
    found = xs.get_engine("nodal").program(xs.Crossbar(conductance, *wires, BehindVia(500.0))).read(volts)
    series = xs.Crossbar(conductance / (1 + 500.0 * conductance), *wires)
    assert relative(found, xs.get_engine("nodal").program(series).read(volts)) < 1e-9


@pytest.mark.parametrize("cell", [xs.Sinh(0.1), xs.OneTransistorOneResistor()], ids=str)
def test_ngspice_reads_the_same(cell, rng):
    crossbar = xs.Crossbar(rng.uniform(1e-5, 1e-4, (3, 2)), 2.0, 3.0, 50.0, 20.0, BehindVia(800.0, cell))
    volts = rng.uniform(-0.3, 0.3, 3)
    reads = [engine_or_skip(name).program(crossbar).read(volts) for name in ("nodal", "ngspice")]
    assert reads[0] == pytest.approx(reads[1], rel=1e-7 if cell.junctions else 1e-9)


def test_what_is_no_via_is_refused_and_its_name_makes_one():
    with pytest.raises(DeviceError, match="ohm must be finite and >= 0"):
        BehindVia(-1.0)
    assert xs.load_device("behind_via(ohm=20)") == BehindVia(20.0)
