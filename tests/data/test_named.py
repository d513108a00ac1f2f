"""The named sets of samples: published formulas, values and sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xbar_spice as xs
from xbar_spice.data.peaks import peaks
from xbar_spice.data.spirals import spiral
from xbar_spice.errors import InvalidInputError
from xbar_spice.parts import DATA

TRUTH = json.loads((Path(__file__).parents[1] / "truth" / "data.json").read_text())["cases"]
CLASSES = {"digits": 10, "peaks": 5, "wine": 3}
FIXED, PATHS = "swiss_roll", ("spiral_paths", "spiral_windows")


def close(actual: Any, expected: Any, rtol: float = 1e-10) -> None:
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=1e-13)


@pytest.mark.parametrize("name", sorted(set(DATA) - {FIXED}))
@pytest.mark.parametrize("samples", [7, 40])
def test_a_set_has_as_many_samples_as_asked_for_and_the_same_ones_again(name: str, samples: int) -> None:
    data, again, other = (xs.load_named_data(name, samples=samples, seed=seed) for seed in (0, 0, 1))
    assert data.x.shape == (samples, data.features)
    assert data.fingerprint == again.fingerprint != other.fingerprint
    everything = xs.load_named_data(name)
    part = everything.take(samples)  # drawn, because they are listed class by class
    if name not in PATHS:
        assert data.labels.shape == (samples,)
        assert sorted(set(everything.labels)) == list(range(CLASSES.get(name, 2)))
        assert len(set(part.labels)) > 1
    assert part.source.startswith(f"{samples} of {len(everything)} ")
    assert part.source.endswith("drawn with seed 0")


def test_peaks() -> None:
    truth = TRUTH["data_peaks"]
    close(peaks(*np.transpose(truth["inputs"]["points"])), truth["value"])
    data = xs.load_named_data("peaks", samples=2000, seed=0)
    assert data.x.T.shape == tuple(truth["shape"])
    close(data.x.sum(axis=0), truth["sum"])
    firsts = [data.x[data.labels == k][0] for k in range(5)]
    close(firsts, truth["first_point_of_each_class"])
    assert np.bincount(data.labels).tolist() == [400] * 5


def test_ellipses() -> None:
    truth = TRUTH["data_ellipses"]
    data = xs.load_named_data("ellipses", samples=2000, seed=0)
    close(data.x[0], truth["first"])
    close(data.x[1000], truth["first_outer"])
    close(data.x.sum(axis=0), truth["sum"])
    radius = np.hypot(data.x[:, 0], data.x[:, 1] / 0.4)
    np.testing.assert_array_equal(data.labels, radius > 1.0)


def test_swiss_roll() -> None:
    truth = TRUTH["data_swiss_roll"]
    train, held_back = DATA.get(FIXED).split()
    for part, name in ((train, "train"), (held_back, "val")):
        assert part.x.T.shape == tuple(truth[f"{name}_shape"])
        assert np.bincount(part.labels).tolist() == truth[f"{name}_per_class"]
        close(part.x[10], truth[f"{name}_10"])
    close(train.x[-1], truth["last_train"])
    close(train.x.sum(axis=0), truth["sum_train"])
    assert len(xs.load_named_data(FIXED)) == len(train) + len(held_back)
    for argument in ("samples", "seed"):
        with pytest.raises(InvalidInputError, match=f"'swiss_roll' cannot be made with .*{argument}.* no options"):
            xs.load_named_data(FIXED, **{argument: 1})


def test_two_moons() -> None:
    truth = TRUTH["data_two_moons"]
    for scaled, name in ((False, "x"), (True, "ffjord_scaled")):
        data = xs.load_named_data("two_moons", samples=7, noise=0.0, scaled=scaled)
        close(data.x, truth[name])
    noisy = xs.load_named_data("two_moons", samples=4000)
    deviation = (noisy.x - xs.load_named_data("two_moons", samples=4000, noise=0.0).x).std()
    assert deviation == pytest.approx(0.1, rel=0.05)


def test_spirals() -> None:
    truth = TRUTH["data_spiral_latent"]
    t = np.array(truth["inputs"]["t"], dtype=float)
    close(spiral(t, clockwise=True), truth["clockwise"])
    close(spiral(t, clockwise=False), truth["counter"])
    irregular = truth["irregular_subset"]
    data = xs.load_named_data("spirals", samples=6, seed=irregular["seed"], times=irregular["k"], noise=0.0)
    every = np.linspace(0.0, 6.0 * np.pi, 500)
    close(data.times, every[irregular["indices"]])
    assert data.targets.shape == (6, 30, 2)
    for k, clockwise in ((0, True), (5, False)):
        path = spiral(every, clockwise=clockwise)
        start = int(np.argmin(np.hypot(*(path - data.x[k]).T)))
        close(data.targets[k], path[start + np.array(irregular["indices"])])
    whole = xs.load_named_data("spiral_windows", samples=6, seed=irregular["seed"], noise=0.0)
    assert whole.labels is None
    close(whole.x.reshape(6, -1, 2), np.concatenate([data.x[:, np.newaxis], data.targets[:, :9]], axis=1))
    close(whole.targets, data.targets)
    seen = xs.load_named_data("spirals", samples=2000, times=3)
    assert (seen.targets - xs.load_named_data("spirals", samples=2000, times=3, noise=0.0).targets).std() == (
        pytest.approx(0.3, rel=0.05)
    )


@pytest.mark.parametrize(("name", "size"), [("digits", (1797, 64)), ("breast_cancer", (569, 30)), ("wine", (178, 13))])
def test_tables(name: str, size: tuple[int, int]) -> None:
    data = xs.load_named_data(name)
    assert data.x.shape == size
    if name == "digits":
        assert (data.x.min(), data.x.max()) == (0.0, 1.0)
    else:
        standardised = xs.load_named_data(name, standardised=True).x
        close(standardised.mean(axis=0), np.zeros(size[1]), rtol=0)
        close(standardised.std(axis=0), np.ones(size[1]))


def test_a_set_of_ones_own_is_a_class_in_a_file(tmp_path: Path) -> None:
    own = tmp_path / "rings.py"
    own.write_text(
        "from dataclasses import dataclass\nimport numpy as np\nimport xbar_spice as xs\n\n\n@dataclass(frozen=True)\n"
        "class Rings(xs.DataSet):\n    samples: int = 10\n\n    def data(self):\n"
        "        return xs.Data(np.eye(self.samples), np.arange(self.samples) % 2, source='rings')\n"
    )
    assert len(xs.load_named_data(f"{own}:Rings", samples=4)) == 4
    with pytest.raises(InvalidInputError, match=r"cannot be made with .*; its options are samples"):
        xs.load_named_data(f"{own}:Rings", seed=4)
