"""Numbers of a fixed point, and that the counts of pulses of a linear device are their stochastic rounding."""

from __future__ import annotations

import numpy as np
import pytest
from support import truth

import xbar_spice as xs
from xbar_spice.errors import InvalidInputError

CASES = truth("flows")["cases"]
GIVEN = CASES["fixed_point_training"]["inputs"]


class Known(np.random.Generator):
    """A generator of known numbers."""

    def __init__(self, values: np.ndarray) -> None:
        super().__init__(np.random.PCG64(0))
        self.values = np.asarray(values)

    def random(self, size=None, dtype=np.float64, out=None):
        count = int(np.prod(size))
        taken, self.values = self.values[:count], self.values[count:]
        return taken.reshape(size)


def golden() -> Known:
    return Known(np.arange(1, 12_000) * 0.6180339887498949 % 1.0)


def test_reference_values() -> None:
    case = CASES["fixed_point"]
    given = case["inputs"]
    np.testing.assert_array_equal(xs.fixed_point(given["x"], given["IL"], given["FL"]), case["nearest"])
    found = xs.fixed_point(given["x"], given["IL"], given["FL"], "stochastic", Known(given["u"]))
    np.testing.assert_array_equal(found, case["stochastic"])


def test_stochastic_rounding_has_no_bias_and_its_variance() -> None:
    case, rng = CASES["fixed_point"], np.random.default_rng(0)
    given, many = case["inputs"], 20_000
    found = xs.fixed_point(np.repeat([given["x"]], many, axis=0), given["IL"], given["FL"], "stochastic", rng)
    for x, column, variance in zip(given["x"], found.T, case["stochastic_variance"], strict=True):
        if variance is not None:
            assert column.mean() == pytest.approx(x, abs=5 * np.sqrt(variance / many))
            assert column.var() == pytest.approx(variance, rel=0.05)


def descent(form, step) -> tuple[np.ndarray, list[float]]:
    """The loop of the reference: a product, its gradient, and `step`, each rounded by `form`."""
    X, y, w, losses = np.array(GIVEN["X"]), np.array(GIVEN["y"]), np.zeros(4), []
    for k in range(GIVEN["iters"]):
        x = X[:, k % X.shape[1]]
        a = float(form(np.atleast_1d(w @ x))[0])
        w = step(w, form((a - y[k % len(y)]) * x))
        losses.append(0.5 * float(np.mean((w @ X - y) ** 2)))
    return w, [losses[k] for k in GIVEN["listed"]]


@pytest.mark.parametrize("name", [name for name in CASES["fixed_point_training"]["results"] if name != "float"])
def test_descent_in_fixed_point(name: str) -> None:
    wanted = CASES["fixed_point_training"]["results"][name]
    IL, FL, rounding = wanted["format"]
    rng = golden()

    def form(values):
        return xs.fixed_point(values, IL, FL, rounding, rng)

    w, losses = descent(form, lambda w, g: form(w - GIVEN["lr"] * g))
    np.testing.assert_array_equal(w, wanted["w"])
    np.testing.assert_allclose(losses, wanted["loss_at"], rtol=1e-10)


@pytest.mark.parametrize("device", ["linear", "linear_coarse", "linear_nearest"])
def test_pulses_of_a_linear_device_are_rounding_in_units_of_their_step(device: str) -> None:
    """floor(-lr g / dw + u) pulses leave what the weight is in <1, FL> with dw = 2^-FL."""
    wanted = CASES["pulse_training"]["results"][device]
    rng, FL = golden(), round(-np.log2(wanted["device"]["dw"]))
    rounding = wanted["device"]["rounding"]

    def pulsed(w, g):
        return xs.fixed_point(w - GIVEN["lr"] * g, 2, FL, rounding, rng)

    w, losses = descent(lambda values: values, pulsed)
    np.testing.assert_allclose(w, wanted["w"], atol=1e-15)
    np.testing.assert_allclose(losses, wanted["loss_at"], rtol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (([0.1], 0, 4), "integer_bits must be"),
        (([0.1], 40, 40), "must be <= 52"),
        (([0.1], 3, 4, "stochastic"), "needs rng"),
        (([0.1], 3, 4, "up"), "rounding must be"),
    ],
)
def test_what_is_no_format_is_refused(arguments: tuple, text: str) -> None:
    with pytest.raises(InvalidInputError, match=text):
        xs.fixed_point(*arguments)
