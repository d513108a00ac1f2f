#!/usr/bin/env python3
"""Prints how long ngspice takes to read arrays, in the ways that the engine has and in those that it does not take.

The first table: a process for each read, resident reads of one vector, the same when program and worker sleep until a
message comes, batches of 100 per vector, characterised reads; memory of the worker after 1 and after 1000 reads; and
the overhead, which is the share of a read that is not spent inside libngspice. `--beside` keeps the cores busy with so
many other programs. `--candidates`: ways to solve a resident circuit. `--tiles`: the arrays of a matrix in one deck,
and in several workers. Milliseconds; wires on both sides, driver and sense resistance, conductances log-uniform
over two decades. NGSPICE_LIBRARY_PATH chooses another libngspice, `--command` the program that goes with it.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from common import Arguments

import numpy as np
import psutil

from xbar_spice.engines.ngspice.cards import SWEPT_SOURCE, paired_cards, resident_cards
from xbar_spice.engines.ngspice.engine import NgspiceBank, NgspiceEngine
from xbar_spice.engines.ngspice.installation import describe
from xbar_spice.engines.ngspice.library import Ngspice
from xbar_spice.engines.ngspice.resident import PairedCircuit, ResidentCircuit, SweptCircuit
from xbar_spice.engines.nodal.engine import NodalEngine
from xbar_spice.hardware.crossbar import Crossbar
from xbar_spice.linear.operator import FloatArray
from xbar_spice.spice.netlist import Deck, array_deck

BATCH = 100
MANY = 1000  # reads, after which the worker must not have grown
WIRES: dict[str, Any] = {"r_word": 1.0, "r_bit": 2.0, "r_driver": 50.0, "r_sense": 25.0}
LARGEST_FRESH = 128
LONGEST, FEWEST = 3.0, 5  # seconds after which a measurement ends, and its runs at least
Row = dict[str, float | int | None]


def example(size: int) -> tuple[Crossbar, FloatArray]:
    rng = np.random.default_rng(size)
    return Crossbar(10 ** rng.uniform(-5, -3, (size, size)), **WIRES), rng.uniform(-0.5, 0.5, (size, BATCH))


def seconds(action: Callable[[], object], repeat: int) -> Iterator[float]:
    """Of some runs; fewer if they would take long."""
    end = time.perf_counter() + LONGEST
    for run in range(repeat):
        start = time.perf_counter()
        if run >= FEWEST and start > end:
            return
        action()
        yield time.perf_counter() - start


def milliseconds(action: Callable[[], object], repeat: int) -> float:
    """Median of some runs."""
    return 1e3 * statistics.median(seconds(action, repeat))


def fresh(crossbar: Crossbar, volts: FloatArray, command: str, repeat: int) -> float:
    """The deck by hand, a process for each read."""
    with tempfile.NamedTemporaryFile("w", suffix=".cir") as file:
        file.write(array_deck(crossbar, volts).text)
        file.flush()
        return milliseconds(lambda: subprocess.run([command, "-b", file.name], check=True, capture_output=True), repeat)


def overhead(bank: NgspiceBank, action: Callable[[], object], repeat: int) -> tuple[float, float]:
    """Milliseconds, and the share of them that was not spent inside the library; medians."""
    busy, taken, shares = bank.busy, [], []
    for whole in seconds(action, repeat):
        inside, busy = bank.busy - busy, bank.busy
        taken.append(whole)
        shares.append(1 - inside / whole)
    return 1e3 * statistics.median(taken), statistics.median(shares)


def reads(size: int, command: str | None, repeat: int, many: int) -> Row:
    """One line of the first table."""
    crossbar, volts = example(size)
    row: Row = {"N": size, "fresh": None}
    if command is not None and size <= LARGEST_FRESH:
        row["fresh"] = fresh(crossbar, volts[:, 0], command, min(repeat, 3))
    with NgspiceEngine(workers=1).program_bank([crossbar]) as bank:
        assert isinstance(bank, NgspiceBank)
        start = time.perf_counter()
        bank.read([volts[:, :1]])
        row["start"] = 1e3 * (time.perf_counter() - start)
        worker = psutil.Process(bank.processes[0].pid)
        row["MB after 1"] = worker.memory_info().rss / 2**20
        row["resident"], row["overhead"] = overhead(bank, lambda: bank.read([volts[:, :1]]), repeat)
        batch, row["batch overhead"] = overhead(bank, lambda: bank.read([volts]), max(1, repeat // 5))
        row["batch of 100"] = batch / BATCH
        for k in range(many):
            bank.read([volts[:, [k % BATCH]]])
        row[f"MB after {many}"] = worker.memory_info().rss / 2**20
        (driven,) = bank.read([volts])
        bank.processes[0].drop()  # the next read starts another worker
        bank.processes[0].awake = False
        bank.read([volts[:, :1]])
        row["asleep"], row["overhead asleep"] = overhead(bank, lambda: bank.read([volts[:, :1]]), repeat)
    with NgspiceEngine(workers=1, characterise=True, check_every=10**9).program_bank([crossbar]) as bank:
        start = time.perf_counter()
        bank.read([volts[:, :1]])
        row["to characterise"] = 1e3 * (time.perf_counter() - start)
        row["characterised"] = milliseconds(lambda: bank.read([volts]), 5 * repeat) / BATCH
    (exact,) = NodalEngine().program_bank([crossbar]).read([volts])
    row["error"] = float(np.abs(driven - exact).max() / np.abs(exact).max())
    return row


@contextmanager
def loaded(ngspice: Ngspice, cards: Sequence[str]) -> Iterator[None]:
    ngspice.load(list(cards))
    try:
        yield
    finally:
        ngspice.run("destroy all")
        ngspice.run("remcirc")


def altered(ngspice: Ngspice, deck: Deck, volts: FloatArray) -> list[float]:
    """One `alter` for each source and an `op` for each vector."""
    sources = [terminal.source for terminal in deck.terminals]

    def read() -> None:
        for name, value in zip(sources, volts[:, 0], strict=True):
            ngspice.run(f"alter {name} = {value:.17g}")
        ngspice.run("op")
        ngspice.collected(1)
        ngspice.run("destroy all")

    ngspice.collect([f"{name}#branch" for name in sources], float)
    with loaded(ngspice, [line for line in deck.text.splitlines() if line.strip()]):
        took = milliseconds(read, 3)
    return [took, took]


def swept_anew(ngspice: Ngspice, deck: Deck, volts: FloatArray) -> list[float]:
    """A new `.dc` sweep with external sources for each batch."""
    sources = [terminal.source for terminal in deck.terminals]

    def read(batch: FloatArray) -> None:
        ngspice.drive_points(0, batch)
        ngspice.run(f"dc {SWEPT_SOURCE} 0 {batch.shape[1] - 1} 1")
        ngspice.collected(batch.shape[1])
        ngspice.run("destroy all")

    ngspice.drive_sources(sources)
    ngspice.collect([f"{name}#branch" for name in sources], float)
    with loaded(ngspice, resident_cards(deck.text, sources, 2)):
        return [milliseconds(lambda: read(volts[:, :1]), 3), milliseconds(lambda: read(volts), 1) / volts.shape[1]]


def paused(
    ngspice: Ngspice, deck: Deck, volts: FloatArray, kind: type[PairedCircuit | SweptCircuit], points: int = 8192
) -> list[float]:
    """A sweep that never ends, as the engine has it."""
    sources = [terminal.source for terminal in deck.terminals]
    cards = (paired_cards if kind is PairedCircuit else resident_cards)(deck.text, sources, points)
    circuit: ResidentCircuit = kind(ngspice, cards, sources, (), points)
    try:
        single = milliseconds(lambda: list(circuit.read(volts[:, :1])), 3)
        return [single, milliseconds(lambda: list(circuit.read(volts)), 1) / volts.shape[1]]
    finally:
        ngspice.run("destroy all")
        ngspice.run("remcirc")


def candidates(sizes: Sequence[int]) -> list[Row]:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the library's own words
    ngspice = Ngspice()
    print(f"ngspice {ngspice.ngspice_version}, {'KLU' if ngspice.klu else 'Sparse 1.3'}, ms per vector")
    ways: dict[str, Callable[[Deck, FloatArray], list[float]]] = {
        "alter + op": lambda deck, volts: altered(ngspice, deck, volts),
        "new .dc": lambda deck, volts: swept_anew(ngspice, deck, volts),
        "paused .dc": lambda deck, volts: paused(ngspice, deck, volts, SweptCircuit),
        "paused .ac": lambda deck, volts: paused(ngspice, deck, volts, PairedCircuit),
    }
    rows = []
    for size in sizes:
        crossbar, drives = example(size)
        deck = array_deck(crossbar)
        volts = np.zeros((len(deck.terminals), min(BATCH, 64)))
        volts[:size] = drives[:, : volts.shape[1]]
        row: Row = {"N": size}
        for name, way in ways.items():
            row[name], row[f"{name}, 64 at once"] = way(deck, volts)
        rows.append(row)
        show(row, first=len(rows) == 1)
    return rows


def tiles(names: Sequence[str]) -> list[Row]:
    rows = []
    for name in names:
        count, size = map(int, name.split("x"))
        crossbars = [example(size + k)[0] for k in range(count)]
        rng = np.random.default_rng(0)
        drives = [rng.uniform(-0.5, 0.5, (crossbar.shape[0], BATCH)) for crossbar in crossbars]
        row: Row = {"arrays": count, "N": size}
        found = {}
        for workers in (1, 2):
            with NgspiceEngine(workers=workers).program_bank(crossbars) as bank:
                bank.read([drive[:, :1] for drive in drives])
                single = [drive[:, :1] for drive in drives]
                row[f"{workers} worker, 1 vector"] = milliseconds(lambda: bank.read(single), 20)  # noqa: B023
                row[f"{workers} worker, batch"] = milliseconds(lambda: bank.read(drives), 3) / BATCH  # noqa: B023
                found[workers] = bank.read(drives)
        row["same bits"] = int(all((a == b).all() for a, b in zip(found[1], found[2], strict=True)))
        rows.append(row)
        show(row, first=len(rows) == 1)
    return rows


def show(row: Row, *, first: bool) -> None:
    if first:
        print("  ".join(f"{name:>12}" for name in row))
    cells = []
    for name, value in row.items():
        if value is None:
            text = "-"
        elif "overhead" in name:
            text = f"{value:.1%}"
        else:
            text = str(value) if isinstance(value, int) else f"{value:.3g}" if value < 100 else f"{value:.0f}"
        cells.append(f"{text:>{max(12, len(name))}}")
    print("  ".join(cells), flush=True)


def main() -> None:
    parser = Arguments(__doc__, figure=False)
    parser.add_argument("what", nargs="*", help="Sizes N, or COUNTxSIZE with --tiles.")
    parser.add_argument("--candidates", action="store_true", help="Ways to solve a resident circuit.")
    parser.add_argument("--tiles", action="store_true", help="Several arrays, in one worker and in two.")
    parser.add_argument("--repeats", type=int, default=200, help="Reads to take the median of, if these take seconds.")
    parser.add_argument("--many", type=int, default=MANY, help="Reads after which memory is looked at again.")
    parser.add_argument("--command", default=shutil.which("ngspice"), help="The program ngspice.")
    parser.add_argument("--csv", type=Path, help="File of the table.")
    parser.add_argument("--beside", type=int, default=0, help="Other programs that want a core all the time.")
    chosen = parser.parse(what=["8"], repeats=2, many=10)
    with ExitStack() as others:
        for _ in range(chosen.beside):
            other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            others.callback(other.kill)
        rows = table(chosen)
    if chosen.csv is not None:
        with chosen.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def table(chosen: argparse.Namespace) -> list[Row]:
    if chosen.candidates:
        return candidates([int(size) for size in chosen.what or (16, 32, 64)])
    if chosen.tiles:
        return tiles(chosen.what or ["4x16", "16x16", "4x32", "16x32", "4x64"])
    found = describe()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"ngspice {found.version}, {'KLU' if found.klu else 'Sparse 1.3'}, {found.library}; ms per vector")
    rows: list[Row] = []
    for size in map(int, chosen.what or (16, 32, 64, 128)):
        rows.append(reads(size, chosen.command, chosen.repeats, chosen.many))
        show(rows[-1], first=len(rows) == 1)
    return rows


if __name__ == "__main__":
    main()
