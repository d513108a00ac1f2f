"""The verb that reads decks back: what they compute now, edited by hand or not, beside what they were written for."""

from __future__ import annotations

from pathlib import Path

import click

from xbar_spice.cli.help import Verb

__all__ = ["readback"]

SHOWN = 5  # indices that differ most


@click.command(cls=Verb)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--time-limit", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", default=600,
              show_default=True, help="Of one deck.")  # fmt: skip
def readback(folder: Path, time_limit: float) -> None:
    """Run the decks of a folder, edited by hand or not, and say which products they compute.

    FOLDER is one that `netlist` wrote. Beside each product stands that of the programmed weights without a circuit.
    Where a deck of one array was edited and that of its matrix was not, the decks of the arrays are run. Decks are run
    by the simulator of their dialect and may hold commands: read back only what you would run by hand.
    """
    import numpy as np

    from xbar_spice.cli.tables import print_rows
    from xbar_spice.mapping.readback import readback as read_back

    for found in read_back(folder, time_limit=time_limit):
        lost = np.abs(found.product - found.design)
        worst = np.argsort(-lost, kind="stable")[:SHOWN].tolist()
        rows: list[tuple[str, ...]] = [
            (f"{k}", f"{found.design[k]:.8g}", f"{found.product[k]:.8g}", f"{found.product[k] - found.design[k]:+.3g}")
            for k in worst
        ]
        edited = "edited" if found.edited else "as written"
        print_rows(
            f"{found.deck}: {found.matrix}, {found.direction} read, {edited}; the indices that differ most",
            ("index", "of the weights", "of the deck", "difference"),
            rows,
        )
        click.echo(f"error            {found.error:.4g} of the product of the weights, {len(found.product)} indices")
