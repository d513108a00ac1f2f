"""The verb that writes arrays of a model by pulses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xbar_spice.cli.help import Verb
from xbar_spice.cli.options import circuit_options, existing_file, make_design, make_write, seed_option, write_options

if TYPE_CHECKING:
    from xbar_spice.programming import Written

__all__ = ["write"]


@click.command(cls=Verb, later=(write_options, circuit_options))
@click.argument("weights", type=existing_file)
@click.option("--name", default="A.t0_0", show_default=True,
              help="Matrix and array, as the files of `netlist` are named.")  # fmt: skip
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), default=Path("written"), show_default=True,
              help="Folder of the figures, and of what was reached (.npz).")  # fmt: skip
@seed_option
def write(weights: Path, name: str, output: Path, seed: int, **options: Any) -> None:
    """Write an array by pulses, and say what it took and what it left.

    Cells are those of --device, such as yakopcic_fast, vteam_read or stanford_gap_dynamic, and their conductances lie
    between --g-min and --g-max. Each cell gets pulses until a read finds it near enough to its target, in the circuit
    of the whole array, so that its neighbours are disturbed as the scheme and the wires say.
    """
    import numpy as np

    from xbar_spice.cli.progress import interruptible
    from xbar_spice.cli.show import arrays_named
    from xbar_spice.report.inside import draw_written
    from xbar_spice.report.style import save, styled
    from xbar_spice.streams import Streams

    plan = make_write(options)
    design = make_design(options)
    matrix = name.split(".", maxsplit=1)[0]
    for array in arrays_named(weights, name, design, seed):
        title = f"{matrix}.{array.name}"
        with interruptible(f"{title} was not written to the end"):
            rng = Streams(seed).devices(title)
            found = plan.write(array.crossbar, None, rng, (design.g_min, design.g_max))
        _say(title, found, design.g_max - design.g_min)
        file = title.replace(".", "_")
        output.mkdir(parents=True, exist_ok=True)
        np.savez(output / f"{file}.npz", conductance=found.conductance, target=found.target, pulses=found.pulses,
                 disturb=found.disturb)  # fmt: skip
        with styled():
            figure = draw_written(found.error, found.pulses, found.disturb)
            click.echo(f"figure           {save(figure, output, f'written_{file}')[0]}")


def _say(title: str, found: Written, window: float) -> None:
    rows, cols = found.target.shape
    near, error = found.reached, found.error / window
    click.echo(f"{title}: {rows} word lines x {cols} bit lines")
    click.echo(f"near enough      {near.sum()} of {near.size} cells, {found.given_up.sum()} given up")
    click.echo(f"error            {(error**2).mean() ** 0.5:.3%} of g_max - g_min, at most {abs(error).max():.3%}")
    click.echo(f"disturb          at most {abs(found.disturb).max() / window:.3%} of it")
    click.echo(
        f"pulses           {found.pulses.mean():.1f} a cell, at most {found.pulses.max()}, {found.passes} passes"
    )
    click.echo(f"time             {found.seconds:.4g} s of pulses")
    click.echo(f"energy           {found.energy:.4g} J")
