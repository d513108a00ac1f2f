"""The verb that says what is in a weight file and what is taken for what."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xbar_spice.cli.help import Verb
from xbar_spice.cli.inputs import data_options, given_problem, given_weights, model_options, samples_option
from xbar_spice.cli.options import existing_file, seed_option

if TYPE_CHECKING:
    from xbar_spice.cosim import Problem
    from xbar_spice.weights import Model
    from xbar_spice.weights.reading import Reading

__all__ = ["inspect"]


@click.command(cls=Verb)
@click.argument("weights", type=existing_file)
@model_options
@samples_option("all of a file, 4 of others")
@data_options
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the model in the documented format: .npz, .safetensors or .pt.",
)
@seed_option
def inspect(
    weights: Path,
    samples: int | None,
    data: str | None,
    data_map: Any,
    data_seed: int | None,
    output: Path | None,
    seed: int,
) -> None:
    """List the tensors of a weight file, and say what each is taken for.

    WEIGHTS may be a checkpoint of a framework: names are found under what wraps them, and layers by their names and
    shapes; --map and --set tell the rest. With --data the model runs on digital matrices: accuracy or loss show at once
    whether it was read as it was meant. The exit status is 1 if no model can be made of the file.
    """
    from xbar_spice.errors import WeightsError
    from xbar_spice.weights import require_savable, save_model

    if output is not None:
        require_savable(output)
    reading = given_weights(weights)
    _print_tensors(reading)
    try:
        model = reading.model()
    except WeightsError as error:
        click.secho(f"no model: {error}", fg="red", err=True)
        sys.exit(1)
    _print_model(reading, model)
    if data is not None:
        _print_quality(given_problem(model, data, data_map, data_seed, samples, seed, everything=True))
    if output is not None:
        save_model(output, model)
        click.echo(f"written          {output}")


def _print_tensors(reading: Reading) -> None:
    from xbar_spice.cli.tables import print_rows
    from xbar_spice.weights.formats import is_setting
    from xbar_spice.weights.layout_names import named_by

    meant = {
        name: role + (f"[{number}]" if "*" in there else "")
        for role, there in reading.layout.taken.items()
        for number, name in enumerate(named_by(reading.tensors, there))
    }
    rows: list[tuple[str, ...]] = []
    for name, value in reading.tensors.items():
        role = meant.get(name, "nothing")
        said = f" = {value.item()}" if is_setting(role) and value.size == 1 else ""
        rows.append((name, " x ".join(map(str, value.shape)) or "1", str(value.dtype), f"{role}{said}"))
    print_rows(f"tensors of {reading.path.name}", ("", "shape", "type", "is taken for"), rows)
    for name, why in reading.left_out.items():
        click.echo(f"left out         {name}: {why}")


def _print_model(reading: Reading, model: Model) -> None:
    from xbar_spice.weights import formula_of

    click.echo(f"field            dz/dt = {formula_of(model.field)}")
    click.echo(f"                 {reading.assumed}")
    matrices = ", ".join(f"{name} {operator.shape}" for name, operator in model.operators.items())
    click.echo(f"matrices         {matrices}")
    click.echo(
        f"states           {model.states}, from {model.inputs} inputs"
        if model.encoder
        else f"states           {model.states}"
    )
    if model.classifier is not None:
        click.echo(f"classifier       {model.classifier.classes} classes")
    click.echo(f"time             {model.steps} steps of {model.h:g} by {model.method}")
    if reading.given:
        click.echo(f"said by --set    {', '.join(reading.given)}")


def _print_quality(problem: Problem) -> None:
    """Accuracy and loss of a model on digital matrices."""
    from xbar_spice.cosim.run import SolverOptions, solve_model

    run = solve_model(problem, problem.model.field, SolverOptions())
    click.echo(f"data             {problem.data}")
    click.echo(f"digital loss     {run.loss:.6g}")
    if run.accuracy is not None:
        click.echo(f"digital accuracy {run.accuracy:.2%}")
