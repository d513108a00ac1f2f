"""Figures of gradients: parts, directions, flipped signs and maps of devices."""

import numpy as np

from xbar_spice.report.device_maps import draw_device_maps
from xbar_spice.report.gradients import draw_directions, draw_parts
from xbar_spice.report.sign_flips import FlipCurves, draw_sign_flips


def errors(*values):
    return [{"relative_error": value} for value in values]


def test_parts_are_drawn_beside_the_whole():
    differences = {"bias": 0.1, "shift": 0.2, "total": 0.3}
    record = {
        "differences": {name: {"a": {"relative_error": value}} for name, value in differences.items()},
        "by": {
            axis: {name: {"a": errors(*(value * np.arange(1, length + 1)))} for name, value in differences.items()}
            for axis, length in (("step", 4), ("sample", 2))
        },
    }
    steps, samples = draw_parts([record], ("a",)).axes
    assert np.allclose(steps.get_lines()[0].get_ydata(), [0.1, 0.2, 0.3, 0.4])
    assert np.allclose(steps.get_lines()[1].get_ydata(), 0.1)
    assert np.allclose(samples.get_lines()[2].get_ydata(), [0.2, 0.4])
    assert samples.get_lines()[2].get_linestyle() == "None"


def direction(transpose, bias, expected):
    return {
        "differences": {"transpose": {"a": {"relative_error": transpose}}, "bias": {"a": {"relative_error": bias}}},
        "descent": {
            name: {"expected": value}
            for name, value in (("true", 1.0), ("hardware", expected), ("hybrid", 0.9), ("digital", 0.8))
        },
    }


def test_directions_show_what_is_missed_of_the_best_decrease():
    records = {
        "same_ends": [[direction(1e-15, 0.01, 0.999)], [direction(2e-15, 0.02, 0.99)]],
        "far_ends": [[direction(1e-3, 0.03, 0.99)], [direction(2e-3, 0.04, 0.9)]],
    }
    transpose, bias, missed = draw_directions([8, 16], records, ("a",)).axes
    assert np.allclose(transpose.get_lines()[1].get_ydata(), [1e-3, 2e-3])
    assert np.allclose(bias.get_lines()[0].get_ydata(), [0.01, 0.02])
    assert np.allclose(
        [line.get_ydata() for line in missed.get_lines()], [[1e-3, 0.01], [0.01, 0.1], [0.1] * 2, [0.2] * 2]
    )


def test_flips_of_nothing_are_left_out():
    keys = [(1.0, "digital"), (1.0, "true")]
    share, largest = ({key: [0.0, value] for key in keys} for value in (0.1, 0.2))
    curves = FlipCurves([8, 16], share, largest, {})
    above, below = draw_sign_flips({"dense": curves}).axes
    assert np.array_equal(above.get_lines()[0].get_ydata(), [np.nan, 0.1], equal_nan=True)
    assert np.array_equal(below.get_lines()[1].get_ydata(), [np.nan, 0.2], equal_nan=True)


def test_maps_show_the_devices_as_they_lie_and_the_tiles():
    values = np.arange(1.0, 33.0).reshape(2, 4, 4)
    figure = draw_device_maps(
        {"A": values, "B": 2 * values}, "std", tile=2, shares=np.array([0.7, 0.2, 0.1]), places=np.full((2, 2), 0.25)
    )
    plus, minus, share = figure.axes[:3]
    assert np.allclose(plus.get_images()[0].get_array(), values[0])
    assert np.allclose(minus.get_images()[0].get_array(), values[1])
    assert len(plus.get_lines()) == 2  # one edge between tiles each way
    assert np.allclose(share.get_lines()[0].get_ydata(), [0.7, 0.9, 1.0])
    assert [text.get_text() for text in figure.axes[5].texts] == ["25.0 %"] * 4
