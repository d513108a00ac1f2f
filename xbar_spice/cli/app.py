"""The verbs of `xbar-spice`; each reads its options, calls the package, and says what came of it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from xbar_spice.cli.help import Verbs
from xbar_spice.cli.options import (
    circuit_options,
    engine_option,
    existing_file,
    make_design,
    make_pulse,
    pulse_options,
    seed_option,
)
from xbar_spice.errors import XbarError

__all__ = ["main"]


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="xbar-spice")
def app() -> None:
    """SPICE co-simulation of memristor crossbars that run neural ODEs.

    A typical run: train a model, look at its netlists, co-simulate it, ask where the errors come from, train it
    further on the chip, then study it over array sizes. WEIGHTS is a file that `train` wrote or one of yours: .npz,
    .safetensors, or a PyTorch state dict.

    \b
      xbar-spice train digits-conv --output weights.npz
      xbar-spice netlist weights.npz --tile 16 --r-word 1 --r-bit 1
      xbar-spice cosim weights.npz --tile 16 --r-word 1 --r-bit 1
      xbar-spice attribute weights.npz --tile 16 --r-word 1 --r-bit 1 --adc-bits 8
      xbar-spice tune weights.npz --programming 0.1 --headroom 1.5 --output tuned.npz
      xbar-spice study examples/array_size.toml --output runs/array_size
      xbar-spice report runs/array_size
    """  # noqa: D301 (a backspace, by which click knows a block that is not to be wrapped)


@app.command()
@click.argument("task", type=click.Choice(["digits-conv", "digits-dense"]))
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Weight file, .npz or .safetensors.  [default: TASK.npz]",
)
@click.option(
    "--seed", type=click.IntRange(min=0), metavar="N", default=0, show_default=True, help="Of split, start and batches."
)
def train(task: str, output: Path | None, seed: int) -> None:
    """Train a neural ODE on handwritten digits, on digital matrices.

    digits-conv has circular 3x3 convolutions for A and B, digits-dense has dense matrices. The images are those of
    scikit-learn, and the gradients those of the discrete adjoint, the same that co-simulation runs on arrays.
    """
    from xbar_spice.cli.progress import training_progress
    from xbar_spice.train.training import train as train_task
    from xbar_spice.weights import save_model

    with training_progress(f"training {task}") as progress:
        result = train_task(task, seed=seed, progress=progress)
    path = output or Path(f"{task}.npz")
    save_model(path, result.model)
    click.echo(f"test accuracy    {result.test_accuracy:.2%} ({result.linear_accuracy:.2%} for the classifier alone)")
    click.echo(f"train accuracy   {result.train_accuracy:.2%}")
    click.echo(f"time             {result.seconds:.1f} s")
    click.echo(f"weights          {path}")


@app.command()
@click.argument("weights", type=existing_file)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("netlists_out"),
    show_default=True,
    help="Folder of the decks.",
)
@click.option("--side", type=click.Choice(["rows", "cols"]), default="rows", show_default=True, help="The driven side.")
@click.option("--netlists", type=click.Path(exists=True, file_okay=False, path_type=Path), multiple=True,
              help="Folder of your own templates, searched first.")  # fmt: skip
@click.option("--feedback", is_flag=True, help="Write the circuits that solve Newton's linear systems, too.")
@seed_option
@circuit_options
@pulse_options
def netlist(
    weights: Path, output: Path, side: Any, netlists: tuple[Path, ...], feedback: bool, seed: int, **circuit: Any
) -> None:
    """Write the netlists of A and B from trained weights.

    One deck for each matrix, one for each array, and a JSON manifest that maps every source and current to its matrix
    index and sign. Every deck runs as it is: ngspice -b DECK. With --pulse-width, one more deck for each array, with
    the capacitances of its lines: a transient analysis of a pulsed read that prints energies, charges and currents.
    With --feedback also the loop of both matrices with op-amps that solves the first Newton step of a random state, its
    transpose, and the feedback array of that system.
    """
    from xbar_spice.cosim import weight_scales
    from xbar_spice.export import write_netlists
    from xbar_spice.mapping import map_weights
    from xbar_spice.variation import random_stream
    from xbar_spice.weights import load_model

    pulse, capacitance = make_pulse(circuit)
    design = make_design(circuit)
    model = load_model(weights)
    scales = weight_scales(model, design)
    for name, matrix in (("A", model.A), ("B", model.B)):
        rng = random_stream(seed, "devices", name)
        mapped = map_weights(matrix, design, rng=rng, siemens_per_weight=scales.get(name))
        comments = {"weights": weights.name, "seed": seed}
        files = write_netlists(
            mapped,
            output,
            name=name,
            side=side,
            comments=comments,
            netlists=netlists,
            pulse=pulse,
            capacitance=capacitance,
        )
        click.echo(f"{files[0]}  {len(mapped.arrays)} arrays, largest {max(x.shape for x in mapped.crossbars)}")
        click.echo(f"{files[-1]}")
    if feedback:
        from xbar_spice.cli.feedback import write_first_step

        for path in write_first_step(model, design, output, seed=seed, weights=weights.name, netlists=netlists):
            click.echo(f"{path}")
    click.echo(f"run one by hand: ngspice -b {files[0]}")


@app.command()
@click.argument("weights", type=existing_file)
@engine_option()
@click.option(
    "--characterise", is_flag=True, help="Read transfer matrices once through ngspice, and check them on the way."
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    metavar="N",
    default=4,
    show_default=True,
    help="Test images, or random states.",
)
@click.option(
    "--linear-solver",
    type=click.Choice(["gmres", "bicgstab", "cg", "richardson", "chord", "feedback"]),
    default="gmres",
    show_default=True,
    help="Of implicit steps; feedback is a circuit of the arrays and op-amps.",
)
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), help="Folder for record.json and trace.csv."
)
@seed_option
@circuit_options
def cosim(
    weights: Path,
    engine: str,
    characterise: bool,
    samples: int,
    linear_solver: Any,
    output: Path | None,
    seed: int,
    **circuit: Any,
) -> None:
    """Run a model on arrays, and compare it with digital matrices.

    The model is solved and differentiated: every product of the forward run, of Newton's linear solves and of the
    adjoint is a read of the arrays. A model with 64 states and a classifier runs on handwritten digits, any other one
    on random states.
    """
    from xbar_spice.cli.progress import reading_progress
    from xbar_spice.cli.tables import print_cosimulation
    from xbar_spice.cosim import SolverOptions, cosimulate
    from xbar_spice.engines.registry import get_engine
    from xbar_spice.study.problem import make_problem
    from xbar_spice.study.store import write_case
    from xbar_spice.weights import load_model

    if characterise and engine != "ngspice":
        raise click.UsageError(f"--characterise is for --engine ngspice, got {engine}")
    answering = get_engine(engine, **({"characterise": True} if characterise else {}))
    problem = make_problem(load_model(weights), samples=samples, seed=seed)
    solver = SolverOptions()
    solver = replace(solver, krylov=replace(solver.krylov, method=linear_solver))
    with reading_progress(problem.model.steps) as trace:
        result = cosimulate(problem, make_design(circuit), engine=answering, seed=seed, solver=solver, trace=trace)
    print_cosimulation(result.record)
    if output is not None:
        click.echo(f"record and trace: {write_case(output, result)}")


@app.command()
@click.argument("weights", type=existing_file)
@engine_option("nodal", "; derivatives come from nodal")
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    metavar="N",
    default=4,
    show_default=True,
    help="Test images, or random states.",
)
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="Folder for gradients.json.")
@seed_option
@circuit_options
def gradients(weights: Path, engine: str, samples: int, output: Path | None, seed: int, **circuit: Any) -> None:
    """Compare the gradient that arrays return with the true one.

    bias is hardware - true, what a trainer on the arrays gets wrong; shift is true - digital, what the circuit changes
    in the model. The true gradient is that of the analog loss, through the sensitivities of the circuit.
    """
    from xbar_spice.cli.progress import waiting
    from xbar_spice.cli.tables import print_gradients
    from xbar_spice.cosim import three_gradients
    from xbar_spice.study.problem import make_problem
    from xbar_spice.study.store import write_record
    from xbar_spice.weights import load_model

    problem = make_problem(load_model(weights), samples=samples, seed=seed)
    with waiting("three gradients"):
        record = three_gradients(problem, make_design(circuit), engine=engine, seed=seed).record
    print_gradients(record)
    if output is not None:
        click.echo(f"record: {write_record(output / 'gradients.json', record)}")


@app.command()
@click.argument("weights", type=existing_file)
@engine_option("nodal")
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    metavar="N",
    default=4,
    show_default=True,
    help="Test images, or random states.",
)
@click.option(
    "--orders", type=click.IntRange(min=4), metavar="N", help="Random orders to sample.  [default: all combinations]"
)
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Runs side by side.  [default: one for each core]"
)
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), help="Folder for attribution.json, .png and .svg."
)
@seed_option
@circuit_options
def attribute(
    weights: Path,
    engine: str,
    samples: int,
    orders: int | None,
    jobs: int | None,
    output: Path | None,
    seed: int,
    **circuit: Any,
) -> None:
    """Say where the errors come from.

    For each imperfection: the error that it causes alone, its Shapley value, and the error of all but it. Every
    combination of the imperfections that the options describe is co-simulated with the same devices.
    """
    from xbar_spice.cli.progress import counting_progress
    from xbar_spice.cli.tables import print_attribution
    from xbar_spice.cosim import attribute as attribute_errors
    from xbar_spice.report.attribution import draw_attribution
    from xbar_spice.report.style import save, styled
    from xbar_spice.study.execute import cores
    from xbar_spice.study.problem import make_problem
    from xbar_spice.study.store import write_record
    from xbar_spice.weights import load_model

    problem = make_problem(load_model(weights), samples=samples, seed=seed)
    with counting_progress("co-simulations") as on_run:
        found = attribute_errors(
            problem,
            make_design(circuit),
            engine=engine,
            seed=seed,
            orders=orders,
            jobs=jobs or cores(),
            on_run=on_run,
        )
    print_attribution(found.record)
    if output is not None:
        click.echo(f"record: {write_record(output / 'attribution.json', found.record)}")
        with styled():
            click.echo(f"figure: {save(draw_attribution(found.record), output, 'attribution')[0]}")


@app.command()
@click.argument("weights", type=existing_file)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), required=True,
              help="Weight file, .npz or .safetensors.")  # fmt: skip
@click.option("--gradient", type=click.Choice(["hardware", "hybrid", "true"]), default="hardware", show_default=True,
              help="Transposed reads, transposes of the weights as meant, or through the circuit.")  # fmt: skip
@click.option(
    "--epochs", type=click.IntRange(min=1), metavar="N", default=5, show_default=True, help="Passes over the images."
)
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), metavar="RATE", default=0.003,
              show_default=True, help="Of Adam at the start.")  # fmt: skip
@click.option("--classifier-only", is_flag=True, help="Leave the arrays as they are.")
@engine_option("nodal")  # training programs arrays anew at every step, which costs ngspice far more than a read
@seed_option
@circuit_options
def tune(
    weights: Path,
    output: Path,
    gradient: Any,
    epochs: int,
    learning_rate: float,
    classifier_only: bool,
    engine: str,
    seed: int,
    **circuit: Any,
) -> None:
    """Train a digits model further on the arrays of one chip.

    Every step reads the arrays forward and, for the gradient, transposed, and writes the new weights to the same
    devices, whose errors stay. Loss and accuracy are those of the chip on images held back. The weight file keeps the
    range of weights that the chip holds: with the same options and seed, cosim and netlist find the chip as training
    left it.
    """
    from xbar_spice.cli.progress import training_progress
    from xbar_spice.cosim import Chip
    from xbar_spice.train.training import TUNING
    from xbar_spice.train.training import tune as tune_model
    from xbar_spice.weights import load_model, save_model

    chip = Chip(make_design(circuit), engine=engine, seed=seed, gradient=gradient)
    trained: Any = "classifier" if classifier_only else "everything"
    schedule = replace(TUNING, epochs=epochs, learning_rate=learning_rate, trained=trained)
    with training_progress(f"tuning {weights.name}") as progress:
        result = tune_model(load_model(weights), schedule, seed=seed, processor=chip, progress=progress)
    save_model(output, result.model)
    click.echo("on the chip      loss      accuracy on images held back")
    for name, test in (("as deployed", result.before), *((f"epoch {x.number}", x.test) for x in result.history)):
        click.echo(f"{name:<16} {test.loss:<9.4f} {test.accuracy:.2%}")
    click.echo(f"time             {result.seconds:.1f} s")
    click.echo(f"weights          {output}")


@app.command()
@click.argument("study_file", metavar="STUDY.toml", type=existing_file)
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), help="Folder of the results.  [default: runs/NAME]"
)
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Cases side by side.  [default: one for each core]"
)
@click.option("--scheduler", metavar="ADDRESS", help="An existing Dask scheduler instead of a local cluster.")
def study(study_file: Path, output: Path | None, jobs: int | None, scheduler: str | None) -> None:
    """Run the cases of a study that are not there yet.

    Finished cases are kept at once; run the same command again after an interruption or a change of the axes.
    """
    from xbar_spice.cli.progress import study_progress, training_progress
    from xbar_spice.study.config import load_study
    from xbar_spice.study.runner import run_study

    parsed = load_study(study_file)
    folder = output or Path("runs") / study_file.stem
    with training_progress("training") as on_training, study_progress(parsed.name) as on_progress:
        summary = run_study(
            parsed,
            folder,
            study_file=study_file,
            jobs=jobs,
            scheduler=scheduler,
            on_progress=on_progress,
            on_training=on_training,
        )
    click.echo(f"{summary} in {summary.seconds:.0f} s")
    click.echo(f"results: {folder}; now: xbar-spice report {folder}")
    if summary.failed:
        sys.exit(1)


@app.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="[default: FOLDER/report.html]")
def report(folder: Path, output: Path | None) -> None:
    """Write the HTML report and the figures of a study."""
    from xbar_spice.report.html import write_report

    click.echo(f"report: {write_report(folder, output or folder / 'report.html')}")


@app.command()
def doctor() -> None:
    """Say what is installed, and what to do about what is missing."""
    from xbar_spice.cli.doctor import print_findings

    print_findings()


def main() -> None:
    """Entry point: an error of the package is a message, not a traceback."""
    try:
        app()
    except XbarError as error:
        click.secho(f"error: {error}", fg="red", err=True)
        sys.exit(1)
