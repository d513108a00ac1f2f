"""Arrays in the SPICE of Berkeley, Spice3f5, which others have learnt theirs from.

It has no parameters of subcircuits, no functions and no conditions in expressions, no Verilog-A, and no commands of
later simulators: cells and op-amps are written as elements, and results go by `.print`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import final

from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.biases import End
from xbar_spice.hardware.crossbar import Crossbar, Edge, Side
from xbar_spice.spice.dialect import Dialect, ReadDeck, results_of, run_batch
from xbar_spice.spice.libraries import cell_templates, verilog_a_cells
from xbar_spice.spice.netlist import Deck, Terminal, array_variables, one_solution
from xbar_spice.spice.render import render
from xbar_spice.spice.resources import search_path
from xbar_spice.spice.tolerances import newton_options
from xbar_spice.spice.travel import ngspice_command

__all__ = ["Spice3Dialect", "spice3_deck"]


@final
@dataclass(frozen=True)
class Spice3Dialect(Dialect):
    """That of Spice3f5, which ngspice reads, too."""

    suffix = ".spice3.cir"
    by_hand = "ngspice -b {0}, or spice3 -b {0}; with -r FILE results are written with all digits"

    def write(self, read: ReadDeck) -> Deck:
        return spice3_deck(
            read.crossbars,
            read.ends,
            read.side,
            names=read.names,
            title=read.title,
            comments=read.comments,
            netlists=read.netlists,
        )

    def run(self, deck: Path, folder: Path, behaviour: str, seconds: float) -> Mapping[str, float]:
        with TemporaryDirectory(prefix="xbar-readback-") as place:
            results = Path(place) / "results.raw"  # `.print` shows seven digits
            command = [ngspice_command(), "-D", "filetype=ascii", "-b", "-r", str(results)]
            said = run_batch([*command, deck.relative_to(folder).as_posix()], folder, deck, seconds)
            return results_of(results, deck, said)


def spice3_deck(
    crossbars: Sequence[Crossbar],
    ends: Sequence[Mapping[Edge, End]],
    side: Side | None,
    *,
    names: Sequence[str],
    title: str = "memristor crossbars",
    comments: Mapping[str, object] | None = None,
    netlists: Sequence[Path] = (),
) -> Deck:
    """A deck of arrays, at the first set of voltages.

    Args:
        crossbars: the arrays.
        ends: what stands at every edge of each.
        side: the driven side of a read; None under other biases.
        names: of the arrays, each a subcircuit; one empty name writes one array flat.
        title: first line of the deck.
        comments: more to say at its head.
        netlists: folders of the user's own templates, searched first.

    Raises:
        InvalidInputError: cells or op-amps that this dialect has no words for.
    """
    require_expressible(crossbars)
    arrays = [
        array_variables(index, name, crossbar, at_ends, side)
        for index, (name, crossbar, at_ends) in enumerate(zip(names, crossbars, ends, strict=True))
    ]
    terminals: tuple[Terminal, ...] = tuple(terminal for array in arrays for terminal in array["terminals"])  # type: ignore[attr-defined]
    swept = next((terminal for terminal in terminals if terminal.source), None)
    if swept is None:
        raise InvalidInputError("a deck for Spice3 sweeps a voltage source, and these arrays have none; drive a line")
    variables = {
        "title": title,
        "comments": dict(comments or {}),
        "side": side,
        "arrays": arrays,
        "cell_templates": cell_templates(crossbar.device for crossbar in crossbars),
        "libraries": [],
        "options": newton_options(crossbars),
        "amplified": any(crossbar.amplifier.present for crossbar in crossbars),
        "sweep": swept,
    }
    template = "array.cir.j2" if list(names) == [""] else "bank.cir.j2"
    folders = [*netlists, search_path("netlists")[-1] / "spice3"]
    return Deck(render(template, variables, netlists=folders), terminals, unique=one_solution(crossbars))


def require_expressible(crossbars: Sequence[Crossbar]) -> None:
    """Raise an InvalidInputError for what this dialect has no words for."""
    if cells := verilog_a_cells(crossbars):
        raise InvalidInputError(
            f"Spice3 knows no Verilog-A, and the cells are the module {cells[0].module!r}; write the decks for "
            "ngspice or for vacask"
        )
    own = [one for crossbar in crossbars for one in crossbar.device.subcircuits]
    own += [crossbar.amplifier.opamp for crossbar in crossbars if crossbar.amplifier.opamp is not None]
    if own:
        raise InvalidInputError(
            f"in Spice3 subcircuits take no parameters, and {own[0].name!r} may need them and more of ngspice's words; "
            "write the decks for ngspice, or take a law of the toolkit's own"
        )
