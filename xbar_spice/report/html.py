"""The report of a study: one HTML page that needs no other file and no network."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, final

import jinja2
import numpy as np
import pandas as pd

from xbar_spice.checks import checked
from xbar_spice.disk import make_folder, read_bytes, require_writable, write
from xbar_spice.errors import StudyError
from xbar_spice.report.answers import percent
from xbar_spice.report.data import (
    OK,
    Axis,
    Results,
    read_results,
)
from xbar_spice.report.figure import Figure
from xbar_spice.report.figures import StoredFigure, write_figures
from xbar_spice.report.findings import findings
from xbar_spice.report.quantities import (
    ACCURACY,
    DIGITAL_ACCURACY,
    LOSS_ERROR,
    SECONDS,
    STATE_ERROR,
    WORST_READ,
    gradient,
)
from xbar_spice.settings import KIND

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


@checked()
def write_report(
    store_folder: Path, output: Path, extra: Sequence[Section] = (), *, figures: Sequence[str | Figure] = ()
) -> Path:
    """Write the report of a study; its figures also lie in a folder `figures` beside it, as PNG and SVG.

    Args:
        store_folder: the study's results.
        output: the HTML file.
        extra: parts to add.
        figures: figures of one's own, after the built-in ones: objects of a class of `Figure`, or their texts.

    Returns:
        The HTML file.

    Raises:
        StudyError: the folder is not that of a study, or the report or a figure cannot be written.
        InvalidInputError: a text names no figure.
    """
    output = Path(output)
    results = read_results(Path(store_folder))
    make_folder(output.parent, error=StudyError)
    require_writable(output, error=StudyError)
    drawn = write_figures(results, output.parent / "figures", figures)
    page = _template().render(
        study=results.study,
        findings=findings(results),
        facts=_facts(results),
        figures=[_figure(figure, output.parent) for figure in drawn],
        sections=[_section(section, output.parent) for section in extra],
        table=_table(results),
        results=results,
        folder=_relative(Path(store_folder), output.parent),
    )
    return write(output, page, error=StudyError)


def _template() -> jinja2.Template:
    text = files("xbar_spice.report").joinpath("templates/report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(text)


def _figure(figure: StoredFigure, base: Path) -> dict[str, str]:
    content = base64.b64encode(read_bytes(figure.svg, error=StudyError)).decode()
    return {
        "title": figure.title,
        "caption": figure.caption,
        "kind": "wide" if figure.wide else "",
        "image": f"data:image/svg+xml;base64,{content}",
        "png": _relative(figure.png, base),
        "svg": _relative(figure.svg, base),
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
    study, parameters = results.study, results.study.get("parameters", {})
    varied = {field for axis in results.axes for field in axis.fields}
    circuit, data = parameters.get("circuit", {}), parameters.get("data", {})
    found = [("Model", _model(model)) for model in study.get("models", [])]
    if data:
        found.append(("Data", "; ".join(study.get("data") or [_data_of_old(study, data)])))
    if "engine" in circuit:
        found.append(("Engine", "varied" if "circuit.engine" in varied else str(circuit["engine"])))
    settings = [
        f"{name} = {value:g}" if isinstance(value, float) else f"{name} = {value}"
        for name, value in _flat(circuit).items()
        if f"circuit.{name}" not in varied and name not in ("engine",) and value is not None
    ]
    if settings:
        found.append(("Circuit", ", ".join(settings) + " (ohm, siemens, volt, second)"))
    found += [(f"Axis: {axis.name}", _axis(axis)) for axis in results.axes]
    found.append(
        ("Seeds", ", ".join(map(str, study.get("seeds", []))) + "; where nothing is drawn, the first one only")
    )
    versions = study.get("versions", {})
    found.append(("Versions", ", ".join(f"{name} {number}" for name, number in versions.items())))
    return found


def _data_of_old(study: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """The samples of a study that was run when digits went to every model that they fit."""
    digits = data["task"] == "digits" or all(model.get("digits") for model in study.get("models", []))
    kind = "handwritten test digits" if digits and data["task"] != "random" else "random states"
    return f"{data['samples']} {kind}, drawn with seed {data['seed']}"


def _model(model: Mapping[str, Any]) -> str:
    kernels = model.get("kernels")
    shape = f"A {model['hidden']} x {model['states']}, B {model['states']} x {model['hidden']}"
    if kernels:
        shape += f", convolutions with kernels a {tuple(kernels['a'])} and b {tuple(kernels['b'])}"
    return (
        f"dz/dt = B relu(A z) from {model['source']}: {shape}; {model['steps']} steps of {model['method']}, "
        f"h = {model['h']:g}; weights {model['fingerprint'][:12]}"
    )


def _axis(axis: Axis) -> str:
    values = ", ".join(
        axis.text(value) if index + 1 == len(axis.values) else f"{value}" for index, value in enumerate(axis.values)
    )
    return f"{values} ({', '.join(axis.fields)})"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and value.get(KIND) is not None:  # a text says all of a part
            found[f"{prefix}{name}"] = value[KIND]
            continue
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


# --- the table of cases ---------------------------------------------------------------------------------------------


def _table(results: Results) -> dict[str, Any]:
    """Headings and rows; a cell is a text and the value to sort by."""
    columns: list[tuple[str, str, Any]] = [(axis.heading, axis.key, None) for axis in results.axes]
    columns += [("seed", "seed", None), ("status", "status", None)]
    columns += [
        ("error of z_T", STATE_ERROR, percent),
        ("error of the loss", LOSS_ERROR, percent),
    ]
    columns += [("accuracy", ACCURACY, percent), ("digital accuracy", DIGITAL_ACCURACY, percent)]
    for name in results.shown_gradients:
        columns.append((f"error of d{name}", gradient(name, "relative_error"), percent))
        columns.append((f"cosine of d{name}", gradient(name, "cosine"), _cosine))
        columns.append((f"signs of d{name}", gradient(name, "sign_agreement"), percent))
    columns += [
        ("worst read error", WORST_READ, percent),
        ("seconds", SECONDS, _seconds),
        ("case", "id", None),
    ]
    shown = [column for column in columns if results.column(column[1])]
    rows = [
        {"status": row["status"], "cells": [_cell(row[key], show) for _, key, show in shown]}
        for row in results.cases.to_dict("records")
    ]
    return {"columns": [heading for heading, _, _ in shown], "rows": rows, "ok": OK}


def _cell(value: Any, show: Any) -> dict[str, Any]:
    if value is None or (isinstance(value, float) and not np.isfinite(value)) or value is pd.NA:
        return {"text": "-", "sort": "", "number": show is not None}
    if show is not None:
        return {"text": show(float(value)), "sort": repr(float(value)), "number": True}
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return {"text": f"{value:g}" if isinstance(value, float) else str(value), "sort": str(value), "number": number}


def _cosine(value: float) -> str:
    return f"{value:.5f}"


def _seconds(value: float) -> str:
    return f"{value:.1f}"
