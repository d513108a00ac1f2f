"""Wires of technologies: tables of the sources, and geometry."""

import numpy as np
import pytest
from support import truth

import xbar_spice as xs
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.technology import technology, wire_technology

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
