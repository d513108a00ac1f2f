"""Reports of stores with everything that can be odd about them."""

from __future__ import annotations

import base64
import errno
import gzip
import html.parser
import json
import os
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from support.stores import DEVICES, DRIVE, MAPPING, TILES, WIRES, StoreMaker, always, never

from xbar_spice import disk
from xbar_spice.errors import InvalidInputError, StudyError
from xbar_spice.parts import FIGURES
from xbar_spice.registry import Registry
from xbar_spice.report import figures
from xbar_spice.report.answers import Bounds
from xbar_spice.report.curve_figures import angles_apart, cosine_text
from xbar_spice.report.curves import MOST_CURVES, Curve, Ordinate, curve_of, draw_curves, fitted_slope
from xbar_spice.report.data import read_results
from xbar_spice.report.findings import findings
from xbar_spice.report.html import Section, write_report
from xbar_spice.report.style import make_drawable, new_figure, save, set_log_ordinate, set_whole, styled
from xbar_spice.study.store import Store

FIGURE = "xbar_spice.report.figure:Figure"
LOSSES = f"{Path(__file__).parents[1] / 'parts' / 'loss_figure.py'}:Losses"


ODD: dict[str, tuple[tuple[dict[str, Any], ...], dict[str, Any]]] = {
    "as usual": ((TILES, WIRES, DEVICES), {}),
    "no axis": ((), {}),
    "one case": ((), {"seeds": (0,)}),
    "one value on each axis": ((TILES | {"values": [8]}, WIRES | {"values": [1.0]}), {"seeds": (0,)}),
    "no array size": ((WIRES,), {}),
    "no numbers": ((MAPPING,), {}),
    "more axes than a figure has room for": ((TILES, WIRES, DEVICES, MAPPING, DRIVE), {"seeds": (0,)}),
    "an abscissa from zero": ((DEVICES | {"values": [0.0, 0.05, 0.1]},), {}),
    "an axis named like an entry": (
        (TILES | {"name": "seconds"}, WIRES | {"name": "engine"}, DEVICES | {"name": "seed"}),
        {},
    ),
    "a failed case": ((TILES, WIRES), {"failed": lambda point, seed: point["tile"] == 8 and seed == 1}),
    "a size that failed": ((TILES, WIRES), {"failed": lambda point, _: point["tile"] == 16}),
    "all failed": ((TILES,), {"failed": always}),
    "nothing run": ((TILES, WIRES), {"missing": always}),
    "half run": ((TILES, WIRES), {"missing": lambda point, _: point["tile"] > 8}),
    "not converged": ((TILES, WIRES), {"unconverged": lambda point, seed: point["tile"] == 32 and seed < 2}),
    "nothing converged": ((TILES, WIRES), {"unconverged": always}),
    "errors of zero": ((TILES, WIRES), {"error": lambda *_: 0.0}),
    "some errors of zero": ((TILES, WIRES), {"error": lambda point, _: 0.0 if point["tile"] == 8 else 0.1}),
    "errors of rounding": ((TILES, WIRES), {"error": lambda _, seed: 1e-16 * (1 + seed)}),
    "errors that are null": ((TILES, WIRES), {"error": lambda point, _: None if point["tile"] == 16 else 0.1}),
    "only null": ((TILES, WIRES), {"error": lambda *_: None}),
    "huge errors": ((TILES, WIRES), {"error": lambda point, _: 1e30 * point["tile"], "unconverged": always}),
}


FEW = {
    "state_error": "xbar_spice.report.curve_figures:StateError",
    "gradient_cosine": "xbar_spice.report.curve_figures:GradientAngle",
    "cell_deficit": "xbar_spice.report.array_figures:CellDeficit",
    "reads": "xbar_spice.report.array_figures:Reads",
}


@pytest.fixture(autouse=True)
def few_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """One figure of each kind, since each takes its time to draw; a test of all of them says so."""
    monkeypatch.setattr(figures, "FIGURES", Registry("figure", FIGURE, FEW))


