"""Tables on the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["print_cosimulation", "print_rows"]


def print_rows(title: str, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """A table; all columns but the first are aligned to the right."""
    table = Table(title=title, title_justify="left")
    for position, name in enumerate(header):
        table.add_column(name, justify="left" if position == 0 else "right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def print_cosimulation(record: dict[str, Any]) -> None:
    """What one co-simulation showed."""
    compared = {"state z_T": record["state"]} | {
        f"gradient of {name}": values for name, values in record["gradients"].items()
    }
    print_rows(
        f"analog ({record['engine']}) against digital, {record['samples']} samples",
        ("", "relative error", "cosine", "same sign"),
        [
            (name, f"{found['relative_error']:.3e}", f"{found['cosine']:.6f}", f"{found['sign_agreement']:.2%}")
            for name, found in compared.items()
        ],
    )
    loss, accuracy, convergence = record["loss"], record["accuracy"], record["convergence"]["analog"]
    lines = [f"loss             {loss['analog']:.6g} analog, {loss['digital']:.6g} digital"]
    if accuracy["analog"] is not None:
        lines.append(f"accuracy         {accuracy['analog']:.2%} analog, {accuracy['digital']:.2%} digital")
    reads = ", ".join(f"{count} {kind}" for kind, count in record["reads"].items())
    lines.append(f"reads            {sum(record['reads'].values())} ({reads}) in {record['read_seconds']:.1f} s")
    if "feedback" in record:
        solves = ", ".join(f"{count} {kind}" for kind, count in record["feedback"]["solves"].items())
        lines.append(f"circuit solves   {solves}; worst error {record['feedback']['worst_error']:.1e} of the solution")
    lines.append(f"Newton steps     {convergence['newton_iterations']} (most of any sample, by time step)")
    if not convergence["converged"]:
        lines.append(f"NOT CONVERGED    samples {convergence['failed_samples']}")
    Console().print("\n".join(lines), highlight=False)
