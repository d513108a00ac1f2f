"""The conductance matrix of an array between its terminals: laws of networks, and the reads it contains."""

from itertools import product

import numpy as np
import pytest
from support import relative
from support.arrays import TERMINATIONS, WIRES, name_of, random_array, transfer

from xbar_spice.engines.nodal.ports import port_conductance
from xbar_spice.engines.registry import get_engine
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.cells import Sinh
from xbar_spice.hardware.crossbar import Crossbar


@pytest.mark.parametrize(("wires", "terminations"), list(product(WIRES, TERMINATIONS)), ids=name_of)
@pytest.mark.parametrize("side", ["rows", "cols"])
def test_it_is_a_reciprocal_network_without_ground_that_contains_the_read(wires, terminations, side, rng):
    crossbar = random_array(rng, wires, terminations)
    found = port_conductance(crossbar, side)
    driven = crossbar.ports(side)
    size = np.abs(found).max()
    assert np.abs(found - found.T).max() < 1e-11 * size
    assert np.abs(found.sum(axis=1)).max() < 1e-11 * size
    assert relative(-found[driven:, :driven], transfer(get_engine("nodal"), crossbar, side)) < 1e-10


@pytest.mark.parametrize(("r_driver", "r_sense"), [(30.0, 0.0), (0.0, 70.0), (200.0, 500.0)])
@pytest.mark.parametrize(("r_word", "r_bit"), [(0, 0), (3, 5), (0, 5)])
def test_resistances_in_series_with_its_terminals(r_word, r_bit, r_driver, r_sense, rng):
    """Y' = (1 + Y R)^-1 Y."""
    conductance = 10 ** rng.uniform(-5, -3, (4, 6))
    bare = port_conductance(Crossbar(conductance, r_word, r_bit))
    series = np.diag([r_driver] * 4 + [r_sense] * 6)
    wanted = np.linalg.solve(np.eye(10) + bare @ series, bare)
    assert relative(port_conductance(Crossbar(conductance, r_word, r_bit, r_driver, r_sense)), wanted) < 1e-10


def test_cells_without_a_conductance_are_refused():
    with pytest.raises(InvalidInputError, match=r"Sinh\(v0=0.1\) have no conductance matrix; use linear cells"):
        port_conductance(Crossbar([[1e-4]], device=Sinh(0.1)))
