"""Learning curves: medians and bands of the seeds, one colour for a way of training wherever it is drawn."""

import numpy as np
import pytest

from xbar_spice.errors import InvalidInputError
from xbar_spice.report.learning import LearningPanel, draw_learning
from xbar_spice.report.style import save

FIRST = {"digital": np.array([[0.3, 0.28], [0.2, 0.21], [0.4, 0.5]]), "hardware": np.array([[0.3, 0.1]])}
SECOND = {"hardware": np.array([[0.9, 0.2, 0.15], [0.8, 0.3, 0.1]])}


def test_curves_are_medians_with_the_same_colour_in_every_panel(tmp_path):
    figure = draw_learning(
        [LearningPanel("deployed", FIRST, reference=0.05), LearningPanel("from scratch", SECOND, first=1)],
        reference="on digital matrices",
    )
    left, right = figure.axes
    digital, hardware, line = left.get_lines()
    assert digital.get_xdata().tolist() == [0, 1]
    assert digital.get_ydata().tolist() == [0.3, 0.28]
    assert set(line.get_ydata()) == {0.05}
    (scratch,) = right.get_lines()
    assert scratch.get_xdata().tolist() == [1, 2, 3]
    assert scratch.get_color() == hardware.get_color() != digital.get_color()
    assert left.get_yscale() == "log"
    assert left.get_ylim() == right.get_ylim()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["digital", "hardware", "on digital matrices"]
    band = left.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (0.2, 0.5)
    assert all(path.stat().st_size for path in save(figure, tmp_path, "learning"))


def test_nothing_to_draw():
    with pytest.raises(InvalidInputError, match="at least one way of training"):
        draw_learning([LearningPanel("deployed", {})])