def save_quickly(figure: Figure, folder: Path, name: str, endings: Sequence[str]) -> tuple[Path, ...]:
    """Draw everything once, without care for the layout."""
    folder.mkdir(parents=True, exist_ok=True)
    figure.set_layout_engine("none")
    figure.savefig(folder / f"{name}.png", dpi=20)
    (folder / f"{name}.svg").write_text("<svg/>")
    return tuple(folder / f"{name}.{kind}" for kind in endings)


@pytest.mark.parametrize(("axes", "odd"), ODD.values(), ids=ODD)
def test_every_store_makes_a_report(
    axes: tuple[dict[str, Any], ...], odd: dict[str, Any], maker: StoreMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "save", save_quickly)
    report = write_report(maker.make(*axes, **odd), maker.folder.parent / "out" / "report.html")
    text = report.read_text()
    assert "nan" not in re.sub(r"(?s)<script.*</script>", "", text).lower()
    cases = page_numbers(text)["tables"]["cases"]["columns"]
    assert len(read_results(maker.folder).cases) == len(cases[0]["values"])
    assert text.count("<figure ") == len(list((report.parent / "figures").glob("*.png")))


def page_numbers(page: str) -> Any:
    """What the page's script reads."""
    found = re.search(r'<script type="text/plain" id="numbers">([^<]*)</script>', page)
    assert found is not None
    return json.loads(gzip.decompress(base64.b64decode(found[1])))


