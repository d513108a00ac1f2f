"""Wires of technologies: tables of the sources, and geometry."""

from dataclasses import replace

import numpy as np
import pytest
from support import truth

import xbar_spice as xs
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.technology import technology, wire_technology
from xbar_spice.settings import seconds

ROWS = truth("programming")["wires"]["rows"]
NAMES = {
    "NeuroSim V1.0-V1.2, training V2.0-V2.1": "NeuroSim V1.2",
    "NeuroSim V1.3, 3D V1.0": "NeuroSim V1.3",
    "NeuroSim V1.4, V1.5": "NeuroSim V1.4",
}


@pytest.mark.parametrize(("source", "row"), [(NAMES[name], row) for name, rows in ROWS.items() for row in rows])
def test_published_tables(source, row):
    found = technology(f"{row['node']}nm", source=source)
    assert found.r_word == pytest.approx(row["ohm_per_cell"], rel=1e-12)
    assert found.r_bit == found.r_word
    assert found.c_word == pytest.approx(0.2e-9 * 2e-9 * row["width_nm"], rel=1e-12)


def test_cells_with_transistors_are_twice_as_long_and_warm_wires_resist_more():
    bare, long, warm = technology(22), technology(22, cell="1t1r"), technology(22, kelvin=400.0)
    assert (long.r_word, long.c_bit) == pytest.approx((2 * bare.r_word, 2 * bare.c_bit))
    assert warm.r_word == pytest.approx(1.451 * bare.r_word)
    assert technology(22, kelvin=250.0).r_word < bare.r_word


def test_thick_wires_have_the_resistivity_of_the_metal():
    thick = wire_technology(1e-3, 1e-3, 1e-3)
    assert thick.r_word == pytest.approx(1.68e-8 / 1e-3, rel=1e-3)
    thin = [wire_technology(w, 2 * w, 1e-7).r_word * 2 * w**2 for w in (4e-8, 2e-8, 1e-8)]
    assert np.all(np.diff(thin) > 0)
    exact = wire_technology(5e-8, 1e-7, 1e-7, barrier=3e-9, reflection=0.0, specularity=1.0)
    assert exact.r_word == pytest.approx(1.68e-8 * 1e-7 / (44e-9 * 97e-9), rel=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: xs.technology("21nm"), "node must be one of 130nm"),
        (lambda: xs.technology("22nm", source="ITRS"), "source must be one of 'NeuroSim V1.3'"),
        (lambda: xs.technology("22nm", cell="2t2r"), "cell must be one of"),
        (lambda: xs.technology("22nm", kelvin=4.0), "kelvin must be finite and >= 200"),
        (lambda: wire_technology(0.0, 1e-8, 1e-8), "width must be finite and > "),
        (lambda: wire_technology(1e-8, 1e-8, 1e-8, barrier=6e-9), "barrier must leave metal"),
        (lambda: wire_technology(1e-8, 1e-8, 1e-8, reflection=1.0), "reflection must be"),
    ],
)
def test_bad_technologies_are_refused(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make()


def test_a_technology_sets_the_wires_that_are_not_given():
    wires = xs.technology("22nm")
    design = xs.Design(technology="22nm", r_bit=0.0)
    assert (design.r_word, design.r_bit) == (wires.r_word, 0.0)
    assert replace(design, r_word=0.0).r_word == 0  # as attribution switches wires off
    assert replace(design, technology="32nm").r_word == xs.technology("32nm").r_word
    assert replace(design, technology=None).r_word == 0
    assert xs.Design(technology="7nm", technology_source="NeuroSim V1.4").r_bit == pytest.approx(2.085)
    assert xs.Design(technology="22nm(kelvin=350, cell='1t1r')").r_word == pytest.approx(2 * 1.2255 * wires.r_word)
    with pytest.warns(UserWarning, match="7nm .* are extrapolated: the source repeats"):
        xs.Design(technology="7nm")
    with pytest.raises(InvalidInputError, match="has no effect without technology"):
        xs.Design(technology_source="NeuroSim V1.4")
    with pytest.raises(InvalidInputError, match="node must be one of 130nm"):
        xs.Design(technology="23nm")


def test_a_technology_in_a_study_and_as_its_axis():
    from xbar_spice.study.study_file import parse_study

    axes = [{"name": "node", "fields": ["circuit.technology"], "values": ["22nm", "32nm"]}]
    content = {"name": "nodes", "model": {"weights": "w.npz"}, "circuit": {"r_bit": 5.0}, "axes": axes}
    designs = [parameters.design() for _, parameters in parse_study(content).points()]
    assert [design.r_word for design in designs] == [xs.technology(node).r_word for node in ("22nm", "32nm")]
    assert [design.r_bit for design in designs] == [5.0, 5.0]


def test_a_technology_on_the_command_line():
    from xbar_spice.cli.options import make_design, make_pulse

    given = {"technology": "22nm", "technology_source": None, "pulse_width": 1e-8, "pulse_rise": None}
    given |= {"c_word": None, "c_bit": 1e-15, "c_cell": None}
    _, farads = make_pulse(given)
    assert (farads.c_word, farads.c_bit, farads.c_cell) == (xs.technology("22nm").c_word, 1e-15, 0.0)
    assert make_design(given).r_word == xs.technology("22nm").r_word
    later = make_design({"variation": "published(fit='pcm')", "drift": "pcm", "after": seconds("1 day")})
    assert (later.after, later.variation, later.drift) == (86400.0, xs.PublishedError("pcm"), xs.PcmDrift())


@pytest.mark.parametrize("text", ["", "tomorrow", "1 fortnight", "-3 s", "1e"])
def test_times_that_are_none_are_refused(text):
    with pytest.raises(InvalidInputError, match="a time must be a number of seconds"):
        seconds(text)
