"""The table of a study, what is exported from it, and the numbers that answers rest on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.stores import DEVICES, TILES, WIRES, StoreMaker

import xbar_spice as xs
from xbar_spice.errors import InvalidInputError, StudyError
from xbar_spice.report.answers import Bounds, largest, limits, size_text
from xbar_spice.report.comparison import compare
from xbar_spice.report.data import read_results
from xbar_spice.report.grid import Grid
from xbar_spice.report.quantities import dictionary
from xbar_spice.report.statistics import bootstrap, crossing, estimates, quantile
from xbar_spice.report.table import export_results

ACCURATE = {"accuracy": lambda point, _: {"analog": 0.9 - 0.01 * point["wires"], "digital": 0.9}}


def test_a_table_has_a_row_a_case_and_a_column_an_axis(maker: StoreMaker) -> None:
    failed = {"failed": lambda point, seed: point["tile"] == 8 and seed == 1}
    table = xs.load_results(maker.make(TILES, WIRES, **ACCURATE, **failed))
    assert isinstance(table, pd.DataFrame)
    assert len(table) == 18
    row = table[(table["tile"] == 16) & (table["wires"] == 2.0) & (table["seed"] == 2)].iloc[0]
    assert row["gradient.A.relative_error"] == pytest.approx(1e-4 * 16**1.5 * 2 * 1.2)
    assert row["gradient.A.angle"] == pytest.approx(np.degrees(row["gradient.A.relative_error"]))
    assert row["accuracy.loss"] == pytest.approx(0.02)
    assert table["status"].value_counts().to_dict() == {"ok": 16, "failed": 2}
    assert table[table["status"] == "failed"]["error"].eq("E: <b>no</b>").all()


def test_every_column_is_described_and_an_axis_takes_the_unit_of_its_field(maker: StoreMaker) -> None:
    table = xs.load_results(maker.make(TILES, WIRES | {"unit": ""}, names=("A", "encoder.weight"), **ACCURATE))
    units, text = table.attrs["units"], table.attrs["text"]
    assert list(units) == list(table)
    assert all(text[column] for column in table)
    assert (units["wires"], units["gradient.encoder.weight.angle"], units["tile"]) == ("ohm", "degree", "")
    assert "gradient of encoder.weight" in text["gradient.encoder.weight.relative_error"]


def test_an_axis_keeps_its_name_and_an_entry_gives_way(maker: StoreMaker) -> None:
    table = xs.load_results(maker.make(TILES | {"name": "seconds"}, WIRES | {"name": "seed"}, seeds=(4,)))
    assert sorted(set(table["seconds"])) == [8, 16, 32]
    assert sorted(set(table["seed"])) == [0.5, 2.0]
    assert set(table["record.seed"]) == {4}


def test_labelled_arrays_go_over_the_axes(maker: StoreMaker) -> None:
    xarray = pytest.importorskip("xarray")
    found = xs.load_results(maker.make(TILES, WIRES, seeds=(3, 5))).to_xarray()
    assert isinstance(found, xarray.Dataset)
    error = found["state.relative_error"]
    assert dict(error.sizes) == {"tile": 3, "wires": 2, "seed": 2}
    assert error.sel(tile=32, wires=2.0, seed=5).item() == pytest.approx(1e-4 * 32**1.5 * 2 * 1.5)
    assert (found["wires"].attrs["units"], found["seconds"].attrs["units"]) == ("ohm", "second")


def test_scattered_points_are_one_dimension(maker: StoreMaker) -> None:
    pytest.importorskip("xarray")
    table = xs.load_results(maker.make(TILES, seeds=(0,)))
    many = pd.concat([table.assign(tile=k, seed=2 * k, x=-k) for k in range(20)])
    many.attrs = table.attrs | {"axes": ["tile", "x"]}
    found = many.drop_duplicates(["tile", "x"]).reset_index(drop=True).to_xarray()
    assert set(found.sizes) == {"case"}
    assert found["x"].dims == ("case",)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_what_is_exported_is_read_back(kind: str, maker: StoreMaker, tmp_path: Path) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    folder = maker.make(TILES, WIRES, seeds=(0, 1))
    path = export_results(folder, tmp_path / "out" / f"results.{kind}")
    back = pd.read_csv(path) if kind == "csv" else pd.read_parquet(path)
    expected = pd.DataFrame(xs.load_results(folder))
    pd.testing.assert_frame_equal(back[list(expected)], expected, check_dtype=False, check_exact=True)
    described = pd.read_csv(path.with_suffix(".columns.csv"), keep_default_na=False)
    assert described["column"].tolist() == list(expected)
    traces = pd.read_csv(export_results(folder, tmp_path / "traces.csv", traces=True))
    assert traces.groupby("case").size().to_dict() == dict.fromkeys(expected["id"], 2)
    with pytest.raises(InvalidInputError, match=r"must end in .csv or .parquet, got 'results.xlsx'"):
        export_results(folder, tmp_path / "results.xlsx")


def test_the_page_on_results_has_the_data_dictionary() -> None:
    page = Path(__file__).parents[2] / "docs" / "results.md"
    assert dictionary() in page.read_text(encoding="utf-8")


# --- numbers --------------------------------------------------------------------------------------------------------


def test_a_bound_is_passed_where_the_power_law_says(maker: StoreMaker) -> None:
    """Of an error c tile^1.5 wires (1 + 0.1 seed), and of the chip in the middle."""
    grid = Grid.of(read_results(maker.make(TILES | {"values": [8, 16, 32, 64]}, WIRES, seeds=tuple(range(9)))))
    x = grid.axes[0]
    asked = limits(grid.results, Bounds(gradient_error=0.02))
    for answer, wires in zip(largest(grid, x, asked), (0.5, 2.0), strict=True):
        (found,) = (each for each, limit in zip(answer.found, asked, strict=True) if "of A within 2" in limit.title)
        sizes = [(0.02 / (1e-4 * wires * (1 + 0.1 * seed))) ** (1 / 1.5) for seed in range(9)]
        assert found.value == pytest.approx(sizes[4], rel=1e-9)
        assert min(sizes) <= found.low <= found.value <= found.high <= max(sizes)
        assert found.low < found.high
        assert found.chips == 9
        assert size_text(found, answer, grid.results, x).startswith(f"{int(sizes[4])} (")


@pytest.mark.parametrize(
    ("errors", "size"),
    [
        ([0.2, 0.3, 0.4], 0.0),
        ([0.01, 0.02, 0.03], np.inf),
        ([0.0, 0.2, 0.3], 8 * 2**0.5),
        ([0.05, np.inf, 0.01], 8.0),
        ([0.05, np.nan, 0.01], 8.0),
        ([0.1, 0.1, 0.1], np.inf),
    ],
)
def test_a_bound_that_is_passed_at_once_or_never_or_by_a_chip_that_did_not_converge(
    errors: list[float], size: float
) -> None:
    found = crossing(np.array([8.0, 16.0, 32.0]), np.array(errors)[:, np.newaxis], 0.1)
    assert found.value == found.low == found.high == pytest.approx(size)


def test_intervals_hold_the_median_as_often_as_they_say() -> None:
    """Of 300 sets of 16 chips whose errors are lognormal; the bootstrap of a median is known to be near its level."""
    values = np.random.default_rng(1).lognormal(size=(300, 16))
    held = [estimate.low <= 1.0 <= estimate.high for estimate in estimates(values)]
    assert 0.88 < np.mean(held) < 0.99


def test_chips_are_resampled_together(rng: np.random.Generator) -> None:
    chips = rng.random(12)
    drawn = bootstrap(np.stack([chips, 3 * chips]))
    np.testing.assert_allclose(drawn[1], 3 * drawn[0])


def test_quantiles_leave_out_what_is_missing(rng: np.random.Generator) -> None:
    values = np.where(rng.random((50, 7)) < 0.3, np.nan, rng.random((50, 7)))
    values[0] = 1.0
    for part in (0.0, 0.25, 0.5, 1.0):
        np.testing.assert_allclose(quantile(values, part), np.nanquantile(values, part, axis=1))


def test_two_studies_are_compared_chip_by_chip(maker: StoreMaker, tmp_path: Path) -> None:
    first = maker.make(TILES, WIRES, seeds=(0, 1, 2, 3), **ACCURATE)
    twice = {"error": lambda point, seed: 2e-4 * point["tile"] ** 1.5 * 1.0 * (1 + 0.1 * seed)}
    second = StoreMaker(tmp_path / "other").make(TILES | {"values": [16, 32, 64]}, seeds=(1, 2, 3, 4), **twice)
    found = compare(read_results(first), read_results(second))
    whole = next(change for change in found if change.quantity == "gradient.A.relative_error")
    assert (whole.place, whole.points, whole.change.chips) == ("all points", 4, 3)
    assert whole.change.value == pytest.approx(2.0)  # the geometric mean of 4 at 0.5 ohm and 1 at 2 ohm
    points = {change.place: change for change in found if change.quantity == "state.relative_error"}
    for tile in (16, 32):
        for wires, ratio in ((0.5, 4.0), (2, 1.0)):
            change = points[f"tile {tile}, wires {wires} ohm"].change
            assert (change.value, change.low, change.high) == pytest.approx((ratio, ratio, ratio))


def test_studies_that_share_no_case_are_not_compared(maker: StoreMaker, tmp_path: Path) -> None:
    first = read_results(maker.make(TILES, seeds=(0,)))
    second = read_results(StoreMaker(tmp_path / "other").make(DEVICES, seeds=(7,)))
    with pytest.raises(StudyError, match="give two studies with equal values on their axes"):
        compare(first, second)