@final
class References(html.parser.HTMLParser):
    """Everything that a page would fetch or lead to, and the tags in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]


def test_the_page_needs_no_network_and_its_links_exist(maker: StoreMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "FIGURES", FIGURES)
    section = Section("More", ["Text."], ["name"], [["value"]], {"store": maker.folder})
    report = write_report(maker.make(TILES, WIRES, seeds=(0, 1)), maker.folder.parent / "report.html", [section])
    page = References(report.read_text())
    names = {path.name for path in (report.parent / "figures").iterdir()}
    assert names == {
        f"{name}.{kind}"
        for name in ("state_error", "loss_error", "gradient_error", "gradient_cosine", "effort", "reads")
        for kind in ("png", "svg", "pdf")
    }
    assert page.found
    assert not [address for address in page.found if re.match(r"(https?:)?//", address)]
    own = re.sub(r'(?s)<script type="text/plain".*?</script>', "", report.read_text())
    assert not re.search(r"@import|url\(|fetch\(|XMLHttp", own)
    assert "link" not in page.tags
    for address in page.found:
        if address.startswith("#"):
            assert f'id="{address[1:]}"' in report.read_text()
        else:
            assert address.startswith("data:image/svg+xml;base64,") or (report.parent / address).exists()


def test_a_figure_of_ones_own_stands_behind_the_built_in_ones(maker: StoreMaker) -> None:
    folder = maker.make(TILES, seeds=(0,))
    page = write_report(folder, folder / "report.html", figures=[f"{LOSSES}(marker='x')"], formats=["pdf"]).read_text()
    assert page.index("Reads of one case") < page.index("Losses")
    assert "Loss on the arrays against the digital loss, 3 cases." in page
    assert sorted(path.name for path in (folder / "figures").glob("losses.*")) == ["losses.pdf", "losses.svg"]
    assert 'figures/losses.pdf">PDF</a>' in page
    with pytest.raises(InvalidInputError, match=r"each one of 'png', 'svg', 'pdf', got \['eps'\]"):
        write_report(folder, folder / "report.html", formats=["eps"])
    with pytest.raises(InvalidInputError, match=r"figure must be one of 'state_error', .* a text such as"):
        write_report(folder, folder / "report.html", figures=["losses"])
    with pytest.raises(StudyError, match=r"figure Broken\(marker='o'\) cannot be drawn: ZeroDivisionError: no"):
        write_report(folder, folder / "report.html", figures=[LOSSES.replace("Losses", "Broken")])


def test_a_figure_that_does_not_apply_is_left_out(maker: StoreMaker) -> None:
    folder = maker.make(TILES, seeds=(0,), missing=always)
    assert "Losses" not in write_report(folder, folder / "report.html", figures=[LOSSES]).read_text()


def test_text_from_the_store_and_from_sections_is_escaped(maker: StoreMaker) -> None:
    folder = maker.make(TILES, failed=always)
    text = write_report(folder, folder / "report.html", [Section("<i>", ["<script>"])]).read_text()
    assert "<b>no</b>" not in text
    assert "&lt;b&gt;no&lt;/b&gt;" in text
    assert "a &lt;study&gt;" in text
    assert text.count("<script>") == 1


def test_the_same_store_gives_the_same_files(maker: StoreMaker) -> None:
    folder = maker.make()
    first, second = (write_report(folder, folder.parent / name / "r.html").read_bytes() for name in "ab")
    assert first == second


def test_a_folder_without_a_study_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="not the folder of a study"):
        write_report(tmp_path, tmp_path / "report.html")


def test_the_voltages_of_an_array_are_drawn(maker: StoreMaker) -> None:
    folder = maker.make(TILES)
    drive = np.array([0.2, 0.0, -0.1, 1e-4])
    cells = np.outer(drive, [0.9, 0.8])
    Store(folder).write_arrays("cell_deficit", ARRAY | {"cells": cells, "drive": drive, "case": "case0"})
    text = write_report(folder, folder / "report.html").read_text()
    assert (folder / "figures" / "cell_deficit.png").exists()
    assert "Median 15\u00a0%, worst 20\u00a0%" in text
    assert "Grey word lines" in text


def test_the_voltages_of_another_study_in_the_same_folder_are_not_drawn(maker: StoreMaker) -> None:
    folder = maker.make(TILES)
    values = {"cells": np.full((2, 2), 0.1), "drive": np.full(2, 0.2)}
    for case in ({"case": "of the study before"}, {}):
        Store(folder).write_arrays("cell_deficit", ARRAY | values | case)
        assert "Voltage deficit" not in write_report(folder, folder / "report.html").read_text()


ARRAY = {"label": "T", "array": "A t0_0"}


TEXTS = [
    r"$\ohm$",
    r"$\Omega$",
    "$",
    "$$",
    r"\$ and $",
    "$a_{$",
    "$" + "{" * 2000 + "$",
    r"$\frac{1}$",
    "a_b^{",
    "\x00\x07",
    "\u6b27\u59c6",
    "two\nlines",
    "x" * 5000,
    "{% raw %}",
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_no_name_and_no_unit_breaks_a_figure(text: str, tmp_path: Path) -> None:
    with styled():
        figure, (axes,) = new_figure(1, 1, width=3.4, height=3.0)
        axes.plot([1.0, 2.0], [1e-6, 1.0], label=f"tile {text}")
        axes.legend(title=text)
        axes.set(xlabel=f"size ({text})", ylabel=text, title=text)
        set_log_ordinate(axes, np.array([1e-6, 1.0]), percent=False)
        assert all(path.stat().st_size for path in save(figure, tmp_path, "odd"))
    drawn = axes.get_xlabel()
    assert drawn == f"size ({text})" or "\ufffd" in drawn or drawn.endswith(" ...")


def test_a_study_with_odd_names_makes_a_report(maker: StoreMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    axes = (TILES | {"unit": r"$\ohm$"}, MAPPING | {"name": "$a_{", "values": ["$x", "\x0b"]})
    folder = maker.make(*axes, seeds=(0,))

    def save_soon(figure: Figure, folder: Path, name: str) -> tuple[Path, ...]:
        make_drawable(figure)
        return save_quickly(figure, folder, name)

    monkeypatch.setattr(figures, "save", save_soon)
    assert "$\\ohm$" in write_report(folder, folder / "report.html").read_text()


@pytest.mark.parametrize("content", ['{"id": "case0"}', '{"id": ["case0"]}', '{"label": "x"}', "[]", "", "[" * 100_000])
def test_a_failure_that_says_little_is_no_failure_of_the_report(
    content: str, maker: StoreMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xbar_spice.report.html.write_figures", lambda *_: [])
    folder = maker.make(TILES, seeds=(0,), missing=always)
    (folder / "failures").mkdir()
    (folder / "failures" / "case0.json").write_text(content)
    assert ('<h2 id="failures">' in write_report(folder, folder / "r.html").read_text()) == (content[8:13] == "case0")


@pytest.mark.parametrize("full", ["figures/reads.svg", "report.html"])
def test_a_full_disk_leaves_the_page_of_before_and_no_draft(
    full: str, maker: StoreMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        figures, "FIGURES", Registry("figure", FIGURE, {"reads": "xbar_spice.report.array_figures:Reads"})
    )
    folder = maker.make(TILES, seeds=(0,))
    before = write_report(folder, folder / "report.html").read_bytes()
    real = disk.write_durably
    size = (folder / full).stat().st_size

    def write(path: Path, content: str | bytes) -> None:
        real(path, content)
        if path.stat().st_size == size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(disk, "write_durably", write)
    with pytest.raises(StudyError, match="No space left on device"):
        write_report(folder, folder / "report.html")
    assert (folder / "report.html").read_bytes() == before
    assert not [*folder.rglob(f"{disk.DRAFT}*")]


@pytest.mark.parametrize(
    "content",
    ["", "[" * 100_000, "[]", "null", "{}", '{"cases": [1], "axes": [], "parameters": {}}', '{"cases": [], "axes": 3}'],
)
def test_a_damaged_description_of_a_study_is_said_so(content: str, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(content)
    with pytest.raises(StudyError, match="is not the folder of a study"):
        write_report(tmp_path, tmp_path / "report.html")


# --- numbers --------------------------------------------------------------------------------------------------------


def test_a_curve_has_the_quartiles_over_the_seeds_of_each_size() -> None:
    table = pd.DataFrame({"tile": [8, 8, 8, 16, 16], "error": [1.0, 2.0, 9.0, 4.0, np.nan]})
    curve = curve_of(table, "tile", "error")
    assert curve.x.tolist() == [8.0, 16.0]
    assert (curve.low.tolist(), curve.median.tolist(), curve.high.tolist()) == ([1.5, 4.0], [2.0, 4.0], [5.5, 4.0])
    assert curve.seeds.tolist() == [3.0, 1.0]


@pytest.mark.parametrize(
    ("sizes", "errors", "slope"),
    [
        ([8, 16, 32], [1e-3, 4e-3, 1.6e-2], 2.0),
        ([8, 16], [1e-3, 4e-3], None),
        ([8, 16, 32], [1e-16, 2e-16, 4e-16], None),
        ([0, 8, 16, 32], [1.0, 1e-3, 2e-3, 4e-3], 1.0),
    ],
    ids=["a power law", "two points", "rounding", "a point at zero"],
)
def test_a_slope_is_fitted_where_there_is_a_law(sizes: list[int], errors: list[float], slope: float | None) -> None:
    x, y = np.array(sizes, dtype=float), np.array(errors)
    assert fitted_slope(Curve(x, y, y, y, np.ones_like(x))) == (None if slope is None else pytest.approx(slope))


def test_roles_go_to_size_wires_and_devices_whatever_their_order(maker: StoreMaker) -> None:
    x, curves, panels, rest = read_results(maker.make(MAPPING, DEVICES, WIRES, TILES)).roles()
    assert [axis.name for axis in (x, curves, panels, *rest) if axis] == ["tile", "wires", "error", "mapping"]


def test_two_sizes_make_way_for_a_longer_axis(maker: StoreMaker) -> None:
    errors = DEVICES | {"values": [0.01, 0.02, 0.05]}
    x, curves, panels, _ = read_results(maker.make(TILES | {"values": [8, 16]}, errors)).roles()
    assert [axis.name for axis in (x, curves, panels) if axis] == ["error", "tile"]


def test_the_findings_hold_the_numbers_of_the_store(maker: StoreMaker) -> None:
    exact = maker.make(TILES, WIRES, error=lambda point, _: 1e-4 * point["tile"] ** 2 * point["wires"])
    said = " ".join(findings(read_results(exact))).replace("\u00a0", " ")
    assert "off by 0.32 % at best (tile 8, wires 0.5 ohm) and by 20 % at worst (tile 32, wires 2 ohm)" in said
    assert "the gradient of z0 is within 10 %: at least 32 at wires 0.5 ohm; 22 at wires 2 ohm" in said
    assert "Every solve converged." in said


SHAPE = {"hidden": 8, "states": 6, "source": "w", "steps": 1, "method": "m", "h": 1.0, "fingerprint": "f"}


@pytest.mark.parametrize(
    ("tiles", "odd", "said"),
    [
        ([4, 1024], {"error": lambda *_: 0.01}, "10 %: the whole matrices (8 x 6 weights)."),
        ([8, 1024], {"error": lambda *_: 0.5}, "10 %: less than the whole matrices (8 x 6 weights)."),
        ([2, 4, 1024], {"error": lambda point, _: 0.01 if point["tile"] < 1024 else 0.5}, "10 %: 6."),
        (
            [2, 4, 5],
            {"error": lambda *_: 0.01, "unconverged": lambda point, seed: point["tile"] == 4 and seed == 1},
            "10 %: at least 5 (2 to ≥5) (1 of 9 cases not converged).",
        ),
        (
            [2, 4, 5],
            {"error": lambda *_: 0.01, "failed": lambda point, _: point["tile"] == 2},
            "10 %: less than 2 (3 of 9 cases failed).",
        ),
        (
            [2, 4, 5],
            {"error": lambda *_: 0.01, "missing": lambda point, _: point["tile"] == 5},
            "10 %: 4 (3 of 9 cases not run).",
        ),
        ([2, 4, 5], {"error": lambda point, _: None if point["tile"] == 4 else 0.01}, "10 %: 2."),
    ],
)
def test_the_largest_array_is_one_that_exists_and_was_solved(
    tiles: list[int], odd: dict[str, Any], said: str, maker: StoreMaker
) -> None:
    found = findings(read_results(maker.make(TILES | {"values": tiles}, models=[SHAPE], **odd)))
    answers = [sentence.replace("\u00a0", " ") for sentence in found if sentence.startswith("Largest")]
    assert len(answers) == 3
    assert all(answer.endswith(said) for answer in answers)


def test_a_tile_beyond_the_matrix_is_drawn_at_the_size_of_the_matrix(maker: StoreMaker) -> None:
    error = {"error": lambda point, _: 1e-3 * min(point["tile"], 8)}
    results = read_results(maker.make(TILES | {"values": [2, 4, 1024]}, models=[SHAPE], **error))
    figure = draw_curves(results, ["state.relative_error"], [""], Ordinate("error"))
    (line,) = figure.axes[0].get_lines()
    assert np.asarray(line.get_xdata()).tolist() == [2.0, 4.0, 8.0]
    assert line.get_label() == "(slope 1.00)"


def test_every_gradient_has_its_own_largest_array(maker: StoreMaker) -> None:
    errors = {"A": 0.01, "B": lambda tile: 0.01 if tile < 32 else 1.0, "z0": 0.01}
    found = " ".join(findings(read_results(maker.make(TILES, gradients=errors)))).replace("\u00a0", " ")
    for name, size in (("A", "at least 32"), ("B", "22"), ("z0", "at least 32")):
        assert f"the gradient of {name} is within 10 %: {size}." in found


def test_two_points_of_one_case_count_its_reads_once(maker: StoreMaker) -> None:
    folder = maker.make(TILES | {"values": [64, 128]}, seeds=(0,))
    text = (folder / "study.json").read_text()
    (folder / "study.json").write_text(text.replace('"case1"', '"case0"'))
    said = " ".join(findings(read_results(folder)))
    assert "1 cases took 2 reads of the arrays through nodal and 1 s of computing" in said


def test_values_that_differ_late_never_look_the_same(maker: StoreMaker) -> None:
    values = [0.1234567, 0.12345671]
    folder = maker.make(DEVICES | {"values": values}, seeds=(0,))
    said = findings(read_results(folder))[0] + write_report(folder, folder / "r.html").read_text()
    assert all(said.count(str(value)) >= 2 for value in values)


def test_the_findings_count_what_went_wrong(maker: StoreMaker) -> None:
    folder = maker.make(
        TILES, failed=lambda point, _: point["tile"] == 8, unconverged=lambda _, seed: seed == 0, missing=never
    )
    said = " ".join(findings(read_results(folder)))
    assert "2 of 9 cases did not converge" in said
    assert "3 of 9 cases failed" in said


# --- what is seen ---------------------------------------------------------------------------------------------------


def test_cosines_have_room_and_zero_is_zero() -> None:
    assert cosine_text(90.0) == "0"
    seen = angles_apart(0.4, 90.0)
    ratio = (90.0 / 0.4) ** 0.07
    assert seen[0] == 0.5
    assert all(right >= ratio * left for left, right in pairwise(seen))


def test_an_exact_case_stretches_no_axis(maker: StoreMaker) -> None:
    error = {"error": lambda point, _: 1e-16 if point["tile"] == 8 else 1e-3 * point["tile"]}
    figure = draw_curves(read_results(maker.make(TILES, **error)), ["state.relative_error"], [""], Ordinate("error"))
    assert figure.axes[0].get_ylim()[0] > 1e-3


def test_maps_count_lines_in_whole_numbers() -> None:
    _, (axes,) = new_figure(1, 1, width=3, height=3)
    axes.imshow(np.zeros((2, 3)))
    set_whole(axes)
    ticks = [*axes.get_xticks(), *axes.get_yticks()]
    assert all(float(tick).is_integer() for tick in ticks)


def test_an_axis_without_a_unit_takes_that_of_its_field(maker: StoreMaker) -> None:
    (axis,) = read_results(maker.make(WIRES | {"unit": ""})).axes
    assert axis.label == "wires (ohm)"


def test_two_studies_stand_in_one_page(maker: StoreMaker, tmp_path: Path) -> None:
    folder = maker.make(TILES, seeds=(0, 1))
    other = StoreMaker(tmp_path / "other").make(TILES, seeds=(0, 1), error=lambda *_: 0.5)
    page = write_report(folder, folder / "r.html", against=other, bounds=Bounds(gradient_error=0.001)).read_text()
    tables = page_numbers(page)["tables"]
    assert "Two studies side by side" in page
    assert tables["comparison"]["columns"][0]["values"][0] == "state.relative_error"
    assert any("within 0.1" in column["title"] for column in tables["answers"]["columns"])


def test_an_image_has_room_for_some_curves_and_the_page_for_all(maker: StoreMaker) -> None:
    wires = [round(0.1 * k, 1) for k in range(1, 21)]
    folder = maker.make(TILES, WIRES | {"values": wires}, seeds=(0,))
    figure = draw_curves(read_results(folder), ["state.relative_error"], [""], Ordinate("error"))
    assert len(figure.axes[0].get_lines()) == MOST_CURVES
    page = page_numbers(write_report(folder, folder / "r.html").read_text())
    assert len(page["points"]["codes"]) == 60
    assert page["figures"]["state_error"]["measures"][0]["column"] == "state.relative_error"
