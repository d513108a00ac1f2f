"""Decks and manifests on disk."""

import json
import re
import shutil
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from support import run_by_hand

from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.converters import Converters
from xbar_spice.hardware.pulse import LineCapacitance, Pulse
from xbar_spice.mapping.analog_matrix import program
from xbar_spice.mapping.design import Design
from xbar_spice.mapping.export import write_netlists
from xbar_spice.mapping.matrix import map_weights

WEIGHTS = np.random.default_rng(5).standard_normal((5, 7))
DESIGN = Design(r_word=1.0, r_bit=2.0, r_driver=10.0, r_sense=5.0, tile=4)


def test_files_and_head(tmp_path):
    written = write_netlists(
        map_weights(WEIGHTS, DESIGN), tmp_path, name="A", comments={"weights": "some.npz", "seed": 3}
    )
    assert [path.relative_to(tmp_path).as_posix() for path in written[:2]] == ["A.forward.cir", "A/t0_0p.forward.cir"]
    assert written[-1] == tmp_path / "A.forward.json"
    head = written[0].read_text()[:1500]
    for said in (
        "weight matrix A (5 x 7)",
        "weights: some.npz",
        "seed: 3",
        "S per unit of weight",
        "tile: 4 x 4",
        "vector: ones",
    ):
        assert said in head
    given = write_netlists(map_weights(WEIGHTS, DESIGN), tmp_path, name="B", side="cols", vector=np.arange(5.0))
    assert "\n* vector: that in B.transposed.json\n" in given[0].read_text()


@pytest.mark.ngspice
@pytest.mark.skipif(shutil.which("ngspice") is None, reason="the ngspice command is not installed")
@pytest.mark.parametrize("mapping", ["differential", "interleaved"])
@pytest.mark.parametrize("side", ["rows", "cols"])
@pytest.mark.parametrize("whole", [True, False], ids=["matrix deck", "array decks"])
@pytest.mark.parametrize("amplifier", [Amplifier(), Amplifier(1e3, 1e3, 0.05)], ids=["sources", "amplifiers"])
def test_a_stranger_can_rebuild_the_product_from_decks_and_manifest(side, mapping, whole, amplifier, tmp_path, rng):
    mapped = map_weights(WEIGHTS, Design(**{**vars(DESIGN), "mapping": mapping, "amplifier": amplifier}))
    vector = rng.standard_normal(7 if side == "rows" else 5)
    manifest = json.loads(write_netlists(mapped, tmp_path, name="A", side=side, vector=vector)[-1].read_text())
    total = np.zeros(5 if side == "rows" else 7)
    if whole:
        printed = run_by_hand(tmp_path / manifest["deck"])
    for array in manifest["arrays"]:
        if not whole:
            printed = run_by_hand(tmp_path / array["deck"])
        for terminal in array["terminals"]:
            if terminal["role"] == "sense":
                result = terminal["result" if whole else "result_in_array_deck"]
                value = printed[re.fullmatch(r"[iv]\((\w+)\)", result)[1]]
                total[terminal["index"]] += terminal["sign"] * terminal["amperes_per_result"] * value
    total /= manifest["siemens_per_weight"] * manifest["volts_per_unit"]
    analog = program(WEIGHTS, mapped.design)
    wanted = analog.mv(vector) if side == "rows" else analog.T.mv(vector)
    assert total == pytest.approx(wanted, abs=2e-4 * np.abs(wanted).max())  # batch mode prints six digits


def test_manifest_names_drivers_with_their_voltage(tmp_path):
    mapped = map_weights(WEIGHTS, DESIGN)
    manifest = json.loads(
        write_netlists(mapped, tmp_path, name="B", side="cols", vector=np.arange(5.0))[-1].read_text()
    )
    deck = (tmp_path / manifest["deck"]).read_text()
    driver = next(t for t in manifest["arrays"][1]["terminals"] if t["role"] == "driver" and t["index"] == 3)
    volts = float(re.search(rf"^{driver['source']} \S+ 0 DC (\S+)$", deck, re.M)[1])
    assert driver["sign"] == -1
    assert volts == pytest.approx(-3.0 * manifest["volts_per_unit"])


