"""Decks that are read back give the products that arrays compute, and say whether somebody edited them."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

import xbar_spice as xs
from xbar_spice.cli.app import app
from xbar_spice.errors import FileError, SimulationError
from xbar_spice.mapping.export import write_netlists
from xbar_spice.mapping.matrix import map_weights
from xbar_spice.mapping.readback import readback

pytestmark = [
    pytest.mark.ngspice,
    pytest.mark.skipif(shutil.which("ngspice") is None, reason="the ngspice command is not installed"),
]


@pytest.mark.parametrize(
    ("mapping", "side"), [("signed_rows", "rows"), ('offset(reference="digital")', "cols"), ("bit_sliced", "rows")]
)
def test_products_are_those_of_the_arrays(mapping, side, tmp_path, rng):
    design = xs.Design(mapping=mapping, r_word=1.0, r_bit=1.0, r_driver=10.0, r_sense=10.0, tile=3)
    mapped = map_weights(rng.standard_normal((5, 4)), design)
    vector = rng.standard_normal(4 if side == "rows" else 5)
    write_netlists(mapped, tmp_path, name="A", side=side, vector=vector)
    with xs.get_engine("nodal").program_bank(mapped.crossbars) as bank:
        drives = mapped.drives(vector[:, np.newaxis], side)
        wanted = mapped.products(bank.read(drives, side), vector[:, np.newaxis], side)[:, 0]
    (found,) = readback(tmp_path)
    np.testing.assert_allclose(found.product, wanted, rtol=1e-10)
    assert not found.edited
    assert 0 < found.error < 0.02


def test_an_edited_deck_is_read_as_it_is(tmp_path, rng):
    design = xs.Design(r_driver=1.0, r_sense=1.0)
    mapped = map_weights(rng.standard_normal((2, 3)), design)
    write_netlists(mapped, tmp_path, name="A")
    deck = tmp_path / "A" / "t0_0p.forward.cir"
    before = readback(tmp_path)[0]
    deck.write_text(re.sub(r"^R1_0 .*$", "* R1_0 is open", deck.read_text(), flags=re.M))
    after = readback(tmp_path)[0]
    assert after.edited
    lost = mapped.crossbars[0].conductance[1, 0] / mapped.siemens_per_weight
    np.testing.assert_allclose(before.product - after.product, [lost, 0.0], rtol=1e-2, atol=1e-4)
    done = CliRunner().invoke(app, ["readback", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "forward read, edited" in done.output
    deck.write_text(deck.read_text().replace("\nVleft0 ", "\nVshort left0 0 1\nVleft0 "))
    with pytest.raises(SimulationError, match=r"t0_0p\.forward\.cir: ngspice ended with status 1; run by hand"):
        readback(tmp_path)


def test_a_folder_without_manifests_is_refused(tmp_path):
    with pytest.raises(FileError, match="no manifest of netlists"):
        readback(tmp_path)
