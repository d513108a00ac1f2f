"""Crossbar values: conventions and checks."""

from dataclasses import replace

import numpy as np
import pytest

from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.crossbar import Crossbar, Terminations
from xbar_spice.hardware.reads import circuit_of, read_ends, reciprocal


def test_rows_are_word_lines_and_columns_are_bit_lines():
    crossbar = Crossbar([[1e-4, 2e-4, 3e-4], [4e-4, 5e-4, 6e-4]])
    assert crossbar.shape == (2, 3)
    assert (crossbar.ports("rows"), crossbar.ports("cols")) == (2, 3)


WIRED = Crossbar([[1e-4]], 1.0, 1.0, 5.0, 7.0)


@pytest.mark.parametrize(
    ("terminations", "side", "driven", "sensed"),
    [
        (Terminations(), "rows", {"left": 5.0}, {"bottom": 7.0}),
        (Terminations(), "cols", {"bottom": 7.0}, {"left": 5.0}),
        (Terminations(transposed="swapped_ends"), "cols", {"bottom": 5.0}, {"left": 7.0}),
        (Terminations(transposed="far_ends"), "cols", {"top": 5.0}, {"right": 7.0}),
        (Terminations("double"), "rows", {"left": 5.0, "right": 5.0}, {"bottom": 7.0}),
        (Terminations(sense="double"), "cols", {"bottom": 7.0, "top": 7.0}, {"left": 5.0}),
    ],
    ids=str,
)
def test_a_read_meets_the_array_at_its_ends(terminations, side, driven, sensed):
    """The conventions: rows are driven at the left through r_driver, columns sensed at the bottom through r_sense."""
    crossbar = replace(WIRED, terminations=terminations)
    hookup, ends = crossbar.hookup(side), read_ends(crossbar, side, np.array([0.2]))
    assert (hookup.driven, hookup.sensed) == (tuple(driven), tuple(sensed))
    for edge, end in ends.items():
        assert end.connected.item() == (edge in driven or edge in sensed)
        if end.connected:
            assert end.ohms.item() == (driven | sensed)[edge]
            assert end.volts.item() == (0.2 if edge in driven else 0.0)


@pytest.mark.parametrize("drive", ["single", "double"])
def test_same_ends_transposed_read_is_the_same_circuit(drive):
    crossbar = replace(WIRED, terminations=Terminations(drive))
    assert circuit_of(read_ends(crossbar, "rows")) == circuit_of(read_ends(crossbar, "cols"))
    assert reciprocal(crossbar)
    assert not reciprocal(replace(crossbar, terminations=Terminations(drive, "swapped_ends")))
    assert not reciprocal(replace(crossbar, amplifier=Amplifier(1e4)))


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
