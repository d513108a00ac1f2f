"""The figure of an attribution."""

import numpy as np

from xbar_spice.cosim import Attribution
from xbar_spice.report.attribution import draw_attribution


def test_bars_are_the_values_and_the_largest_share_is_on_top():
    errors = np.einsum("i...,i->...", np.indices((2, 2)), np.array([0.01, 0.03]))
    record = Attribution(("wires", "programming error"), {"state": errors, "loss": 2 * errors}, {}).record
    figure = draw_attribution([record], ["state", "loss"])
    state, loss = figure.axes
    assert [label.get_text() for label in state.get_yticklabels()] == ["wires", "programming error"]
    assert np.allclose([bar.get_width() for bar in state.patches], [0.01, 0.03])
    assert np.allclose([bar.get_width() for bar in loss.patches], [0.02, 0.06])
    for markers in loss.lines[:2]:  # alone, and by removal
        assert np.allclose(markers.get_xdata(), [0.02, 0.06])
    assert state.get_title() == "state: 4 %"


def test_several_chips_are_drawn_as_medians_with_their_reach():
    sources = ("wires", "programming error")
    records = []
    for size in (1.0, 2.0, 6.0):
        errors = size * np.einsum("i...,i->...", np.indices((2, 2)), np.array([0.01, 0.03]))
        records.append(Attribution(sources, {"state": errors}, {}).record)
    (state,) = draw_attribution(records, ["state"]).axes
    assert np.allclose([bar.get_width() for bar in state.patches], [0.02, 0.06])
    whiskers = np.array([segment[:, 0] for segment in state.collections[0].get_segments()])
    assert np.allclose(whiskers, [[0.01, 0.06], [0.03, 0.18]])
    assert state.get_title() == "state: 8 %"
