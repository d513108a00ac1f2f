"""The command `xbar-spice` and its verbs; each reads its options, calls the package, and says what came of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from xbar_spice.cli.descent import descent_options, evaluations_line, given_processor, given_schedule
from xbar_spice.cli.help import Verb, Verbs
from xbar_spice.cli.inputs import given_model, model_options
from xbar_spice.cli.inspect import inspect
from xbar_spice.cli.on_arrays import attribute, cosim, gradients, tune
from xbar_spice.cli.options import (
    PartOf,
    circuit_options,
    existing_file,
    make_design,
    make_pulse,
    pulse_options,
    seed_option,
)
from xbar_spice.cli.readback import readback
from xbar_spice.cli.results import compare, export, ls, report
from xbar_spice.cli.show import show
from xbar_spice.cli.studies import show_study, study
from xbar_spice.cli.write import write
from xbar_spice.disk import reason
from xbar_spice.errors import XbarError
from xbar_spice.parts import DIALECTS, TASKS

__all__ = ["main"]


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="xbar-spice")
def app() -> None:
    """SPICE co-simulation of memristor crossbars that run neural ODEs.

    A typical run: train a model, look at its netlists, co-simulate it, ask where the errors come from, train it
    further on the chip, then study it over array sizes. WEIGHTS is a file that `train` wrote or one of yours: .npz,
    .safetensors, or one of PyTorch; `inspect` says what is taken for what. Samples of your own come by --data.

    \b
      xbar-spice train digits-conv --output weights.npz
      xbar-spice netlist weights.npz --tile 16 --r-word 1 --r-bit 1
      xbar-spice show array weights.npz --name A.t0_0 --tile 16 --r-word 1 --r-bit 1
      xbar-spice cosim weights.npz --tile 16 --r-word 1 --r-bit 1
      xbar-spice attribute weights.npz --tile 16 --r-word 1 --r-bit 1 --adc-bits 8
      xbar-spice tune weights.npz --programming 0.1 --headroom 1.5 --output tuned.npz
      xbar-spice study examples/array_size.toml --output runs/array_size
      xbar-spice report runs/array_size
    """  # noqa: D301 (a backspace, by which click knows a block that is not to be wrapped)


@click.command(cls=Verb)
@click.argument("task", type=PartOf(TASKS))
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Weight file: .npz, .safetensors or .pt.  [default: TASK.npz]",
)
@click.option(
    "--seed", type=click.IntRange(min=0), metavar="N", default=0, show_default=True, help="Of split, start and batches."
)
@click.option(
    "--epochs", type=click.IntRange(min=1), metavar="N", help="Passes over the samples.  [default: the task's]"
)
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), metavar="RATE",
              help="Of the optimiser at the start.  [default: the task's]")  # fmt: skip
@descent_options
def train(task: str, output: Path | None, seed: int, **options: Any) -> None:
    """Train a neural ODE for a set of samples, on digital matrices.

    It learns to tell their classes apart, or as two-moons-flow to find their density, or as spirals and spirals-latent
    to follow what was seen at irregular times. digits-conv has circular 3x3 convolutions for A and B, digits-dense has
    dense matrices; the other classifiers have an encoder in front. The gradients are those of the discrete adjoint, the
    same that co-simulation runs on arrays.
    """
    from xbar_spice.cli.progress import interruptible, training_progress
    from xbar_spice.train.digits import DIGITS
    from xbar_spice.train.flow import FlowResult
    from xbar_spice.train.processor import Digital
    from xbar_spice.train.training import TrainingResult
    from xbar_spice.train.training import train as train_task
    from xbar_spice.weights import require_savable, save_model

    path = output or Path(f"{task}.npz")
    require_savable(path)
    schedule = given_schedule(TASKS.get(task).schedule, options)
    processor = given_processor(Digital(), schedule, options, seed)
    with interruptible(f"no weights were written to {path}"), training_progress(f"training {task}") as progress:
        result: TrainingResult | FlowResult = train_task(
            task, seed=seed, schedule=schedule, processor=processor, progress=progress
        )
    save_model(path, result.model)
    name = result.model.trained_on or task
    kind = "handwritten digits" if name == DIGITS else name
    click.echo(f"data             {kind}, a part of them held back for the test")
    if isinstance(result, FlowResult):
        click.echo(f"test loss        {result.test_loss:.4f} nats ({result.normal_loss:.4f} for a normal distribution)")
        click.echo(f"train loss       {result.train_loss:.4f} nats")
    elif result.test_accuracy is None:
        click.echo(f"test loss        {result.test_loss:.4g}")
        click.echo(f"train loss       {result.train_loss:.4g}")
    else:
        alone = f"{result.linear_accuracy:.2%} for the classifier alone"
        click.echo(f"test accuracy    {result.test_accuracy:.2%} ({alone})")
        click.echo(f"train accuracy   {result.train_accuracy:.2%}")
    click.echo(evaluations_line(result.history))
    click.echo(f"time             {result.seconds:.1f} s")
    click.echo(f"weights          {path}")


@click.command(
    cls=Verb,
    later=(
        circuit_options,
        pulse_options,
    ),
)
@click.argument("weights", type=existing_file)
@model_options
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("netlists_out"),
    show_default=True,
    help="Folder of the decks.",
)
@click.option("--side", type=click.Choice(["rows", "cols"]), default="rows", show_default=True, help="The driven side.")
@click.option("--dialect", type=PartOf(DIALECTS), default="ngspice", show_default=True,
              help="Language of the decks: of ngspice, of Spice3f5 and what reads the same, or of VACASK.")  # fmt: skip
@click.option("--netlists", type=click.Path(exists=True, file_okay=False, path_type=Path), multiple=True,
              help="Folder of your own templates, searched first.")  # fmt: skip
@click.option("--feedback", is_flag=True, help="Write the circuits that solve Newton's linear systems, too.")
@seed_option
def netlist(
    weights: Path,
    output: Path,
    side: Any,
    dialect: Any,
    netlists: tuple[Path, ...],
    feedback: bool,
    seed: int,
    **circuit: Any,
) -> None:
    """Write the netlists of all matrices of trained weights.

    One deck for each matrix, one for each array, and a JSON manifest that maps every source and current to its matrix
    index and sign. Every deck runs as it is: ngspice -b DECK. With --pulse-width, one more deck for each array, with
    the capacitances of its lines: a transient analysis of a pulsed read that prints energies, charges and currents.
    With --feedback also the loop of both matrices with op-amps that solves the first Newton step of a random state, its
    transpose, and the feedback array of that system.
    """
    from xbar_spice.cli.feedback import feedback_decks, write_first_step
    from xbar_spice.cli.progress import interruptible
    from xbar_spice.cosim import weight_scales
    from xbar_spice.cosim.run.programming import drawn_by, in_digital_numbers, weights_on_arrays
    from xbar_spice.mapping.export import deck_name, write_netlists
    from xbar_spice.mapping.matrix import map_weights
    from xbar_spice.mapping.measured import conductance_map
    from xbar_spice.spice.libraries import LOADER, behaviour, by_hand, compiled_libraries
    from xbar_spice.streams import Streams

    pulse, capacitance = make_pulse(circuit)
    design = make_design(circuit)
    if feedback and dialect != "ngspice":
        raise click.UsageError(
            f"--feedback writes circuits for ngspice, got --dialect {dialect}: leave one of them out"
        )
    if feedback and not design.device.linear:
        raise click.UsageError(
            f"--feedback needs linear cells, got --device {circuit['device']}: leave one of them out"
        )
    if not feedback and (earlier := feedback_decks(output)):
        raise click.UsageError(
            f"{output} holds circuits of an earlier --feedback ({earlier[0].name}), which may be of another design: "
            "give --feedback again, remove them, or give a new folder"
        )
    model = in_digital_numbers(given_model(weights), design, seed)
    scales = weight_scales(model, design)
    with interruptible(f"decks in {output} are whole, but not all of them are there"):
        for name, matrix in weights_on_arrays(model).items():
            rng = drawn_by(Streams(seed), name, design)
            mapped = map_weights(
                matrix,
                design,
                rng=rng,
                siemens_per_weight=scales.get(name),
                cycle_rng=Streams(seed).cycle(name),
                conductance=conductance_map(design, name),
            )
            comments = {"weights": weights.name, "seed": seed}
            files = write_netlists(
                mapped,
                output,
                name=deck_name(name),
                side=side,
                comments=comments,
                netlists=netlists,
                pulse=pulse,
                capacitance=capacitance,
                dialect=dialect,
            )
            click.echo(f"{files[0]}  {len(mapped.arrays)} arrays, largest {max(x.shape for x in mapped.crossbars)}")
            click.echo(f"{files[-1]}")
        if feedback:
            for path in write_first_step(model, design, output, seed=seed, weights=weights.name, netlists=netlists):
                click.echo(f"{path}")
    loads = str(output / LOADER) if compiled_libraries(mapped.crossbars) else ""
    command = f"{by_hand(behaviour(mapped.crossbars), loads)} {{}}"
    click.echo(f"run one by hand: {(DIALECTS.get(dialect).by_hand or command).format(files[0])}")


@click.command("check-model", cls=Verb)
@click.argument("file", type=existing_file)
@click.option("--name", metavar="CELL", help="Subcircuit or module of a file with more than one.")
@click.option("--parameter", metavar="NAME", help="That takes the conductance, of a library or source.  [default: g]")
@click.option("--compat", type=click.Choice(["psa", "lt", "hs"]), help="Dialect of a library.")
@click.option("--g-min", type=float, metavar="S", default=1e-6, show_default=True, help="Lowest conductance.")
@click.option("--g-max", type=float, metavar="S", default=1e-4, show_default=True, help="Highest conductance.")
def check_model(
    file: Path, name: str | None, parameter: str | None, compat: str | None, g_min: float, g_max: float
) -> None:
    """Measure a cell that is a SPICE subcircuit or a Verilog-A module, alone.

    FILE is a device model (.toml), a SPICE library, or a Verilog-A source (.va), which is compiled to native code and
    run: check only what you would run as a program. Printed is whether the cell is static, odd and passive, and how
    far its conductance is from the programmed one. The exit status is 1 if it is refused; arrays refuse it likewise.
    """
    from xbar_spice.cli.check_model import cell_of, print_check
    from xbar_spice.cli.check_verilog_a import print_module
    from xbar_spice.hardware.verilog_a import VerilogACell

    if not 0 < g_min < g_max < float("inf"):
        raise click.UsageError(f"0 < --g-min < --g-max is needed, got {g_min:g} and {g_max:g}")
    cell = cell_of(file, name, parameter, compat)
    if isinstance(cell, VerilogACell):
        print_module(cell, g_min, g_max)
    else:
        print_check(cell, g_min, g_max)


@click.command(cls=Verb)
def doctor() -> None:
    """Say what is installed, and what to do about what is missing."""
    from xbar_spice.cli.doctor import print_findings

    print_findings()


for _verb in (
    train,
    inspect,
    netlist,
    readback,
    show,
    write,
    cosim,
    gradients,
    attribute,
    tune,
    study,
    report,
    compare,
    export,
    ls,
    check_model,
    doctor,
):
    app.add_command(_verb)


show.add_command(show_study)


def main() -> None:
    """Entry point: an error of the package or of the operating system is a message, not a traceback."""
    try:
        app()
    except XbarError as error:
        text = str(error)
    except (OSError, MemoryError) as error:
        text = reason(error)
        if isinstance(error, OSError) and error.filename is not None:
            text = f"{error.filename}: {text}"
    else:
        return
    click.secho(f"error: {text}", fg="red", err=True)
    sys.exit(1)