@pytest.mark.parametrize("mapping", ["differential", "interleaved"])
@pytest.mark.parametrize("side", ["rows", "cols"])
@pytest.mark.parametrize("bits", [None, 2, 5, 12])
def test_the_rule_for_drivers_is_what_every_deck_carries(bits, side, mapping, tmp_path, rng):
    design = Design(**{**vars(DESIGN), "mapping": mapping, "converters": Converters(dac_bits=bits)})
    vector = rng.standard_normal(7 if side == "rows" else 5)
    written = write_netlists(map_weights(WEIGHTS, design), tmp_path, name="A", side=side, vector=vector)
    manifest = json.loads(written[-1].read_text())
    assert manifest.get("vector_before_dacs", manifest["vector"]) == vector.tolist()
    assert (f"DACs, of {bits} bits" in manifest["about"]) == (bits is not None)
    for array in manifest["arrays"]:
        decks = {"source": manifest["deck"], "source_in_array_deck": array["deck"]}
        for (name, path), terminal in product(decks.items(), array["terminals"]):
            volts = re.search(rf"^{terminal[name]} \S+ 0 DC (\S+)$", (tmp_path / path).read_text(), re.M)[1]
            if terminal["role"] == "sense":
                assert volts == "0"
                continue
            wanted = terminal["sign"] * manifest["vector"][terminal["index"]] * manifest["volts_per_unit"]
            assert float(volts) == pytest.approx(wanted, rel=1e-14)


def test_a_pulse_adds_a_deck_for_each_array(tmp_path):
    mapped = map_weights(WEIGHTS, DESIGN)
    pulse, held = Pulse(width=1e-9, rise=1e-10), LineCapacitance(c_word=1e-16, c_bit=2e-16)
    plain = write_netlists(mapped, tmp_path / "plain", name="A")
    written = write_netlists(mapped, tmp_path / "pulsed", name="A", side="cols", pulse=pulse, capacitance=held)
    assert len(written) == len(plain) + len(mapped.arrays)
    for array, entry in zip(mapped.arrays, json.loads(written[-1].read_text())["arrays"], strict=True):
        deck = (tmp_path / "pulsed" / entry["pulse_deck"]).read_text()
        assert f"array {array.name} of weight matrix A (5 x 7), transposed read" in deck
        for terminal in entry["terminals"]:
            source = terminal["source_in_array_deck"]
            assert re.search(rf"^{source} \S+ 0 {'PULSE' if terminal['role'] == 'driver' else 'DC 0'}", deck, re.M)
        rows, cols = array.crossbar.shape
        assert len(re.findall(r"^Cw\d+_\d+ w\d+_\d+ 0 1e-16$", deck, re.M)) == rows * cols
        assert len(re.findall(r"^Cb\d+_\d+ b\d+_\d+ 0 2e-16$", deck, re.M)) == rows * cols


def test_bad_names_and_vectors_are_refused(tmp_path):
    mapped = map_weights(WEIGHTS, DESIGN)
    with pytest.raises(InvalidInputError, match=r"letters, digits and underscores, got 'A/\.\./B'"):
        write_netlists(mapped, tmp_path, name="A/../B")
    with pytest.raises(InvalidInputError, match=r"vector of shape \(7,\), got \(5,\)"):
        write_netlists(mapped, tmp_path, name="A", vector=np.ones(5))
    assert not list(tmp_path.iterdir())


def files_of(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_decks_of_an_earlier_design_are_removed_and_nothing_else(tmp_path):
    earlier = map_weights(WEIGHTS, replace(DESIGN, tile=2))
    pulse = Pulse(1e-9, 1e-10)
    for side in ("rows", "cols"):
        write_netlists(earlier, tmp_path, name="A", side=side, pulse=pulse if side == "rows" else None)
    write_netlists(earlier, tmp_path, name="B")
    (tmp_path / "A" / "mine.forward.cir").write_text("* mine\n")
    of_b = {name for name in files_of(tmp_path) if name.startswith("B")}
    written = write_netlists(map_weights(WEIGHTS, DESIGN), tmp_path, name="A")
    expected = {path.relative_to(tmp_path).as_posix() for path in written}
    assert files_of(tmp_path) == expected | of_b | {"A/mine.forward.cir"}


def test_both_directions_of_one_chip_stay_side_by_side(tmp_path):
    mapped = map_weights(WEIGHTS, DESIGN)
    written = [
        path for side in ("rows", "cols", "rows") for path in write_netlists(mapped, tmp_path, name="A", side=side)
    ]
    assert files_of(tmp_path) == {path.relative_to(tmp_path).as_posix() for path in written}


@pytest.mark.parametrize("damage", ["", "[1]", "{", '{"made_of": 3}'])
def test_decks_of_the_other_direction_whose_manifest_says_nothing_are_removed(damage, tmp_path):
    mapped = map_weights(WEIGHTS, DESIGN)
    write_netlists(mapped, tmp_path, name="A", side="cols")
    (tmp_path / "A.transposed.json").write_text(damage)
    write_netlists(mapped, tmp_path, name="A", side="rows")
    assert not [name for name in files_of(tmp_path) if "transposed" in name]
