"""Crossbar values: conventions and checks."""

import numpy as np
import pytest

from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.crossbar import Connection, Crossbar, Terminations


def test_rows_are_word_lines_and_columns_are_bit_lines():
    crossbar = Crossbar([[1e-4, 2e-4, 3e-4], [4e-4, 5e-4, 6e-4]])
    assert crossbar.shape == (2, 3)
    assert (crossbar.ports("rows"), crossbar.ports("cols")) == (2, 3)


def test_default_read_drives_left_and_senses_bottom():
    hookup = Crossbar([[1e-4]], r_driver=5.0, r_sense=7.0).hookup("rows")
    assert hookup.driven == (Connection("left", 5.0),)
    assert hookup.sensed == (Connection("bottom", 7.0),)


@pytest.mark.parametrize("drive", ["single", "double"])
def test_same_ends_transposed_read_is_the_same_circuit(drive):
    crossbar = Crossbar([[1e-4]], 1, 1, 5, 7, terminations=Terminations(drive))
    assert crossbar.hookup("rows").connections == crossbar.hookup("cols").connections


def test_far_ends_transposed_read_drives_top_and_senses_right():
    hookup = Crossbar([[1e-4]], 1, 1, 5, 7, terminations=Terminations(transposed="far_ends")).hookup("cols")
    assert hookup.driven == (Connection("top", 5.0),)
    assert hookup.sensed == (Connection("right", 7.0),)


def test_swapped_ends_give_the_driver_resistance_to_the_driven_side():
    hookup = Crossbar([[1e-4]], 1, 1, 5, 7, terminations=Terminations(transposed="swapped_ends")).hookup("cols")
    assert hookup.driven == (Connection("bottom", 5.0),)
    assert hookup.sensed == (Connection("left", 7.0),)


def test_both_ends_of_an_ideal_line_are_one_connection():
    assert len(Crossbar([[1e-4]], terminations=Terminations("double")).hookup("rows").driven) == 1
    assert len(Crossbar([[1e-4]], r_word=1.0, terminations=Terminations("double")).hookup("rows").driven) == 2


def test_conductance_is_a_read_only_copy():
    given = np.full((2, 2), 1e-4)
    crossbar = Crossbar(given)
    given[0, 0] = 1.0
    assert crossbar.conductance[0, 0] == 1e-4
    with pytest.raises(ValueError, match="read-only"):
        crossbar.conductance[0, 0] = 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"conductance": [1e-4]}, r"shape \(rows, cols\).*got \(1,\)"),
        ({"conductance": np.empty((0, 3))}, r"at least one cell, got \(0, 3\)"),
        ({"conductance": [[np.nan]]}, "finite"),
        ({"conductance": [[-1e-4]]}, "map signed weights"),
        ({"conductance": [[1e-4]], "r_word": -1.0}, "r_word must be finite and >= 0 ohm, got -1.0"),
        ({"conductance": [[1e-4]], "r_sense": np.inf}, "r_sense"),
    ],
)
def test_bad_values_are_refused_by_name(arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        Crossbar(**arguments)


@pytest.mark.parametrize("field", ["drive", "transposed"])
def test_unknown_terminations_list_what_is_allowed(field):
    with pytest.raises(InvalidInputError, match=f"{field} must be one of .*, got 'nowhere'"):
        Terminations(**{field: "nowhere"})


def test_unknown_side_is_refused():
    with pytest.raises(InvalidInputError, match="side must be one of 'rows', 'cols', got 'columns'"):
        Crossbar([[1e-4]]).hookup("columns")
