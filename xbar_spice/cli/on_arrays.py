"""The verbs that run a model on arrays: compare it, its gradients, its errors by cause, and train it further."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xbar_spice.cli.descent import (
    descent_options,
    descent_settings,
    evaluations_line,
    given_processor,
    given_schedule,
)
from xbar_spice.cli.help import Verb
from xbar_spice.cli.inputs import (
    data_options,
    given_model,
    given_problem,
    given_split,
    loss_option,
    model_options,
    samples_option,
)
from xbar_spice.cli.options import (
    PartOf,
    circuit_options,
    engine_option,
    existing_file,
    make_design,
    make_monitors,
    make_solver,
    monitor_options,
    seed_option,
    solver_options,
)
from xbar_spice.disk import make_folder, require_writable
from xbar_spice.parts import ENGINES, UPDATES

if TYPE_CHECKING:
    from xbar_spice.cosim import SolverOptions

__all__ = ["attribute", "cosim", "gradients", "tune"]

time_gradients_option = click.option(
    "--time-gradients", is_flag=True, help="Compare the derivatives by the length of the steps, too."
)
noise_floor_option = click.option(
    "--noise-floor",
    type=click.FloatRange(min=0, max=1, max_open=True),
    metavar="PART",
    help="Of a state: error of reads below which no step is solved; at least what noise and converters leave.",
)


def _solver(given: dict[str, Any], noise_floor: float | None) -> SolverOptions:
    """What the options say, no more exact than the noise floor where one is given; takes them out of what is given."""
    return make_solver(given).allowing(noise_floor or 0.0)


@click.command(cls=Verb, later=(solver_options, monitor_options, circuit_options))
@click.argument("weights", type=existing_file)
@model_options
@engine_option()
@click.option(
    "--characterise", is_flag=True, help="Read transfer matrices once through ngspice, and check them on the way."
)
@click.option("--verify-with", type=PartOf(ENGINES), metavar="ENGINE",
              help="Have a sample of the reads answered by this engine, too.")  # fmt: skip
@click.option("--verify", type=click.FloatRange(0, 1, min_open=True), metavar="PART", default=0.02, show_default=True,
              help="Of the reads that --verify-with answers.")  # fmt: skip
@samples_option()
@data_options
@loss_option
@time_gradients_option
@noise_floor_option
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), help="Folder for record.json and trace.csv."
)
@seed_option
def cosim(
    weights: Path,
    engine: str,
    characterise: bool,
    verify_with: str | None,
    verify: float,
    samples: int | None,
    data: str | None,
    data_map: Any,
    data_seed: int | None,
    loss: Any,
    time_gradients: bool,
    noise_floor: float | None,
    output: Path | None,
    seed: int,
    **circuit: Any,
) -> None:
    """Run a model on arrays, and compare it with digital matrices.

    The model is solved and differentiated: every product of the forward run, of Newton's linear solves and of the
    adjoint is a read of the arrays. A model that `train` wrote runs on handwritten digits; for any other one --data
    says on what.
    """
    from xbar_spice.cli.progress import interruptible, reading_progress
    from xbar_spice.cli.tables import print_cosimulation
    from xbar_spice.cosim import cosimulate
    from xbar_spice.cosim.run.convergence import warn_of_failures
    from xbar_spice.engines.registry import get_engine
    from xbar_spice.engines.verified import VerifiedEngine
    from xbar_spice.study.case_folder import require_case_folder, write_case

    if characterise and engine != "ngspice":
        raise click.UsageError(f"--characterise is for --engine ngspice, got {engine}")
    answering = get_engine(engine, **({"characterise": True} if characterise else {}))
    if verify_with is not None:
        answering = VerifiedEngine(answering, get_engine(verify_with), verify)
    problem = given_problem(
        given_model(weights), data, data_map, data_seed, samples, seed, loss=loss, time_gradients=time_gradients
    )
    solver, monitors = _solver(circuit, noise_floor), make_monitors(circuit)
    design = make_design(circuit)
    if output is not None:
        require_case_folder(output)
    with interruptible("nothing was kept"), reading_progress(problem.model.steps) as trace:
        result = cosimulate(problem, design, engine=answering, seed=seed, solver=solver, trace=trace, monitors=monitors)
    print_cosimulation(result.record)
    if output is not None:
        click.echo(f"record and trace: {write_case(output, result)}")
    warn_of_failures("co-simulation", result.record["convergence"])


@click.command(cls=Verb, later=(solver_options, circuit_options))
@click.argument("weights", type=existing_file)
@model_options
@engine_option("nodal", "; derivatives come from nodal")
@samples_option()
@data_options
@loss_option
@time_gradients_option
@noise_floor_option
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="Folder for gradients.json.")
@seed_option
def gradients(
    weights: Path,
    engine: str,
    samples: int | None,
    data: str | None,
    data_map: Any,
    data_seed: int | None,
    loss: Any,
    time_gradients: bool,
    noise_floor: float | None,
    output: Path | None,
    seed: int,
    **circuit: Any,
) -> None:
    """Compare the gradient that arrays return with the true one.

    bias is hardware - true, what a trainer on the arrays gets wrong; shift is true - digital, what the circuit changes
    in the model. The true gradient is that of the analog loss, through the sensitivities of the circuit.
    """
    from xbar_spice.cli.progress import interruptible, waiting
    from xbar_spice.cli.tables import print_gradients
    from xbar_spice.cosim import three_gradients
    from xbar_spice.study.case_folder import write_record

    problem = given_problem(
        given_model(weights), data, data_map, data_seed, samples, seed, loss=loss, time_gradients=time_gradients
    )
    solver, design = _solver(circuit, noise_floor), make_design(circuit)
    if output is not None:
        require_writable(make_folder(output) / "gradients.json")
    with interruptible("nothing was kept"), waiting("three gradients"):
        record = three_gradients(problem, design, engine=engine, seed=seed, solver=solver).record
    print_gradients(record)
    if output is not None:
        click.echo(f"record: {write_record(output / 'gradients.json', record)}")


@click.command(cls=Verb, later=(solver_options, circuit_options))
@click.argument("weights", type=existing_file)
@model_options
@engine_option("nodal")
@samples_option()
@data_options
@loss_option
@noise_floor_option
@click.option(
    "--orders", type=click.IntRange(min=4), metavar="N", help="Random orders to sample.  [default: all combinations]"
)
@click.option("--split", is_flag=True, help="Attribute bias and shift of the gradient, too.")
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Runs side by side.  [default: one for each core]"
)
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), help="Folder for attribution.json, .png and .svg."
)
@seed_option
def attribute(
    weights: Path,
    engine: str,
    samples: int | None,
    data: str | None,
    data_map: Any,
    data_seed: int | None,
    loss: Any,
    noise_floor: float | None,
    orders: int | None,
    split: bool,
    jobs: int | None,
    output: Path | None,
    seed: int,
    **circuit: Any,
) -> None:
    """Say where the errors come from.

    For each imperfection: the error that it causes alone, its Shapley value, and the error of all but it. Every
    combination of the imperfections that the options describe is co-simulated with the same devices.
    """
    from xbar_spice.cli.progress import counting_progress, interruptible
    from xbar_spice.cli.tables import print_attribution
    from xbar_spice.cosim import attribute as attribute_errors
    from xbar_spice.report.attribution import draw_attribution
    from xbar_spice.report.style import save, styled
    from xbar_spice.study.case_folder import write_record
    from xbar_spice.study.execute import cores

    problem = given_problem(given_model(weights), data, data_map, data_seed, samples, seed, loss=loss)
    solver, design = _solver(circuit, noise_floor), make_design(circuit)
    if output is not None:
        require_writable(make_folder(output) / "attribution.json")
    with interruptible("nothing was kept"), counting_progress("co-simulations") as on_run:
        found = attribute_errors(
            problem,
            design,
            engine=engine,
            seed=seed,
            solver=solver,
            orders=orders,
            split=split,
            jobs=jobs or cores(),
            on_run=on_run,
        )
    print_attribution(found.record)
    if output is not None:
        click.echo(f"record: {write_record(output / 'attribution.json', found.record)}")
        with styled():
            click.echo(f"figure: {save(draw_attribution([found.record]), output, 'attribution')[0]}")


@click.command(cls=Verb, later=(circuit_options,))
@click.argument("weights", type=existing_file)
@model_options
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), required=True,
              help="Weight file: .npz, .safetensors or .pt.")  # fmt: skip
@click.option("--gradient", type=click.Choice(["hardware", "hybrid", "true"]), default="hardware", show_default=True,
              help="Transposed reads, transposes of the weights as meant, or through the circuit.")  # fmt: skip
@click.option(
    "--epochs", type=click.IntRange(min=1), metavar="N", default=5, show_default=True, help="Passes over the samples."
)
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), metavar="RATE",
              help="Of the optimiser at the start.  [default: 0.003]")  # fmt: skip
@click.option("--classifier-only", is_flag=True, help="Leave the arrays as they are.")
@click.option("--update", type=PartOf(UPDATES), metavar="NAME",
              help="How pulses move the weights: \"curves(file='mine.csv')\" with measured columns rise and fall, "
                   "\"soft_bounds(step=0.002)\", or a class of your own.  [default: exactly as asked]")  # fmt: skip
@data_options
@loss_option
@descent_options
@engine_option("nodal")  # training programs arrays anew at every step, which costs ngspice far more than a read
@seed_option
def tune(
    weights: Path,
    output: Path,
    gradient: Any,
    epochs: int,
    learning_rate: float | None,
    classifier_only: bool,
    update: Any,
    data: str | None,
    data_map: Any,
    data_seed: int | None,
    loss: Any,
    engine: str,
    seed: int,
    **circuit: Any,
) -> None:
    """Train a model further on the arrays of one chip, by the labels or the targets of its samples.

    Every step reads the arrays forward and, for the gradient, transposed, and writes the new weights to the same
    devices, whose errors stay. Loss and accuracy are those of the chip on samples held back: a quarter of each class,
    always the same one. The weight file keeps the range of weights that the chip holds: with the same options and
    seed, cosim and netlist find the chip as training left it.
    """
    from xbar_spice.cli.progress import interruptible, training_progress
    from xbar_spice.cosim import Chip
    from xbar_spice.train.digits import DIGITS
    from xbar_spice.train.training import TUNING
    from xbar_spice.train.training import tune as tune_model
    from xbar_spice.weights import require_savable, save_model

    told = descent_settings(circuit)
    require_savable(output)
    chip = Chip(make_design(circuit), engine=engine, seed=seed, gradient=gradient, update=update)
    trained: Any = "classifier" if classifier_only else "everything"
    schedule = replace(TUNING, epochs=epochs, trained=trained)
    schedule = given_schedule(schedule, told | {"learning_rate": learning_rate})
    processor = given_processor(chip, schedule, told, seed)
    model = given_model(weights)
    split, said = given_split(model, data, data_map, loss)
    if split is not None and split.augment is None:
        schedule = replace(schedule, jitter=0.0)
    if data == DIGITS:
        model = replace(model, trained_on=data)
    kept = f"no weights were written to {output}"
    with interruptible(kept), training_progress(f"tuning {weights.name}") as progress:
        result = tune_model(model, schedule, seed=seed, processor=processor, digits=split, progress=progress)
    save_model(output, result.model)
    classified = result.before.accuracy is not None
    click.echo(f"on the chip      loss      {'accuracy ' if classified else ''}on {said}")
    for name, test in (("as deployed", result.before), *((f"epoch {x.number}", x.test) for x in result.history)):
        click.echo(f"{name:<16} {test.loss:<9.4f} {'' if test.accuracy is None else f'{test.accuracy:.2%}'}".rstrip())
    click.echo(evaluations_line(result.history))
    click.echo(f"time             {result.seconds:.1f} s")
    click.echo(f"weights          {output}")
