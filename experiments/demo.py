#!/usr/bin/env python3
"""The main job on real data: train, write netlists, co-simulate through ngspice, study array sizes, report."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path
from typing import Any

from common import ROOT, Arguments, digits_task, elapsed

import numpy as np
from rich.console import Console

import xbar_spice as xs
from xbar_spice.cli.progress import reading_progress, study_progress, training_progress
from xbar_spice.cli.tables import print_cosimulation
from xbar_spice.cosim import Cosimulation, Problem
from xbar_spice.cosim.run.convergence import warn_of_failures
from xbar_spice.engines.ngspice.installation import Installation, describe
from xbar_spice.mapping.design import Design
from xbar_spice.report.data import read_results
from xbar_spice.report.findings import findings
from xbar_spice.report.html import Section, write_report
from xbar_spice.streams import random_stream
from xbar_spice.study.case_folder import write_case
from xbar_spice.study.problem import make_problem
from xbar_spice.study.runner import run_study
from xbar_spice.study.study_file import parse_study
from xbar_spice.train.training import train

SEED = 0
PROGRAMMING = 0.02
# 16 x 16 weights per array, wires as at the 32 nm node.
DESIGN = Design(
    tile=16,
    mapping="interleaved",
    r_word=1.0,
    r_bit=1.0,
    r_driver=20.0,
    variation=xs.Variation(programming=PROGRAMMING),
)
console = Console(highlight=False, soft_wrap=True)


def main() -> None:
    parser = Arguments(__doc__, figure=False, samples=4)
    parser.add_argument("--output", type=Path, default=ROOT / "runs" / "demo", help="Folder of all results.")
    options = parser.parse(samples=1, output=ROOT / "runs" / "quick" / "demo")
    output = options.output
    ngspice = describe()

    step("1. Train a convolutional neural ODE on handwritten digits")
    weights = trained_weights(output, quick=options.quick)

    step("2. Write the netlists of A and B")
    problem = make_problem(xs.load_model(weights), samples=options.samples, seed=SEED)
    decks = written_netlists(problem, weights, output / "netlists")
    run_by_hand(decks, ngspice)

    step("3. Co-simulate: every product is a read of the arrays")
    result = cosimulated(problem, ngspice, output / "cosim")

    step("4. Study the error against array size")
    store = studied(weights, output / "study", quick=options.quick)

    step("5. Report")
    largest = [sentence for sentence in findings(read_results(store)) if sentence.startswith("Largest")]
    numbers = [agreement(problem, result), errors(result), *largest[:1]]
    section = Section(
        "One co-simulation, read by read",
        paragraphs=numbers[:2],
        links={"netlists": decks, "record and trace of every read": output / "cosim"},
    )
    report = write_report(store, output / "report.html", extra=[section])
    for name, path in {
        "report": report,
        "netlists": decks,
        "records": store,
        "reads": output / "cosim",
    }.items():
        console.print(f"{name:<10} {path}")
    console.print("")
    for number in numbers:
        console.print(f"- {number}")
    console.print(f"\nAll of it took {elapsed():.0f} s.")


def step(title: str) -> None:
    console.rule(title, align="left")


def trained_weights(output: Path, *, quick: bool) -> Path:
    with training_progress("training digits-conv") as progress:
        result = train(digits_task(quick=quick), seed=SEED, progress=progress)
    path = output / "weights.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    xs.save_model(path, result.model)
    console.print(
        f"test accuracy {result.test_accuracy:.2%}, trained in {result.seconds:.0f} s; "
        f"A is {result.model.A.shape[0]} x {result.model.A.shape[1]}, {result.model.steps} implicit Euler steps"
    )
    return path


def written_netlists(problem: Problem, weights: Path, folder: Path) -> Path:
    """Decks of A, multiplying the first image, and of B."""
    model = problem.model
    for name, matrix, vector in (("A", model.A, problem.z0[:, 0]), ("B", model.B, None)):
        mapped = xs.map_weights(matrix, DESIGN, rng=random_stream(SEED, "devices", name))
        comments = {"weights": weights.name, "seed": SEED}
        files = xs.write_netlists(mapped, folder, name=name, vector=vector, comments=comments)
        console.print(f"{name}: {len(mapped.arrays)} arrays, {len(files)} files")
    return folder


def run_by_hand(folder: Path, ngspice: Installation) -> None:
    if ngspice.command is None:
        return
    deck = folder / "A.forward.cir"
    done = subprocess.run([ngspice.command, "-b", deck], capture_output=True, text=True, check=True)
    currents = sum("#branch" in line for line in done.stdout.splitlines())
    console.print(f"by hand: ngspice -b {deck.name} prints {currents} currents")


def cosimulated(problem: Problem, ngspice: Installation, folder: Path) -> Cosimulation:
    """Through ngspice if it is there; the nodal engine checks every gradient entry, or stands in."""
    engine = "ngspice" if ngspice.usable else "nodal"
    if not ngspice.usable:
        console.print("ngspice is missing, the nodal engine stands in: " + "\n".join(ngspice.advice))
    with reading_progress(problem.model.steps, f"reads from {engine}") as trace:
        result = xs.cosimulate(problem, DESIGN, engine=engine, seed=SEED, trace=trace)
    write_case(folder, result)
    print_cosimulation(result.record)
    warn_of_failures("co-simulation", result.record["convergence"])
    return result


def studied(weights: Path, folder: Path, *, quick: bool) -> Path:
    content: dict[str, Any] = tomllib.loads((ROOT / "examples" / "array_size.toml").read_text())
    content["model"] = {"weights": str(weights.resolve())}
    if quick:
        content |= {"seeds": [0], "data": {"samples": 1}}
        for axis, values in zip(content["axes"], ([32, 64], [1.0], [0.0, 0.05]), strict=True):
            axis["values"] = values
    with study_progress("cases") as progress:
        summary = run_study(parse_study(content, "examples/array_size.toml"), folder, on_progress=progress)
    console.print(f"{summary} in {summary.seconds:.0f} s")
    return folder


def agreement(problem: Problem, result: Cosimulation) -> str:
    """How far the gradients that were read are from those of the exact network solution."""
    exact = xs.cosimulate(problem, DESIGN, engine="nodal", seed=SEED)
    worst = max(
        float(np.linalg.norm(found - exact.gradients[name]) / np.linalg.norm(exact.gradients[name]))
        for name, found in result.gradients.items()
    )
    return (
        f"{len(result.trace)} reads of A and B came from {result.record['engine']}; the gradients agree with the exact "
        f"network solution to {worst:.0e}."
    )


def errors(result: Cosimulation) -> str:
    found = result.record["gradients"]["A"]
    return (
        f"Tiles of {DESIGN.tile} x {DESIGN.tile} at {DESIGN.r_word:g} ohm and {PROGRAMMING:.0%} "
        f"programming error, on one chip: the final state is off by {result.record['state']['relative_error']:.1%}, "
        f"the gradient of A by {found['relative_error']:.0%} (cosine {found['cosine']:.3f})."
    )


if __name__ == "__main__":
    main()
