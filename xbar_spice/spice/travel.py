"""Decks that are taken elsewhere: what stands beside them, and what they print when a person runs them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xbar_spice.disk import read_bytes, write
from xbar_spice.hardware.crossbar import Crossbar, Side
from xbar_spice.spice.libraries import LOADER, loader, verilog_a_cells
from xbar_spice.spice.netlist import Terminal

__all__ = ["with_table", "write_companions"]

TABLE = """\
* run by hand, this prints all terminals as batch mode does, to six digits, then the results at full precision
.control
set numdgt=17
op
if $sim_status
  quit 1
end
{lines}
echo
{prints}
quit
.endc
"""


def with_table(text: str, terminals: Sequence[Terminal], driven: Side) -> str:
    """A deck that prints what its read returns, and no more, when `ngspice -b` runs it.

    Args:
        text: of the deck.
        terminals: all of the deck.
        driven: the driven side; what the others return is the result.
    """
    body, end, rest = text.rpartition(".end\n")
    if not end or rest.strip():  # a template of the user's own may end otherwise
        return text
    vectors = [one.output.lower() or f"{one.source.lower()}#branch" for one in terminals]
    lines = "\n".join(f'echo "  {vector}  $&{vector}"' for vector in vectors)
    prints = "\n".join(f"print {terminal.result}" for terminal in terminals if terminal.side != driven)
    return f"{body}\n{TABLE.format(lines=lines, prints=prints)}.end\n"


def write_companions(crossbars: Sequence[Crossbar], folder: Path) -> list[Path]:
    """Write what decks of Verilog-A cells need beside them: the libraries, their sources, and what loads them.

    The libraries of all decks of a folder are loaded: no two modules have one name.

    Returns:
        The files; none where there are no such cells.
    """
    cells = verilog_a_cells(crossbars)
    written = []
    for cell in cells:
        stem = folder / cell.unique_name
        written.append(write(stem.with_suffix(".osdi"), read_bytes(cell.library, limit=2**26)))
        written.append(write(stem.with_suffix(".va"), cell.renamed))
    if cells:
        # ngspice has the folder of this file in a variable, wherever it was started.
        there = [Path("$inputdir") / path.name for path in sorted(folder.glob("*.osdi"))]
        written.append(write(folder / LOADER, loader(there)))
    return written
