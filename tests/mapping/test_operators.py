"""Weight matrices that are read from arrays."""

import numpy as np
import pytest
from support import relative

from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.variation import Variation
from xbar_spice.mapping.analog_matrix import program
from xbar_spice.mapping.design import Design
from xbar_spice.mapping.trace import ReadTrace
from xbar_spice.read_context import stage


@pytest.fixture
def weights(rng):
    return rng.standard_normal((5, 7))


@pytest.mark.parametrize("mapping", ["differential", "interleaved"])
@pytest.mark.parametrize("tile", [None, 3])
def test_operator_laws(engine, mapping, tile, weights, rng):
    with program(weights, engine=engine, r_word=1.0, r_bit=2.0, r_driver=10.0, tile=tile, mapping=mapping) as analog:
        x, y = rng.standard_normal((7, 4)), rng.standard_normal((5, 4))
        dense = analog.to_dense()
        assert analog.shape == (5, 7)
        assert analog.T.shape == (7, 5)
        assert relative(analog.mv(x), dense @ x) < 1e-11
        assert relative(analog.T.mv(y), dense.T @ y) < 1e-11
        assert relative(analog.T.mv(y[:, 0]), dense.T @ y[:, 0]) < 1e-11
        assert relative(analog.as_scipy().matmat(x), dense @ x) < 1e-11


def test_ideal_arrays_are_the_digital_matrix(weights):
    with program(weights, engine="ideal", tile=2) as analog:
        assert relative(analog.to_dense(), weights) < 1e-12


def test_larger_tiles_lose_more(weights, rng):
    large = rng.standard_normal((32, 32))
    errors = [relative(program(large, r_word=2.0, r_bit=2.0, tile=tile).to_dense(), large) for tile in (4, 8, 16, 32)]
    assert errors == sorted(errors)


def test_one_seed_is_one_chip(weights):
    design = Design(variation=Variation(programming=0.1))
    chips = [program(weights, design, rng=np.random.default_rng(seed)).to_dense() for seed in (1, 1, 2)]
    assert (chips[0] == chips[1]).all()
    assert (chips[0] != chips[2]).any()


def test_every_read_is_recorded_with_its_stage(weights, rng):
    trace = ReadTrace()
    analog = program(weights, name="A", trace=trace, r_word=1.0)
    with stage(phase="krylov", step=2, newton=1, krylov=3):
        analog.mv(rng.standard_normal((7, 4)))
    analog.T.mv(rng.standard_normal(5))
    first, second = trace
    assert (first.phase, first.step, first.newton, first.krylov) == ("krylov", 2, 1, 3)
    assert (first.matrix, first.direction, first.batch) == ("A", "forward", 4)
    assert (second.phase, second.direction, second.batch) == ("", "transposed", 1)
    assert 0 < first.relative_error <= first.worst_relative_error < 0.1
    assert trace.columns()["matrix"] == ["A", "A"]


def test_recorded_error_is_against_the_wanted_weights(weights, rng):
    trace = ReadTrace()
    analog = program(weights, trace=trace, r_bit=5.0)
    x = rng.standard_normal((7, 3))
    error = np.linalg.norm(analog.mv(x) - weights @ x) / np.linalg.norm(weights @ x)
    assert next(iter(trace)).relative_error == pytest.approx(error)


def test_an_empty_batch_costs_no_read(weights):
    trace = ReadTrace()
    assert program(weights, trace=trace).mv(np.zeros((7, 0))).shape == (5, 0)
    assert len(trace) == 0


def test_bad_input_is_refused_by_name(weights):
    with pytest.raises(InvalidInputError, match=r"unknown design field r_wrd; allowed are .*r_word"):
        program(weights, r_wrd=1.0)
    with pytest.raises(InvalidInputError, match=r"shape \(5, 7\) multiplies vectors of shape \(7,\)"):
        program(weights).mv(np.zeros(5))
    with pytest.raises(InvalidInputError, match="matrix 'A' cannot be read with NaN"):
        program(weights, name="A").mv(np.full(7, np.nan))
    with pytest.raises(InvalidInputError, match=r"variation.*rng|rng=numpy"):
        program(weights, variation=Variation(programming=0.1))
