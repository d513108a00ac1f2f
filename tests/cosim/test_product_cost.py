"""Time and energy of a product, for all rows at once and some at a time."""

import numpy as np
import pytest

import xbar_spice as xs
from xbar_spice.cosim import product_cost
from xbar_spice.errors import InvalidInputError

HELD = xs.LineCapacitance(2e-13, 2e-13)
WIRES = {"r_word": 2.0, "r_bit": 2.0, "r_driver": 50.0, "r_sense": 20.0}


def test_reads_add_up_in_time_and_energy(rng):
    weights, x = rng.standard_normal((4, 6)), rng.standard_normal(6)
    costs = [
        product_cost(xs.map_weights(weights, xs.Design(active_rows=rows, **WIRES)), x, HELD) for rows in (None, 3, 2)
    ]
    assert [cost.reads for cost in costs] == [1, 2, 3]
    assert [cost.conversions for cost in costs] == [8, 16, 24]
    for cost in costs:
        assert cost.seconds == pytest.approx(cost.reads * 2 * (cost.settling + 1e-12), rel=1e-9)
    mapped = xs.map_weights(weights, xs.Design(**WIRES))
    watts = sum(
        xs.solve_array(array.crossbar, volts[:, 0]).source_power
        for array, volts in zip(mapped.arrays, mapped.drives(x[:, np.newaxis], "rows"), strict=True)
    )
    assert costs[0].joule > 0.5 * watts * costs[0].settling
    slow = product_cost(mapped, x, xs.LineCapacitance(2e-10, 2e-10))
    assert slow.settling > 100 * costs[0].settling
    with pytest.raises(InvalidInputError, match=r"takes x of shape \(6,\), got \(4,\)"):
        product_cost(mapped, np.ones(4), HELD)
