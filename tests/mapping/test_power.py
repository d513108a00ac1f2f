"""What a read takes from its drivers, against the account of the circuit itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import xbar_spice as xs
from xbar_spice.hardware.cells import Sinh
from xbar_spice.hardware.reads import read_biases
from xbar_spice.mapping.power import read_power

WEIGHTS = np.random.default_rng(1).standard_normal((4, 5))
VECTORS = np.random.default_rng(2).standard_normal((5, 3))


def delivered(mapped: Any, side: Any) -> float:
    """Volts times amperes at all terminals of all arrays, the mean over the vectors."""
    vectors = VECTORS if side == "rows" else VECTORS[:4]
    watts = 0.0
    for crossbar, volts in zip(mapped.crossbars, mapped.drives(vectors, side), strict=True):
        biases = read_biases(crossbar, volts, side)
        with xs.get_engine("nodal").program(crossbar) as array:
            currents = array.bias(biases)
        at = {edge: getattr(biases, edge) for edge in ("left", "right", "top", "bottom")}
        driven = {edge: volts for edge, volts in at.items() if volts is not None}
        watts -= sum(np.nansum(volts * getattr(currents, edge)) for edge, volts in driven.items())
    return float(watts / vectors.shape[1])


@pytest.mark.parametrize("device", [xs.Ohmic(), Sinh(v0=0.2)], ids=["ohmic", "sinh"])
@pytest.mark.parametrize("side", ["rows", "cols"])
def test_the_power_of_a_read_is_that_of_its_terminals_but_for_what_wires_save(side: Any, device: Any) -> None:
    vectors = VECTORS if side == "rows" else VECTORS[:4]
    for r_word, least in ((1e-6, 1 - 1e-6), (100.0, 0.5)):
        mapped = xs.map_weights(WEIGHTS, xs.Design(tile=3, device=device, r_word=r_word, r_bit=1e-6))
        assert least < delivered(mapped, side) / read_power(mapped, vectors, side) < 1 + 1e-6
