"""A mapping, a programming error, a noise and converters of one's own, each one class in one file outside."""

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import engine_or_skip, relative

import xbar_spice as xs
from xbar_spice.cosim import circuit_gradients, program_model
from xbar_spice.cosim.gradients.true_gradient import weight_gradients
from xbar_spice.cosim.run.cosimulation import solve_model
from xbar_spice.errors import InvalidInputError
from xbar_spice.mapping.export import write_netlists
from xbar_spice.parts import MAPPINGS

PARTS = Path(__file__).parents[1] / "parts"
ROW_PAIRS = f"{PARTS / 'signed_rows.py'}:RowPairs"
OFFSET = f"{PARTS / 'common_offset.py'}:CommonOffset"


@pytest.mark.parametrize("tile", [None, 2])
def test_a_mapping_of_ones_own_multiplies_and_transposes_exactly(tile, rng):
    W, x, y = rng.standard_normal((3, 5)), rng.standard_normal(5), rng.standard_normal(3)
    with xs.program(W, xs.Design(mapping=ROW_PAIRS, tile=tile), engine="ideal") as matrix:
        assert matrix.mv(x) == pytest.approx(W @ x, rel=1e-12)
        assert matrix.T.mv(y) == pytest.approx(W.T @ y, rel=1e-12)
        assert matrix.mapped.programmed == pytest.approx(W, rel=1e-12)


def test_its_transposed_read_is_the_transpose_through_any_engine(circuit_engine, rng):
    W = rng.standard_normal((3, 4))
    design = xs.Design(mapping=ROW_PAIRS, r_word=3.0, r_bit=2.0, r_driver=20.0, tile=3)
    with xs.program(W, design, engine=circuit_engine) as matrix:
        forward, backward = matrix.mv(np.eye(4)), matrix.T.mv(np.eye(3))
    assert relative(backward, forward.T) < 1e-9
    assert relative(forward, W) > 1e-4


def test_the_true_gradient_holds_for_it(dense):
    design = xs.Design(
        mapping=ROW_PAIRS, r_word=3.0, r_bit=2.0, tile=3, variation=xs.Variation(programming=0.1, stuck_off=0.1)
    )
    model = replace(dense.model, weight_range=(3.0, 2.0))
    problem = replace(dense, model=model)

    def loss(changed):
        A, B = program_model(changed, design, "nodal", seed=1)
        with A, B:
            return solve_model(replace(problem, model=changed), xs.ReluField(A, B), xs.SolverOptions()).loss

    A, B = program_model(model, design, "nodal", seed=1)
    with A, B:
        true = weight_gradients((A, B), circuit_gradients(problem, (A, B)).devices)
    step = 1e-5
    for i, j in ((0, 0), (1, 2)):
        moved = [model.A.copy(), model.A.copy()]
        moved[0][i, j] += step
        moved[1][i, j] -= step
        up, down = (loss(replace(model, A=W)) for W in moved)
        assert true["A"][i, j] == pytest.approx((up - down) / (2 * step), rel=1e-5, abs=1e-9)


@pytest.mark.ngspice
def test_its_decks_run_by_hand(tmp_path, rng):
    engine_or_skip("ngspice")
    W = rng.standard_normal((2, 3))
    mapped = xs.map_weights(W, xs.Design(mapping=ROW_PAIRS, r_word=1.0))
    files = write_netlists(mapped, tmp_path, name="W")
    assert "pairs of rows" not in files[0].read_text() or "word lines are plus and minus" in files[0].read_text()
    assert '"sign": -1' in (tmp_path / "W.forward.json").read_text()


def test_a_programming_error_of_ones_own(rng):
    design = xs.Design(variation=OFFSET, g_max=1e-4)
    mapped = xs.map_weights([[1.0, -0.5]], design, rng=rng)
    assert (mapped.slope == mapped.slope[0, 0, 0]).all()
    assert mapped.slope[0, 0, 0] > 1.0
    assert mapped.programmed == pytest.approx(mapped.slope[0, 0, 0] * np.array([[1.0, -0.5]]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", "mapping must be one of 'differential', 'interleaved', .* an object of your own class of Mapping"),
        ("nowhere:Class", "cannot be loaded: ModuleNotFoundError"),
        (f"{PARTS / 'signed_rows.py'}:Missing", "cannot be loaded: AttributeError"),
        (f"{PARTS / 'absent.py'}:RowPairs", "cannot be loaded: FileNotFoundError"),
        (f"{PARTS / 'signed_rows.py'}:NOT_A_CLASS", "must be a subclass of Mapping, got 3"),
        (f"{PARTS / 'common_offset.py'}:CommonOffset", "must be a subclass of Mapping"),
        ("os:system(command='true')", "must be a subclass of Mapping, got <built-in function system>"),
        (f"{ROW_PAIRS}(levels=3)", "cannot be made with .*levels"),
        (f"{ROW_PAIRS}(3)", "options of mapping .* must be literals"),
        (f"{ROW_PAIRS}(gain=__import__('os'))", "must be literals"),
        ("interleaved(", "mapping must be one of"),
    ],
)
def test_what_is_no_mapping_is_refused(text, message):
    with pytest.raises(InvalidInputError, match=message):
        xs.Design(mapping=text)


def test_the_class_in_place_of_an_object_is_noticed():
    with pytest.raises(InvalidInputError, match=r"did you mean Interleaved\(\)\?"):
        xs.Design(mapping=type(MAPPINGS.get("interleaved")))


def test_a_part_of_a_file_goes_to_other_processes():
    part = MAPPINGS.get(f"{ROW_PAIRS}(gain=0.5)")
    assert pickle.loads(pickle.dumps(part)) == part
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer))"
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(part), capture_output=True, check=True)
    assert done.stdout.strip() == b"RowPairs(gain=0.5)"


def test_options_and_texts_go_both_ways():
    made = MAPPINGS.get(f"{ROW_PAIRS}(gain=0.5)")
    assert made.gain == 0.5
    assert MAPPINGS.text(MAPPINGS.get("interleaved")) == "interleaved"
    assert MAPPINGS.text(made).endswith("signed_rows:RowPairs(gain=0.5)")


def test_converters_of_ones_own_stand_between_currents_and_products(rng):
    W, x = rng.standard_normal((4, 6)), rng.standard_normal((6, 9))
    converters = f"{PARTS / 'inexact_gain.py'}:InexactGain(bits=8, gain_error=0.05)"
    with (
        xs.program(W, xs.Design(converters=converters), engine="ideal") as wrong,
        xs.program(
            W, xs.Design(converters=xs.Converters(adc_bits=8, adc_reference="devices")), engine="ideal"
        ) as right,
    ):
        assert relative(wrong.mv(x), 1.05 * right.mv(x)) < 1e-12
        np.testing.assert_allclose(wrong.spread(x), right.spread(x), rtol=1e-12)


def test_noise_of_ones_own_is_what_reads_deviate_by(rng):
    W, x = rng.standard_normal((3, 5)), np.repeat(rng.standard_normal((5, 1)), 4000, axis=1)
    noise = f"{PARTS / 'shot_noise.py'}:ShotNoise(bandwidth=1e11)"
    with xs.program(W, xs.Design(noise=noise), engine="ideal", noise_rng=rng) as matrix:
        deviation = np.std(matrix.mv(x), axis=1)
        np.testing.assert_allclose(deviation, matrix.spread(x)[:, 0], rtol=0.06)  # five times its own deviation
