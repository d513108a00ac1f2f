"""A co-simulation whose digital part keeps its numbers in <IL, FL>: weights, and what goes into and out of arrays."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import xbar_spice as xs
from xbar_spice.cli.app import app
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.digital_numbers import DigitalNumbers

RNG = np.random.default_rng(0)
A, B, BIAS = RNG.normal(size=(4, 3)), RNG.normal(size=(3, 4)), RNG.normal(size=4)
FIELD = xs.ActivationField(A, B, "tanh", bias=BIAS)
MODEL = xs.Model(field=FIELD, h=0.25, steps=3, method="forward_euler")
Z0 = RNG.normal(size=(3, 5))
PROBLEM = xs.Problem(MODEL, Z0, xs.SquaredDistance(np.zeros((3, 5))))


def design(**numbers: Any) -> xs.Design:
    return xs.Design(numbers=DigitalNumbers(**numbers))


@pytest.mark.parametrize("rounded", ["both", "weights", "activations"])
def test_ideal_arrays_compute_what_rounded_matrices_do(rounded: Any) -> None:
    """Step by step: what is read by, and the sum of what is read, are rounded once; the state is not."""
    found = xs.cosimulate(PROBLEM, design(integer_bits=3, fraction_bits=5, rounded=rounded), engine="ideal")

    def to(values: np.ndarray, what: str) -> np.ndarray:
        return xs.fixed_point(values, 3, 5) if rounded in ("both", what) else values

    for z, after in pairwise(found.z):
        s = to(to(A, "weights") @ to(z, "activations"), "activations") + to(BIAS, "weights")[:, np.newaxis]
        wanted = z + 0.25 * to(to(B, "weights") @ to(np.tanh(s), "activations"), "activations")
        off = np.abs(after - wanted)
        assert (off > 1e-9).mean() <= 0.1  # the sums of numbers may be ties, of which the last digit of a read decides
        assert off.max() < 0.25 * 2.0**-5 * (1 + np.abs(B).sum(axis=1).max())


def test_the_record_counts_what_was_rounded_and_what_was_out_of_range() -> None:
    found = xs.cosimulate(PROBLEM, design(integer_bits=1, fraction_bits=4), engine="ideal")
    entry = found.record.fixed_point
    assert entry is not None
    assert entry.weights == A.size + B.size + BIAS.size
    top = 1.0 - 2.0**-4
    assert entry.weights_saturated == sum(int(((v < -1) | (v > top)).sum()) for v in (A, B, BIAS))
    assert entry.activations == sum(7 * read.batch for read in found.trace)  # 3 + 4 of a vector, either way
    assert 0 < entry.activations_saturated < entry.activations
    exact = xs.cosimulate(PROBLEM, xs.Design(), engine="ideal").record
    assert exact.fixed_point is None
    assert exact.state.relative_error < 1e-12


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_errors_fall_with_the_spacing_as_expected(rounding: Any) -> None:
    def found(bits: int) -> xs.Problem:
        held = design(integer_bits=4, fraction_bits=bits, rounding=rounding)
        return xs.cosimulate(PROBLEM, held, engine="ideal", seed=1).record

    errors = [found(bits).state.relative_error for bits in (4, 8, 12)]
    assert errors[0] > 5 * errors[1] > 25 * errors[2] > 0
    with xs.program(A, design(integer_bits=4, fraction_bits=6, rounding=rounding), engine="ideal",
                    rounding_rng=np.random.default_rng(0)) as one:  # fmt: skip
        x = np.random.default_rng(1).normal(size=(3, 4000))
        deviation = np.sqrt(np.mean((one.mv(x) - A @ x) ** 2))
        assert deviation == pytest.approx(np.sqrt(np.mean(one.spread(x) ** 2)), rel=0.1)


def test_stochastic_rounding_follows_the_seed_and_leaves_devices_alone() -> None:
    held = replace(design(integer_bits=4, fraction_bits=6, rounding="stochastic", rounded="activations"),
                   variation=xs.Variation(programming=0.1))  # fmt: skip
    first, again, other = (xs.cosimulate(PROBLEM, held, engine="ideal", seed=seed).z for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0
    fine = replace(held, numbers=DigitalNumbers(8, 40))
    exact = replace(held, numbers=DigitalNumbers())
    runs = [xs.cosimulate(PROBLEM, one, engine="ideal", seed=0).z for one in (fine, exact)]
    np.testing.assert_allclose(*runs, atol=1e-9)  # the same chip


def test_implicit_steps_end_where_rounding_lets_them() -> None:
    problem = xs.Problem(replace(MODEL, method="implicit_euler"), Z0, PROBLEM.objective)
    found = xs.cosimulate(problem, design(integer_bits=4, fraction_bits=8), engine="ideal")
    assert found.record.converged
    assert 0 < found.record.noise < 0.1


def test_attribution_counts_the_fixed_point_as_a_source() -> None:
    held = replace(design(integer_bits=3, fraction_bits=3), r_word=5.0)
    found = xs.attribute(PROBLEM, held, engine="nodal")
    assert found.record["sources"] == ["wires", "fixed point"]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"integer_bits": 0}, "integer_bits must be a whole number from 1 to 52"),
        ({"integer_bits": 4, "fraction_bits": 60}, "fraction_bits must be a whole number from 0 to 52"),
        ({"integer_bits": 20, "fraction_bits": 40}, "must be <= 52"),
        ({"fraction_bits": 3}, "integer_bits"),
        ({"integer_bits": 4, "rounding": "up"}, "rounding must be"),
    ],
)
def test_formats_that_are_none_are_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidInputError, match=text):
        DigitalNumbers(**given)


def test_the_options_of_the_command_line(tmp_path: Any) -> None:
    xs.save_model(tmp_path / "m.npz", xs.Model(A, B, h=0.25, steps=2))
    words = f"cosim {tmp_path}/m.npz --data random --engine ideal --integer-bits 4 --fraction-bits 6"
    found = CliRunner().invoke(app, [*words.split(), "--digital-rounding", "stochastic"], catch_exceptions=False)
    assert found.exit_code == 0
    assert "activations rounded, 0 out of range; 24 weights, 0 out of range" in found.output
