"""The verbs that look at stored results: `report`, `compare`, `export` and `ls`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from xbar_spice.cli.help import Verb
from xbar_spice.cli.options import existing_folder

__all__ = ["compare", "export", "ls", "report"]


@click.command(cls=Verb)
@click.argument("folder", type=existing_folder)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="[default: FOLDER/report.html]")
@click.option(
    "--figure", "figures", metavar="FILE.py:CLASS", multiple=True, help="A figure of your own, after the built-in ones."
)
@click.option(
    "--format", "formats", type=click.Choice(["png", "svg", "pdf"]), multiple=True, default=["png", "svg"],
    show_default=True, help="Of the figures beside the page, one --format for each; SVG is always there.",
)  # fmt: skip
@click.option("--against", metavar="FOLDER", type=existing_folder, help="Another study to compare this one with.")
@click.option("--gradient-error", type=float, metavar="PART", default=0.1, show_default=True,
              help="Error of gradients and states that an array may have, as a part of one.")  # fmt: skip
@click.option("--accuracy-loss", type=float, metavar="PART", default=0.01, show_default=True,
              help="Accuracy that it may lose.")  # fmt: skip
@click.option("--angle", type=float, metavar="DEGREES", default=15.0, show_default=True,
              help="Angle by which its gradients may turn away.")  # fmt: skip
def report(
    folder: Path,
    output: Path | None,
    figures: tuple[str, ...],
    formats: tuple[str, ...],
    against: Path | None,
    gradient_error: float,
    accuracy_loss: float,
    angle: float,
) -> None:
    """Write the HTML report and the figures of a study.

    The page says first how large an array may be for the error, the loss of accuracy and the angle that are tolerated.
    """
    from xbar_spice.cli.progress import interruptible
    from xbar_spice.report.answers import Bounds
    from xbar_spice.report.html import write_report

    bounds = Bounds(gradient_error, accuracy_loss, angle)
    with interruptible("the page was not written; the results are as they were"):
        page = write_report(
            folder, output or folder / "report.html", figures=figures, bounds=bounds, against=against, formats=formats
        )
        click.echo(f"report: {page}")


@click.command(cls=Verb)
@click.argument("first", metavar="A", type=existing_folder)
@click.argument("second", metavar="B", type=existing_folder)
@click.option("--points", is_flag=True, help="Print every point of the axes, too.")
def compare(first: Path, second: Path, points: bool) -> None:
    """Compare two studies where their axes and seeds agree, chip by chip.

    Printed are medians over the chips of A and of B, and B over A with the interval that holds 95 % of what resampled
    chips give; of accuracies it is B less A. A page with both is written by: xbar-spice report A --against B
    """
    from xbar_spice.cli.tables import print_rows
    from xbar_spice.report.comparison import compare as compared
    from xbar_spice.report.data import read_results
    from xbar_spice.report.findings import change_cells

    found = compared(read_results(first), read_results(second))
    rows = [change_cells(change) for change in found if points or change.place == "all points"]
    print_rows(f"A: {first}, B: {second}", ("", "at", "A", "B", "B against A", "chips"), rows)


@click.command(cls=Verb)
@click.argument("folder", type=existing_folder)
@click.option("--format", "kind", type=click.Choice(["csv", "parquet"]), default="csv", show_default=True,
              help="Parquet needs pyarrow.")  # fmt: skip
@click.option("--traces", is_flag=True, help="Every read of every case, in place of one row a case.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path),
              help="[default: FOLDER/results.csv, or traces.csv]")  # fmt: skip
def export(folder: Path, kind: str, traces: bool, output: Path | None) -> None:
    """Write the results of a study as one table, one row a case.

    Units and meanings of its columns stand beside it, in FOLDER/results.columns.csv.
    """
    from xbar_spice.report.table import export_results

    if output is not None and output.suffix != f".{kind}":
        raise click.UsageError(f"--output must end in .{kind}, got {output.name}: give --format, or another name")
    written = export_results(folder, output or folder / f"{'traces' if traces else 'results'}.{kind}", traces=traces)
    click.echo(f"table: {written}")


@click.command(cls=Verb)
@click.argument("folder", type=existing_folder, default=Path("runs"))
def ls(folder: Path) -> None:
    """List the studies below a folder, runs by default: how many of their cases are done, failed, or still to run."""
    from xbar_spice.cli.tables import print_rows
    from xbar_spice.errors import StudyError
    from xbar_spice.report.data import FAILED, MISSING, OK, UNCONVERGED, read_results

    rows: list[tuple[str, ...]] = []
    for path in sorted(folder.rglob("study.json")):
        try:
            results = read_results(path.parent)
        except StudyError:
            continue
        counts: list[Any] = [results.count(status) for status in (OK, UNCONVERGED, FAILED, MISSING)]
        axes = ", ".join(f"{axis.name} ({len(axis.values)})" for axis in results.axes)
        rows.append((str(path.parent), str(results.study["name"]), axes, *(str(count) for count in counts)))
    print_rows(f"studies below {folder}", ("folder", "name", "axes", OK, UNCONVERGED, FAILED, MISSING), rows)
