"""Decks of every dialect, run by a simulator that reads it, give the products of the exact solver."""

from __future__ import annotations

import re
import shutil
import subprocess

import numpy as np
import pytest
from click.testing import CliRunner
from support import engine_or_skip

import xbar_spice as xs
from xbar_spice.cli.app import app
from xbar_spice.errors import InvalidInputError, SimulationError
from xbar_spice.hardware.behind_via import BehindVia
from xbar_spice.hardware.dynamic.yakopcic import TwoSidedSinh
from xbar_spice.hardware.table_cell import TableCell
from xbar_spice.mapping.export import write_netlists
from xbar_spice.mapping.matrix import map_weights
from xbar_spice.mapping.readback import readback

pytestmark = [
    pytest.mark.ngspice,
    pytest.mark.skipif(shutil.which("ngspice") is None, reason="the ngspice command is not installed"),
]

VOLTS = np.linspace(-0.5, 0.5, 9)
LEVELS = (1e-6, 1e-5, 1e-4, 1e-3)
DESIGNS = {
    "ohmic": {},
    "sinh": {"device": xs.Sinh(0.25)},
    "1T1R": {"device": xs.OneTransistorOneResistor(), "reltol": 1e-10},
    "1S1R": {"device": xs.OneSelectorOneResistor(), "amplifier": xs.Amplifier(r_feedback=1e3, gain=100.0)},
    "polynomial": {"device": xs.Polynomial(), "g_min": 6e-5, "g_max": 2e-4},
    "two sides": {"device": TwoSidedSinh(0.25, 0.7), "amplifier": xs.Amplifier(r_feedback=3e3, saturation=0.1)},
    "behind a via": {"device": BehindVia(500.0, xs.Sinh(0.25))},
    "table": {
        "device": TableCell(LEVELS, [VOLTS] * 4, [g * 0.25 * np.sinh(VOLTS / 0.25) for g in LEVELS]),
        "amplifier": xs.Amplifier(r_feedback=1e3),
    },
}
WORDS = re.compile(r"[A-Za-z*+.][^{}?^]*")  # lines of Spice3f5: nothing is computed but in sources B


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("dialect", ["spice3", "vacask"])
def test_products_are_those_of_the_exact_solver(dialect, name, tmp_path, rng):
    if dialect == "vacask":
        engine_or_skip("vacask")
    design = xs.Design(r_word=1.0, r_bit=2.0, r_driver=10.0, r_sense=20.0, tile=3, **DESIGNS[name])
    mapped = map_weights(rng.standard_normal((2, 4)), design)
    vector, side = rng.standard_normal(2), "cols"
    if (dialect, name) == ("vacask", "table"):
        with pytest.raises(InvalidInputError, match="VACASK has no TableCell cells"):
            write_netlists(mapped, tmp_path, name="A", side=side, dialect=dialect)
        return
    files = write_netlists(mapped, tmp_path, name="A", side=side, vector=vector, dialect=dialect)
    with xs.get_engine("nodal").program_bank(mapped.crossbars) as bank:
        drives = mapped.drives(vector[:, np.newaxis], side)
        wanted = mapped.products(bank.read(drives, side), vector[:, np.newaxis], side)[:, 0]
    (found,) = readback(tmp_path)
    np.testing.assert_allclose(found.product, wanted, rtol=1e-9, atol=1e-9 * np.abs(wanted).max())
    text = files[0].read_text()
    assert re.search(rf"run by hand: .*{files[0].name}", text)
    if dialect == "spice3":
        assert not re.search(r"^\.(?!subckt|ends|model|options|dc|print|end$)|\bklu\b", text, re.M | re.I)
        assert all(WORDS.fullmatch(line) for line in text.splitlines() if line)
    # The decks of single arrays are run where one of them was edited.
    single = next(path for path in files if path.parent.name == "A" and path.suffix == files[0].suffix)
    single.write_text(single.read_text() + ("// edited\n" if dialect == "vacask" else "* edited\n"))
    (again,) = readback(tmp_path)
    assert again.edited
    np.testing.assert_allclose(again.product, found.product, rtol=1e-9, atol=1e-9 * np.abs(wanted).max())


def test_decks_for_spice3_print_what_a_read_returns(tmp_path, rng):
    xs.save_model(tmp_path / "weights.npz", xs.Model(rng.standard_normal((2, 2)), rng.standard_normal((2, 2)), 0.1, 1))
    options = ["netlist", str(tmp_path / "weights.npz"), "--output", str(tmp_path / "out"), "--dialect"]
    assert CliRunner().invoke(app, [*options, "ngspice"]).exit_code == 0
    done = CliRunner().invoke(app, [*options, "spice3"])
    assert done.exit_code == 0, done.output
    assert "run one by hand: ngspice -b" in done.output
    assert not (tmp_path / "out" / "A.forward.cir").exists()  # of the dialect before
    deck = tmp_path / "out" / "A.forward.spice3.cir"
    said = subprocess.run(["ngspice", "-b", str(deck)], capture_output=True, text=True, check=True).stdout
    tables = re.findall(r"^Index +(.*)\n-+\n0\t(.*)$", said, re.M)
    shown = {
        name: float(value) for names, row in tables for name, value in zip(names.split(), row.split(), strict=True)
    }
    found = next(one for one in readback(tmp_path / "out") if one.matrix == "A").currents["i(vt0_0p_bottom0)"]
    assert shown["vt0_0p_bottom0#"] == pytest.approx(found, rel=1e-5)
    deck.write_text(deck.read_text().replace("\nVt0_0p_left0 ", "\nVshort t0_0p_left0 0 1\nVt0_0p_left0 "))
    with pytest.raises(SimulationError, match=r"A\.forward\.spice3\.cir: ngspice ended with status 1"):
        readback(tmp_path / "out")


def test_what_a_dialect_has_no_words_for_is_refused(tmp_path):
    own = xs.SubcircuitCell(xs.Subcircuit("cell", ".subckt cell p n g=1e-6\nR1 p n {1/g}\n.ends\n"))
    mapped = map_weights([[1.0]], xs.Design(device=own))
    with pytest.raises(InvalidInputError, match="in Spice3 subcircuits take no parameters"):
        write_netlists(mapped, tmp_path, name="A", dialect="spice3")
    with pytest.raises(InvalidInputError, match="dialect must be one of 'ngspice', 'spice3', 'vacask'"):
        write_netlists(mapped, tmp_path, name="A", dialect="hspice")
    mapped, pulse = map_weights([[1.0]], xs.Design()), xs.Pulse(width=1e-9, rise=1e-10)
    with pytest.raises(InvalidInputError, match="decks of pulses are written for ngspice"):
        write_netlists(mapped, tmp_path, name="A", dialect="spice3", pulse=pulse)
    assert not list(tmp_path.iterdir())
