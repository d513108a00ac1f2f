"""Progress bars on standard error; silent when that is no terminal."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from textwrap import shorten

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar

from xbar_spice.mapping.trace import ReadRecord, ReadTrace
from xbar_spice.study.runner import Progress
from xbar_spice.train.descent import Epoch

__all__ = [
    "counting_progress",
    "interruptible",
    "reading_progress",
    "study_progress",
    "training_progress",
    "waiting",
]


_NOTE = 28  # letters behind a bar, so that the bar keeps its place on a narrow terminal


@contextmanager
def training_progress(what: str) -> Iterator[Callable[[Epoch], None]]:
    """A bar that counts the epochs of a training; it appears with the first one."""
    with _bar(MofNCompleteColumn()) as bar:
        task = bar.add_task(what, total=None, note="", visible=False)

        def update(epoch: Epoch) -> None:
            note = f"loss {epoch.loss:.4f}"
            bar.update(task, completed=epoch.number, total=epoch.of, note=note, visible=True)

        yield update


@contextmanager
def study_progress(what: str) -> Iterator[Callable[[Progress], None]]:
    """A bar that counts the cases of a study, with those that had a result before."""
    with _bar(MofNCompleteColumn()) as bar:
        task = bar.add_task(what, total=None, note="", visible=False)

        def update(progress: Progress) -> None:
            note = shorten(progress.case.label, _NOTE, placeholder=" ...")
            bar.update(task, completed=progress.settled, total=progress.total, note=note, visible=True)
            if progress.status == "failed":
                bar.console.print(f"failed: {progress.case.label}: {progress.error.splitlines()[0]}", markup=False)

        yield update


@contextmanager
def reading_progress(steps: int, what: str = "reads") -> Iterator[ReadTrace]:
    """A trace whose reads move a bar: through the time steps forward, then back through the adjoint's."""
    with _bar() as bar:
        task = bar.add_task(what, total=2 * steps, note="")
        count = 0

        def observe(record: ReadRecord) -> None:
            nonlocal count
            count += 1
            step = record.step or 0
            done = 2 * steps - 1 - step if record.phase == "adjoint" else step
            bar.update(task, completed=done, note=f"{count} reads, {record.phase} step {step}")

        yield ReadTrace(observe)
        bar.update(task, completed=2 * steps, note=f"{count} reads")


@contextmanager
def counting_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that counts what is done out of all."""
    with _bar(MofNCompleteColumn()) as bar:
        task = bar.add_task(what, total=None, note="")
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """A bar that only shows that something goes on, and for how long."""
    with _bar() as bar:
        bar.add_task(what, total=None, note="")
        yield


@contextmanager
def interruptible(kept: str) -> Iterator[None]:
    """Let Ctrl-C end the command with a word on what is kept of its work, and with the exit code of an interruption."""
    try:
        yield
    except KeyboardInterrupt:
        click.secho(f"interrupted: {kept}", fg="red", err=True)
        sys.exit(128 + signal.SIGINT)


def _bar(*columns: MofNCompleteColumn) -> ProgressBar:
    return ProgressBar(
        TextColumn("{task.description:<22}"),
        BarColumn(),
        *columns,
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )
