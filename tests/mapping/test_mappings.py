"""Laws of every mapping: round trips, transposes, true gradients, and published arithmetic."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import relative, truth

import xbar_spice as xs
from xbar_spice.cosim import circuit_gradients, program_model
from xbar_spice.cosim.gradients.true_gradient import weight_gradients
from xbar_spice.cosim.run.cosimulation import solve_model
from xbar_spice.errors import InvalidInputError
from xbar_spice.mapping.offset import Offset
from xbar_spice.mapping.pairs import Differential, Interleaved, SignedRows
from xbar_spice.mapping.slices import BitSliced, Signs

SIGNS = ("sign_magnitude", "offset", "twos_complement", "signed_digits")
PAIRS = [
    kind(devices, rest)
    for kind, devices, rest in product([Differential, Interleaved, SignedRows], [1, 3], ["g_min", "g_max"])
]
CONTINUOUS = [*PAIRS, Offset(), Offset("digital")]
SLICED = [BitSliced(bits, slice_bits, signs) for bits, slice_bits in ((4, 1), (4, 2), (8, 3)) for signs in SIGNS]
W7 = np.array([[3, -5, 0, 7], [-2, 1, -7, 4], [6, -1, 2, -3]], dtype=float)


def steps_of(mapping, largest):
    """The spacing of the weights that a mapping can hold; 0 where every weight is one."""
    return largest / mapping.largest if isinstance(mapping, BitSliced) else 0.0


@given(
    shape=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    tile=st.one_of(st.none(), st.integers(1, 8)),
    mapping=st.sampled_from([*CONTINUOUS, *SLICED]),
    scale=st.sampled_from(["matrix", "tile", "column"]),
    order=st.sampled_from(["given", "conductance"]),
    skip_empty=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_weights_come_back_within_the_stated_rounding(shape, tile, mapping, scale, order, skip_empty, seed):
    rng = np.random.default_rng(seed)
    W = rng.standard_normal(shape) * (rng.random(shape) < 0.7)
    design = xs.Design(mapping=mapping, tile=tile, scale=scale, order=order, skip_empty=skip_empty)
    largest = float(np.abs(W).max())
    with xs.program(W, design, engine="ideal") as matrix:
        mapped = matrix.mapped
        allowed = 0.5001 * steps_of(mapping, largest) + 1e-12 * (largest or 1.0)
        assert np.abs(mapped.programmed - W).max() <= allowed
        assert np.abs(matrix.mv(np.eye(shape[1])) - mapped.programmed).max() <= 1e-10 * (largest or 1.0)
        assert np.abs(matrix.T.mv(np.eye(shape[0])) - mapped.programmed.T).max() <= 1e-10 * (largest or 1.0)
        for array in mapped.arrays:
            assert array.crossbar.conductance.min() >= design.g_min * (1 - 1e-12)
            assert array.crossbar.conductance.max() <= design.g_max * (1 + 1e-12)
        assert mapped.clipped == 0.0


@pytest.mark.parametrize("mapping", [*CONTINUOUS, *SLICED], ids=repr)
def test_the_transposed_read_is_the_exact_transpose_with_wires(mapping, rng):
    W = rng.standard_normal((4, 5))
    design = xs.Design(mapping=mapping, tile=3, r_word=2.0, r_bit=3.0, r_driver=50.0, r_sense=50.0, scale="column")
    with xs.program(W, design) as matrix:
        assert relative(matrix.T.mv(np.eye(4)), matrix.mv(np.eye(5)).T) < 1e-10


def test_a_digital_reference_knows_nothing_of_the_wires(rng):
    """A column of devices loses to the wires about what the others lose; a number does not."""
    W = rng.standard_normal((4, 5))
    errors = []
    for mapping in (Offset("digital"), Offset("column")):
        with xs.program(W, xs.Design(mapping=mapping, r_word=2.0, r_bit=3.0, r_driver=50.0, r_sense=50.0)) as matrix:
            errors.append(relative(matrix.mv(np.eye(5)), W))
    assert errors[0] > 1.5 * errors[1]


@pytest.mark.parametrize("driver", [50.0, 100.0])
@pytest.mark.parametrize(
    ("name", "mapping"),
    [("pair columns", Interleaved()), ("interleaved +-V rows", SignedRows()), ("offset, ref column", Offset())],
)
def test_published_arrays(name, mapping, driver):
    """Currents with wires of 2 and 3 ohm; the offset is counted as the pairs are.

    The published arrays have no segment between a terminal and the first cell, and swap the resistances of drivers and
    sense terminals in a transposed read.
    """
    sense = {50.0: 50.0, 100.0: 20.0}[driver]
    wanted = truth("programming")["mapping_wires"]["cases"][f"{name} Rd={driver} Rs={sense}"]
    design = xs.Design(
        mapping=mapping, g_min=1e-5, g_max=1e-4, r_word=2.0, r_bit=3.0, r_driver=driver - 2.0, r_sense=sense - 3.0
    )
    siemens = 9e-5 / 7  # of a weight of 1, by which the amperes of the reference are counted
    with xs.program(W7, design) as matrix:
        found = matrix.mv(0.05 * np.array([1.0, -2.0, 3.0, 2.0])) * siemens
        back = matrix.T.mv(0.05 * np.array([2.0, -1.0, 3.0])) * siemens
    assert found == pytest.approx(wanted["fwd"], rel=1e-9)
    if driver == sense:
        assert back == pytest.approx(wanted["rev"], rel=1e-9)


@pytest.mark.parametrize("mapping", [BitSliced(4, 1, s) for s in SIGNS] + [BitSliced(4, 2, s) for s in SIGNS], ids=repr)
def test_whole_numbers_are_multiplied_exactly(mapping):
    with xs.program(W7, xs.Design(mapping=mapping), engine="ideal") as matrix:
        assert matrix.mv([1.0, -2.0, 3.0, 2.0]) == pytest.approx([27, -17, 8], rel=1e-12)
        assert matrix.T.mv([2.0, -1.0, 3.0]) == pytest.approx([26, -14, 13, 1], rel=1e-12)


@given(bits=st.integers(2, 16), slice_bits=st.integers(1, 8), signs=st.sampled_from(SIGNS), seed=st.integers(0, 99))
def test_digits_add_up(bits, slice_bits, signs, seed):
    mapping = BitSliced(bits, slice_bits, signs)
    top = mapping.largest
    numbers = np.append(np.random.default_rng(seed).integers(-top, top + 1, 50), [0, top, -top])
    digits = mapping.digits(numbers)
    places = np.array(mapping.places)
    zero = mapping.digits(np.zeros(1, dtype=np.int64))
    value = places @ digits - (places @ zero if signs == "offset" else 0)
    assert (value == numbers).all()
    largest = max(2**slice_bits // 2, 1) if signs == "signed_digits" else 2**slice_bits - 1
    assert np.abs(digits).max() <= largest


@pytest.mark.parametrize("scale", ["matrix", "tile"])
@pytest.mark.parametrize("mapping", CONTINUOUS, ids=repr)
def test_the_true_gradient_holds(mapping, scale, dense):
    """Against central differences of the analog loss, wires, stuck devices and all."""
    design = xs.Design(mapping=mapping, r_word=3.0, r_bit=2.0, r_driver=20.0, tile=3, order="conductance")
    design = replace(design, variation=xs.Variation(programming=0.1, stuck_off=0.1), headroom=1.5)
    model = replace(dense.model, weight_range=(3.0, 2.0))
    problem = replace(dense, model=model)

    def loss(A):
        changed = replace(model, A=A)
        chip = program_model(changed, design, "nodal", seed=1)
        with chip[0], chip[1]:
            return solve_model(replace(problem, model=changed), xs.ReluField(*chip), xs.SolverOptions()).loss

    A, B = program_model(model, design, "nodal", seed=1)
    with A, B:
        true = weight_gradients((A, B), circuit_gradients(problem, (A, B)).devices)["A"]
    direction = np.random.default_rng(3).standard_normal(model.A.shape)
    step = 1e-5
    slope = (loss(model.A + step * direction) - loss(model.A - step * direction)) / (2 * step)
    assert np.vdot(true, direction) == pytest.approx(slope, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("mapping", SLICED, ids=repr)
def test_rounding_is_passed_straight_through(mapping, dense):
    """Without wires and errors every weight's gradient is that of its product."""
    design = xs.Design(mapping=mapping)
    A, B = program_model(dense.model, design, "nodal", seed=1)
    with A, B:
        found = circuit_gradients(dense, (A, B))
        true = weight_gradients((A, B), found.devices)
    assert relative(true["A"], found.effective["A"]) < 1e-9


