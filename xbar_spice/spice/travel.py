"""Decks that are taken elsewhere: what stands beside them, and what they print when a person runs them by ngspice."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from xbar_spice.disk import read_bytes, write
from xbar_spice.errors import EngineUnavailableError
from xbar_spice.hardware.crossbar import Crossbar, Side
from xbar_spice.hardware.subcircuit.definition import COMPAT
from xbar_spice.hardware.verilog_a import VerilogACell
from xbar_spice.spice.dialect import Dialect, ReadDeck, run_batch
from xbar_spice.spice.libraries import LOADER, loader, verilog_a_cells
from xbar_spice.spice.netlist import Deck, Terminal, array_deck, bank_deck

__all__ = ["NgspiceDialect", "ngspice_command", "with_table", "write_compiled"]

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


# As this table prints them, and as batch mode does where it was taken out.
PRINTED = (re.compile(r"^([iv]\(\w+\)) = (-?\d\S*)$", re.M), re.compile(r"^\s+(\w+?)(#branch)?\s+(-?\d\S*)$", re.M))


@final
@dataclass(frozen=True)
class NgspiceDialect(Dialect):
    """That of ngspice."""

    suffix = ".cir"

    def write(self, read: ReadDeck) -> Deck:
        said: dict[str, Any] = {"title": read.title, "comments": read.comments, "netlists": read.netlists}
        if list(read.names) == [""]:
            deck = array_deck(read.crossbars[0], read.drives[0], read.side, **said)
        else:
            deck = bank_deck(read.crossbars, read.side, drives=read.drives, names=read.names, **said)
        return replace(deck, text=with_table(deck.text, deck.terminals, read.side))

    def companions(self, crossbars: Sequence[Crossbar], folder: Path) -> list[Path]:
        """The libraries of Verilog-A cells, their sources, and what loads them; nothing where there are no such cells.

        The libraries of all decks of a folder are loaded: no two modules have one name.
        """
        written = write_compiled(verilog_a_cells(crossbars), folder)
        if written:
            # ngspice has the folder of this file in a variable, wherever it was started.
            there = [Path("$inputdir") / path.name for path in sorted(folder.glob("*.osdi"))]
            written.append(write(folder / LOADER, loader(there)))
        return written

    def run(self, deck: Path, folder: Path, behaviour: str, seconds: float) -> Mapping[str, float]:
        mode = ["-D", f"ngbehavior={behaviour}"] if behaviour in COMPAT.values() else []
        loads = [LOADER] if (folder / LOADER).is_file() else []
        command = [ngspice_command(), *mode, "-b", *loads, deck.relative_to(folder).as_posix()]
        said = run_batch(command, folder, deck, seconds)
        printed = {
            (f"i({name})" if branch else f"v({name})"): float(value) for name, branch, value in PRINTED[1].findall(said)
        }
        return printed | {name: float(value) for name, value in PRINTED[0].findall(said)}


def ngspice_command() -> str:
    """The command.

    Raises:
        EngineUnavailableError: there is none.
    """
    if shutil.which("ngspice") is None:
        raise EngineUnavailableError("decks are read back by the command ngspice, which is not on the path")
    return "ngspice"


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


def write_compiled(modules: Iterable[VerilogACell], folder: Path) -> list[Path]:
    """Write compiled modules and their sources, each once.

    Returns:
        The files.
    """
    written = []
    for module in dict.fromkeys(modules):
        stem = folder / module.unique_name
        written.append(write(stem.with_suffix(".osdi"), read_bytes(module.library, limit=2**26)))
        written.append(write(stem.with_suffix(".va"), module.renamed))
    return written
