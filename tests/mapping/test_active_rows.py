"""Partial activation: some word lines at a time, with the wires of the others, and digital sums."""

import numpy as np
import pytest
from support import relative

import xbar_spice as xs
from xbar_spice.errors import InvalidInputError

WIRES = {"r_word": 4.0, "r_bit": 6.0, "r_driver": 30.0, "r_sense": 20.0}


@pytest.mark.parametrize("mapping", ["differential", "interleaved"])
@pytest.mark.parametrize("drive", ["single", "double"])
def test_each_read_is_that_of_the_whole_array_with_the_other_cells_off(mapping, drive, rng):
    weights, rows = rng.standard_normal((5, 7)), 7
    design = xs.Design(mapping=mapping, active_rows=3, terminations=xs.Terminations(drive), **WIRES)
    whole = xs.map_weights(weights, xs.Design(mapping=mapping, terminations=xs.Terminations(drive), **WIRES))
    blocks = xs.map_weights(weights, design)
    assert blocks.activations == 3
    by_name = {array.name: array for array in whole.arrays}
    engine = xs.get_engine("nodal")
    for block in blocks.arrays:
        name, _, number = block.name.rpartition("_")
        conductance = by_name[name].crossbar.conductance.copy()
        on = np.arange(rows) // 3 == int(number)
        assert block.inputs.tolist() == np.flatnonzero(on).tolist()
        conductance[~on] = 0.0
        crossbar = xs.Crossbar(conductance, **WIRES, terminations=xs.Terminations(drive))
        volts = rng.uniform(-0.2, 0.2, rows)
        forward = engine.program(block.crossbar).read(volts[on])
        assert relative(forward, engine.program(crossbar).read(volts)) < 1e-9
        volts = rng.uniform(-0.2, 0.2, conductance.shape[1])
        back = engine.program(block.crossbar).read(volts, "cols")
        assert relative(back, engine.program(crossbar).read(volts, "cols")[on]) < 1e-9


def test_products_are_sums_of_all_activations_and_lose_less(rng):
    weights, x = rng.standard_normal((24, 24)), rng.standard_normal(24)
    errors = []
    for active in (None, 12, 6, 3):
        with xs.program(weights, xs.Design(active_rows=active, r_word=0.0, r_bit=5.0), engine="nodal") as matrix:
            errors.append(relative(matrix.mv(x), weights @ x))
            assert relative(matrix.T.mv(matrix.mv(x)), matrix.to_dense().T @ matrix.mv(x)) < 1e-9
    assert errors == sorted(errors, reverse=True)
    with xs.program(weights, xs.Design(active_rows=5), engine="ideal") as matrix:
        assert relative(matrix.mv(x), weights @ x) < 1e-12


def test_without_wires_it_changes_nothing_and_counts(rng):
    weights = rng.standard_normal((4, 9))
    design = xs.Design(active_rows=4, tile=6)
    mapped = xs.map_weights(weights, design)
    assert mapped.activations == 2
    assert mapped.present.all()
    assert mapped.programmed == pytest.approx(weights)
    assert sorted({array.name for array in mapped.arrays})[:2] == ["t0_0m_0", "t0_0m_1"]


def test_a_record_counts_activations(rng):
    A, B = rng.standard_normal((5, 7)), rng.standard_normal((7, 5)) / 3
    model = xs.Model(A, B, h=0.25, steps=2, method="forward_euler")
    problem = xs.Problem(model, rng.standard_normal((7, 1)), xs.SquaredDistance(np.zeros((7, 1))))
    record = xs.cosimulate(problem, xs.Design(active_rows=3), engine="ideal").record
    reads = {name: sum(n for kind, n in record["reads"].items() if kind.startswith(name)) for name in ("A", "B")}
    assert record["activations"] == 3 * reads["A"] + 2 * reads["B"]
    assert "activations" not in xs.cosimulate(problem, xs.Design(), engine="ideal").record


def test_other_ends_of_transposed_reads_are_refused():
    with pytest.raises(InvalidInputError, match="active_rows takes terminations with transposed='same_ends' and sense"):
        xs.Design(active_rows=4, terminations=xs.Terminations(transposed="far_ends"))
    with pytest.raises(InvalidInputError, match="active_rows must be a whole number >= 1, or None"):
        xs.Design(active_rows=0)
