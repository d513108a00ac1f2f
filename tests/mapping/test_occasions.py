"""What is a chip's own, what each programming adds, and chips that were measured."""

from dataclasses import replace

import numpy as np
import pytest
from support.studies import a_study, cases_of

import xbar_spice as xs
from xbar_spice.cosim import program_model
from xbar_spice.errors import InvalidInputError

DESIGN = xs.Design(variation=xs.Variation(0.05, stuck_off=0.2), cycle="relative(programming=0.02)", headroom=2.0)


def drawn(model, design, occasion, seed=0):
    A, B = program_model(model, design, "ideal", seed=seed, occasion=occasion)
    with A, B:
        return A.mapped.drawn


def test_the_own_error_stays_and_that_of_the_cycle_is_new(dense):
    one, other = (drawn(dense.model, DESIGN, occasion) for occasion in ("epoch 1", "epoch 2"))
    own = drawn(dense.model, replace(DESIGN, cycle=xs.Variation()), "epoch 1")
    assert (own == drawn(dense.model, replace(DESIGN, cycle=xs.Variation()), "epoch 2")).all()
    assert (one == drawn(dense.model, DESIGN, "epoch 1")).all()
    stuck = own == DESIGN.g_min
    assert (one == other)[stuck].mean() > 0.3  # devices that are stuck, among those that stand at g_min
    ratio = np.concatenate([(one / own)[one != own], (other / own)[other != own]])
    assert ratio.mean() == pytest.approx(1, abs=5 * 0.02 / np.sqrt(ratio.size))
    assert ratio.std() == pytest.approx(0.02, rel=5 / np.sqrt(ratio.size))


def test_drift_is_the_same_whether_or_not_there_is_a_cycle(rng):
    W, design = rng.standard_normal((3, 3)), xs.Design(drift="pcm", after=60.0)
    still = xs.map_weights(W, design, rng=np.random.default_rng(1)).drawn
    moved = xs.map_weights(W, replace(design, cycle=xs.Stuck(off=1e-9)), rng=np.random.default_rng(1)).drawn
    assert (still == moved).all()


def test_a_measured_map_is_the_chip(tmp_path, dense):
    wanted = {}
    A, B = program_model(dense.model, xs.Design(r_word=1.0), "ideal")
    with A, B:
        for matrix in (A, B):
            wanted[matrix.name] = matrix.mapped.drawn * np.linspace(0.9, 1.1, matrix.mapped.drawn[0, 0].size)
    np.savez(tmp_path / "chip.npz", **wanted)
    design = xs.Design(r_word=1.0, conductances=str(tmp_path / "chip.npz"))
    assert (drawn(dense.model, design, "") == wanted["A"]).all()
    assert not design.random
    record = xs.three_gradients(dense, design, engine="nodal").record
    assert "descent" not in record
    with pytest.raises(InvalidInputError, match="do not follow a training"):
        xs.Chip(design)
    with pytest.raises(InvalidInputError, match="are the chip itself"):
        replace(design, variation=xs.Variation(0.1))
    with pytest.raises(InvalidInputError, match=r"an array for each matrix is needed, here 'W'"):
        xs.program([[1.0]], design)
    with pytest.raises(InvalidInputError, match=r"must be an \.npz file"):
        xs.program([[1.0]], xs.Design(conductances=str(tmp_path / "none.npz")))
    with pytest.raises(InvalidInputError, match=r"of shape \(2, 1, 1\)"):
        xs.map_weights([[1.0]], conductance=np.ones((1, 1)))


def test_a_map_is_a_regular_archive_of_a_sane_size(tmp_path):
    np.save(tmp_path / "one.npy", np.ones((2, 1, 1)))
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "whole.npz", W=np.ones((2, 1, 1)))
    whole = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    for path in ("/dev/zero", tmp_path, *(tmp_path / name for name in ("one.npy", "text.npz", "cut.npz"))):
        with pytest.raises(InvalidInputError, match=r"must be an \.npz file with one array for each matrix"):
            xs.program([[1.0]], xs.Design(conductances=str(path)))


def test_an_id_covers_what_the_file_says(tmp_path, dense):
    found = []
    for factor in (1.0, 1.1):
        np.savez(tmp_path / "chip.npz", A=np.full((2, 1, 1), factor))
        circuit = {"conductances": str(tmp_path / "chip.npz")}
        found.append(cases_of(a_study(circuit=circuit, axes=[]), dense.model)[0].id)
    assert found[0] != found[1]


def test_a_sensitivity_map_is_one_of_the_variation_alone(dense):
    with pytest.raises(InvalidInputError, match="variation alone"):
        xs.sensitivity_map(dense, DESIGN)
