"""Weights to arrays and back."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import relative

from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.variation import Variation
from xbar_spice.mapping.design import Design
from xbar_spice.mapping.matrix import map_weights

WEIGHTS = np.array([[1.0, -2.0, 0.0], [0.5, 4.0, -1.0]])


def ideal_product(mapped, vectors, side):
    drives = mapped.drives(vectors, side)
    currents = [
        (xbar.conductance.T if side == "rows" else xbar.conductance) @ volts
        for xbar, volts in zip(mapped.crossbars, drives, strict=True)
    ]
    return mapped.products(currents, vectors, side)


def test_differential_pairs_follow_the_formula():
    plus, minus = map_weights(WEIGHTS, Design(g_min=1e-6, g_max=9e-6)).crossbars
    k = 8e-6 / 4.0
    assert plus.conductance == pytest.approx(1e-6 + k * np.maximum(WEIGHTS.T, 0))
    assert minus.conductance == pytest.approx(1e-6 + k * np.maximum(-WEIGHTS.T, 0))


def test_interleaved_pairs_are_neighbouring_bit_lines():
    (array,) = map_weights(WEIGHTS, Design(mapping="interleaved")).arrays
    plus, minus = map_weights(WEIGHTS).crossbars
    assert (array.crossbar.conductance[:, 0::2] == plus.conductance).all()
    assert (array.crossbar.conductance[:, 1::2] == minus.conductance).all()
    assert array.signs.tolist() == [1, -1, 1, -1]
    assert array.outputs.tolist() == [0, 0, 1, 1]


@given(
    shape=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    tile=st.one_of(st.none(), st.integers(1, 8)),
    mapping=st.sampled_from(["differential", "interleaved"]),
    side=st.sampled_from(["rows", "cols"]),
    seed=st.integers(0, 10**6),
)
def test_ideal_arrays_multiply_exactly(shape, tile, mapping, side, seed):
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal(shape)
    mapped = map_weights(weights, Design(mapping=mapping, tile=tile))
    matrix = weights if side == "rows" else weights.T
    vectors = rng.standard_normal((matrix.shape[1], 3)) * [1e-6, 1.0, 1e6]
    found = ideal_product(mapped, vectors, side)
    scale = np.abs(matrix).max() * np.abs(vectors).sum(axis=0)
    assert (np.abs(found - matrix @ vectors) <= 1e-12 * scale).all()


@pytest.mark.parametrize("mapping", ["differential", "interleaved"])
def test_tiles_are_no_larger_than_asked_and_share_their_devices(mapping, rng):
    weights = rng.standard_normal((10, 7))
    design = Design(mapping=mapping, variation=Variation(programming=0.1))
    whole = map_weights(weights, design, rng=np.random.default_rng(1))
    tiled = map_weights(weights, Design(**{**vars(design), "tile": 3}), rng=np.random.default_rng(1))
    assert len({array.name for array in tiled.arrays}) == len(tiled.arrays)
    assert all(array.inputs.size <= 3 and np.unique(array.outputs).size <= 3 for array in tiled.arrays)
    assert relative(ideal_product(tiled, np.eye(7), "rows"), ideal_product(whole, np.eye(7), "rows")) < 1e-12


def test_the_largest_input_is_read_at_v_read():
    mapped = map_weights(WEIGHTS, Design(v_read=0.3))
    drives = mapped.drives(np.array([[1.0, 0.0], [-5.0, 0.0], [2.0, 0.0]]), "rows")
    assert np.abs(drives[0][:, 0]).max() == pytest.approx(0.3)
    assert (drives[0][:, 1] == 0).all()


def test_a_zero_matrix_maps_to_equal_pairs():
    mapped = map_weights(np.zeros((2, 2)))
    assert (ideal_product(mapped, np.eye(2), "rows") == 0).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"mapping": "diff"},
            "mapping must be one of 'differential', 'interleaved', .* an object .* of Mapping, .* got 'diff'",
        ),
        ({"tile": 0}, "tile must be a whole number >= 1"),
        ({"tile": 2.5}, "tile must be a whole number >= 1"),
        ({"g_min": 1e-3}, "0 <= g_min < g_max"),
        ({"v_read": 0.0}, "v_read"),
        ({"r_bit": -1.0}, "r_bit must be finite and >= 0 ohm"),
        (
            {"variation": 0.05},
            r"variation must be one of 'relative', .* of ProgrammingError, .* got 0.05",
        ),
    ],
)
def test_bad_designs_are_refused(values, message):
    with pytest.raises(InvalidInputError, match=message):
        Design(**values)


@pytest.mark.parametrize("weights", [[1.0, 2.0], [[np.nan]], np.empty((0, 2))])
def test_bad_weights_are_refused(weights):
    with pytest.raises(InvalidInputError, match="weights must"):
        map_weights(weights)


@pytest.mark.parametrize("mapping", ["differential", "interleaved"])
def test_empty_tiles_are_left_out_and_the_others_keep_their_devices(mapping, rng):
    """A block-diagonal matrix on tiles: what is left are the same arrays with the same devices, and every product."""
    weights = np.kron(np.eye(3), rng.standard_normal((2, 2)))
    weights[4:, :2] = [[0.0, 0.0], [1.0, 0.0]]
    design = Design(mapping=mapping, tile=2, variation=Variation(programming=0.1))
    every = {array.name: array for array in map_weights(weights, design, rng=np.random.default_rng(0)).arrays}
    kept = map_weights(weights, replace(design, skip_empty=True), rng=np.random.default_rng(0)).arrays
    assert {array.name[:4] for array in kept} == {"t0_0", "t1_1", "t2_2", "t0_2"}
    assert len(every) / len(kept) == 9 / 4
    for array in kept:
        assert (array.crossbar.conductance == every[array.name].crossbar.conductance).all()
    exact = map_weights(weights, replace(design, skip_empty=True, variation=Variation()))
    vectors = rng.standard_normal((6, 3))
    for side, matrix in (("rows", weights), ("cols", weights.T)):
        assert relative(ideal_product(exact, vectors, side), matrix @ vectors) < 1e-14
    none = map_weights(np.zeros((4, 4)), Design(tile=2, mapping=mapping, skip_empty=True))
    assert {array.name[:4] for array in none.arrays} == {"t0_0"}
    assert relative(ideal_product(none, np.ones((4, 1)), "rows"), np.zeros((4, 1))) < 1e-15