def test_weights_beyond_the_covered_part_are_clipped_and_counted(rng):
    W = np.append(rng.uniform(-1, 1, 98), [50.0, -40.0]).reshape(10, 10)
    mapped = xs.map_weights(W, xs.Design(coverage=0.9))
    assert 0.08 <= mapped.clipped <= 0.12
    whole = xs.map_weights(W)
    assert whole.clipped == 0.0
    inside = np.abs(W) < 0.5
    assert mapped.programmed[inside] == pytest.approx(W[inside], rel=1e-9)
    assert np.abs(mapped.programmed).max() == pytest.approx(np.quantile(np.abs(W), 0.9), rel=1e-9)


@pytest.mark.parametrize("mapping", ["signed_rows", "offset", "bit_sliced(bits=4)"])
def test_manifests_say_how_lines_count(mapping, tmp_path):
    import json

    mapped = xs.map_weights(W7, xs.Design(mapping=mapping, tile=2))
    xs.write_netlists(mapped, tmp_path, name="W")
    manifest = json.loads((tmp_path / "W.forward.json").read_text())
    for entry, array in zip(manifest["arrays"], mapped.arrays, strict=True):
        assert entry["factor"] == array.factor
        sensed = [terminal for terminal in entry["terminals"] if terminal["role"] == "sense"]
        assert [terminal["sign"] for terminal in sensed] == array.cols.weight.tolist()
        if array.cols.shared is not None:
            assert [terminal["shared"] for terminal in sensed] == array.cols.shared.tolist()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Differential(devices=0), "devices must be a whole number from 1"),
        (lambda: Interleaved(rest="middle"), "rest must be one of 'g_min', 'g_max'"),
        (lambda: Offset("row"), "reference must be one of 'column', 'digital'"),
        (lambda: BitSliced(bits=1), "bits must be a whole number from 2 to 24"),
        (lambda: BitSliced(slice_bits=0), "slice_bits must be"),
        (lambda: BitSliced(signs="ones"), "signs must be one of 'sign_magnitude'"),
        (lambda: xs.Design(scale="row"), "scale must be one of"),
        (lambda: xs.Design(coverage=0.0), "coverage must be finite and > 0"),
        (lambda: xs.Design(order="random"), "order must be one of"),
    ],
)
def test_bad_values_are_refused(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make()


def test_all_ways_to_write_signs_are_tested():
    from typing import get_args

    assert set(SIGNS) == set(get_args(Signs))
