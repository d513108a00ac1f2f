"""The report of a study: one HTML page that needs no other file and no network."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, final

import jinja2

from xbar_spice.checks import Many, OneOf, checked
from xbar_spice.disk import make_folder, read_bytes, require_writable, write
from xbar_spice.errors import StudyError
from xbar_spice.report.answers import Bounds
from xbar_spice.report.cells import PAPER
from xbar_spice.report.comparison import compare
from xbar_spice.report.data import Axis, Results, default_settings, field_unit, flat, read_results
from xbar_spice.report.figure import Figure
from xbar_spice.report.figures import FORMATS, USUAL, StoredFigure, write_figures
from xbar_spice.report.findings import findings
from xbar_spice.report.grid import Grid
from xbar_spice.report.payload import asset, library, packed, points_of
from xbar_spice.report.statistics import ENOUGH
from xbar_spice.report.tables import (
    answers_table,
    cases_table,
    comparison_table,
    effects_table,
    laws_table,
    points_table,
)

__all__ = ["Section", "write_report"]


@final
@dataclass(frozen=True)
class Section:
    """A further part of a report, before the table of cases.

    Attributes:
        title: its heading.
        paragraphs: plain text.
        columns: headings of a table.
        rows: cells of the table, as long as `columns`.
        links: files to point at, by what they are; relative to the report if they lie below its folder.
    """

    title: str
    paragraphs: Sequence[str] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    links: Mapping[str, Path] | None = None


@checked(formats=Many(OneOf(*FORMATS)))
def write_report(
    store_folder: Path,
    output: Path,
    extra: Sequence[Section] = (),
    *,
    figures: Sequence[str | Figure] = (),
    bounds: Bounds | None = None,
    against: Path | None = None,
    formats: Sequence[str] = USUAL,
) -> Path:
    """Write the report of a study; its figures also lie in a folder `figures` beside it.

    Args:
        store_folder: the study's results.
        output: the HTML file.
        extra: parts to add.
        figures: figures of one's own, after the built-in ones: objects of a class of `Figure`, or their texts.
        bounds: errors that are tolerated when the page says how large an array may be; those of `Bounds()` by default.
        against: results of another study to compare these with, where their axes and seeds agree.
        formats: of the figures beside the page: "png" for slides, "pdf" for papers; "svg" is always there.

    Returns:
        The HTML file.

    Raises:
        StudyError: the folder is not that of a study, the two have nothing in common, or the report or a figure cannot
            be written.
        InvalidInputError: a text names no figure.
    """
    output, asked = Path(output), bounds or Bounds()
    results = read_results(Path(store_folder))
    other = None if against is None else _compared_against(Path(against))
    make_folder(output.parent, error=StudyError)
    require_writable(output, error=StudyError)
    grid = Grid.of(results)
    drawn = write_figures(results, output.parent / "figures", figures, formats)
    tables = {
        "answers": answers_table(grid, asked),
        "points": points_table(grid) if len(grid.codes) else None,
        "effects": effects_table(grid),
        "laws": laws_table(grid),
        "comparison": None if other is None else comparison_table(compare(results, other)),
        "cases": cases_table(results),
    }
    live = {figure.name: figure.interactive for figure in drawn if figure.interactive is not None}
    columns = [measure["column"] for figure in live.values() for measure in figure.get("measures", ())]
    columns += [figure["reference"] for figure in live.values() if figure.get("reference")]
    page = _template().render(
        study=results.study,
        findings=findings(results, asked),
        facts=_facts(results),
        settings=_settings(results),
        x=results.roles()[0],
        figures=[_figure(figure, output.parent) for figure in drawn],
        sections=[_section(section, output.parent) for section in extra],
        tables=tables,
        results=results,
        other=None if other is None else {"study": other.study, "folder": _relative(other.store.folder, output.parent)},
        folder=_relative(Path(store_folder), output.parent),
        provenance=_provenance(results),
        paper=PAPER,
        enough=ENOUGH,
        style=asset("report.css").decode(),
        script=asset("report.js").decode(),
        library=library(),
        numbers=packed(live, [table for table in tables.values() if table is not None], points_of(grid, columns)),
    )
    return write(output, page, error=StudyError)


def _compared_against(folder: Path) -> Results:
    try:
        return read_results(folder)
    except StudyError as error:
        raise StudyError(f"against: {error}") from None


def _template() -> jinja2.Template:
    text = files("xbar_spice.report").joinpath("templates/report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(text)


def _figure(figure: StoredFigure, base: Path) -> dict[str, Any]:
    content = base64.b64encode(read_bytes(figure.svg, error=StudyError)).decode()
    return {
        "name": figure.name,
        "title": figure.title,
        "caption": figure.caption,
        "kind": "wide" if figure.wide else "",
        "image": f"data:image/svg+xml;base64,{content}",
        "files": {ending.upper(): _relative(path, base) for ending, path in figure.files.items()},
    }


def _section(section: Section, base: Path) -> dict[str, Any]:
    links = {name: _relative(path, base) for name, path in (section.links or {}).items()}
    return {
        "title": section.title,
        "paragraphs": section.paragraphs,
        "columns": section.columns,
        "rows": section.rows,
        "links": links,
    }


def _relative(path: Path, base: Path) -> str:
    return Path(os.path.relpath(path, base)).as_posix()


# --- what was simulated ---------------------------------------------------------------------------------------------


def _facts(results: Results) -> list[tuple[str, str]]:
    """What was simulated, in pairs of a heading and a text."""
    study, parameters, varied = results.study, results.study.get("parameters", {}), _varied(results)
    circuit, data = parameters.get("circuit", {}), parameters.get("data", {})
    found = [("Model", _model(model)) for model in study.get("models", [])]
    if data:
        found.append(("Data", "; ".join(study.get("data") or [_data_of_old(study, data)])))
    if "engine" in circuit:
        found.append(("Engine", "varied" if "circuit.engine" in varied else str(circuit["engine"])))
    found += [(f"Axis: {axis.name}", _axis(axis)) for axis in results.axes]
    found.append(
        ("Seeds", ", ".join(map(str, study.get("seeds", []))) + "; where nothing is drawn, the first one only")
    )
    versions = study.get("versions", {})
    found.append(("Versions", ", ".join(f"{name} {number}" for name, number in versions.items())))
    return found


def _varied(results: Results) -> set[str]:
    return {field for axis in results.axes for field in axis.fields}


def _settings(results: Results) -> dict[str, list[tuple[str, str, str]]]:
    """Settings of the circuit and the solver with their units: those that were chosen, and those left as they are."""
    parameters, known, varied = results.study.get("parameters", {}), default_settings(), _varied(results)
    found: dict[str, list[tuple[str, str, str]]] = {"chosen": [], "left": []}
    for section in ("circuit", "solver"):
        for name, value in flat(parameters.get(section, {})).items():
            field = f"{section}.{name}"
            if field in varied or field == "circuit.engine" or value is None:
                continue
            text = f"{value:g}" if isinstance(value, float) else str(value)
            kind = "left" if field in known and known[field] == value else "chosen"
            found[kind].append((field, text, field_unit(field)))
    return found


def _provenance(results: Results) -> str:
    """What was asked, as JSON: from it the same cases follow."""
    kept = ("name", "axes", "seeds", "parameters", "models_folders", "netlists", "models", "versions", "written")
    content = {name: results.study[name] for name in kept if name in results.study}
    return json.dumps(content, indent=1, ensure_ascii=False)


def _data_of_old(study: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """The samples of a study that was run when digits went to every model that they fit."""
    digits = data["task"] == "digits" or all(model.get("digits") for model in study.get("models", []))
    kind = "handwritten test digits" if digits and data["task"] != "random" else "random states"
    return f"{data['samples']} {kind}, drawn with seed {data['seed']}"


def _model(model: Mapping[str, Any]) -> str:
    kernels = model.get("kernels")
    shape = f"A {model['hidden']} x {model['states']}, B {model['states']} x {model['hidden']}"
    if "matrices" in model:
        shape = ", ".join(f"{name} {rows} x {cols}" for name, (rows, cols) in model["matrices"].items())
    if kernels:
        shape += f", convolutions with kernels a {tuple(kernels['a'])} and b {tuple(kernels['b'])}"
    return (
        f"dz/dt = {model.get('formula', 'B relu(A z)')} from {model['source']}: {shape}; "
        f"{model['steps']} steps of {model['method']}, h = {model['h']:g}; weights {model['fingerprint'][:12]}"
    )


def _axis(axis: Axis) -> str:
    values = ", ".join(
        axis.text(value) if index + 1 == len(axis.values) else f"{value}" for index, value in enumerate(axis.values)
    )
    return f"{values} ({', '.join(axis.fields)})"
