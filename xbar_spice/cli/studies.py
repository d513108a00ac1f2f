"""`xbar-spice study` and `xbar-spice show study`."""

from __future__ import annotations

import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import click

from xbar_spice.cli.help import Verb
from xbar_spice.cli.options import existing_file, existing_folder

__all__ = ["show_study", "study"]


def _settings(_: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> dict[str, Any]:
    """Values by dotted path; what is no TOML value is a text."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise click.BadParameter(f"expected NAME=VALUE such as circuit.tile=32, got {text!r}", param=option)
        try:
            found[name.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[name.strip()] = value.strip()
    return found


@click.command(cls=Verb)
@click.argument("study_file", metavar="STUDY.toml", type=existing_file)
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), help="Folder of the results.  [default: runs/NAME]"
)
@click.option("--set", "settings", metavar="NAME=VALUE", multiple=True, callback=_settings,
              help="In place of the file's: circuit.tile=32, seeds=[0,1], or other values of an axis.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would be run, for how long, and what is there; run nothing.")
@click.option("--retry-failed/--keep-failed", default=True, show_default=True, help="Run failed cases again.")
@click.option("--tag", "tags", metavar="WORD", multiple=True, help="By which the study is found again.")
@click.option("--note", "note", metavar="TEXT", help="For whoever reads the report.")
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Cases side by side.  [default: one for each core]"
)
@click.option("--attribute", "chips", type=click.IntRange(min=1), metavar="CHIPS",
              help="Find where errors come from, too: of the largest arrays, on so many chips.")  # fmt: skip
@click.option("--scheduler", metavar="ADDRESS", help="A Dask scheduler in place of processes on this machine.")
@click.option("--wait", type=click.FloatRange(min=0), metavar="SECONDS", default=30, show_default=True,
              help="How long that scheduler may be without any worker.")  # fmt: skip
def study(
    study_file: Path,
    output: Path | None,
    settings: dict[str, Any],
    dry_run: bool,
    retry_failed: bool,
    tags: tuple[str, ...],
    note: str | None,
    jobs: int | None,
    chips: int | None,
    scheduler: str | None,
    wait: float,
) -> None:
    """Run the cases of a study that are not there yet.

    Finished cases are kept at once; run the same command again after an interruption or a change of the axes.
    """
    from xbar_spice.cli.progress import counting_progress, interruptible, study_progress, training_progress
    from xbar_spice.study.attributed import attribute_study
    from xbar_spice.study.execute import cores
    from xbar_spice.study.preview import preview_study
    from xbar_spice.study.runner import run_study
    from xbar_spice.study.study_file import load_study

    said = settings | ({"tags": list(tags)} if tags else {}) | ({} if note is None else {"notes": note})
    parsed = load_study(study_file, said)
    folder = output or Path("runs") / study_file.stem
    if dry_run:
        click.echo(f"{preview_study(parsed, folder, study_file=study_file, jobs=jobs)}")
        return
    kept = f"finished cases are kept in {folder}; the same command goes on from there"
    with (
        interruptible(kept),
        training_progress("training") as on_training,
        study_progress(parsed.name) as on_progress,
    ):
        summary = run_study(
            parsed,
            folder,
            study_file=study_file,
            jobs=jobs,
            scheduler=scheduler,
            wait=wait,
            retry_failed=retry_failed,
            on_waiting=lambda text: click.echo(text, err=True),
            on_progress=on_progress,
            on_training=on_training,
        )
    click.echo(f"{summary} in {summary.seconds:.0f} s")
    if chips is not None:
        with interruptible(kept), counting_progress("attribution") as on_run:
            attribute_study(parsed, folder, study_file=study_file, chips=chips, jobs=jobs or cores(), on_run=on_run)
    click.echo(f"results: {folder}; now: xbar-spice report {folder}")
    if summary.failed or summary.unconverged:
        sys.exit(1)


@click.command("study", cls=Verb)
@click.argument("folder", type=existing_folder)
def show_study(folder: Path) -> None:
    """Say what a study asked, what is there of it, and why cases failed."""
    from xbar_spice.cli.tables import print_rows
    from xbar_spice.study.setups import exact
    from xbar_spice.study.store import Store

    store = Store(folder)
    content = store.study()
    click.echo(f"{content['name']}" + "".join(f" #{tag}" for tag in content.get("tags", [])))
    lines = {
        "notes": content.get("notes"),
        "data": "; ".join(content.get("data", [])),
        "models": "; ".join(f"{model.get('source')}" for model in content.get("models", [])),
        "seeds": f"{len(content.get('seeds', []))}",
        "written": content.get("written"),
    }
    click.echo("\n".join(f"{name:<10}{text}" for name, text in lines.items() if text))
    rows: list[tuple[str, ...]] = [
        (
            str(axis["name"]),
            ", ".join(axis["fields"]),
            str(len(axis["values"])),
            _short(list(map(exact, axis["values"]))),
        )
        for axis in content["axes"]
    ]
    if rows:
        print_rows("axes", ("axis", "settings", "values", "which"), rows)
    status = store.status()
    counts = Counter(status.get(name, "not run") for name in {case["id"] for case in content["cases"]})
    click.echo("cases: " + ", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
    listed = {case["id"]: case["label"] for case in content["cases"]}
    reasons = Counter(str(failure["error"]).splitlines()[0] for failure in store.failures() if failure["id"] in listed)
    for reason, count in reasons.most_common():
        click.echo(f"failed {count} times: {reason}")


def _short(values: list[str], most: int = 6) -> str:
    if len(values) <= most:
        return ", ".join(values)
    return f"{', '.join(values[: most - 2])}, ... {values[-1]}"
