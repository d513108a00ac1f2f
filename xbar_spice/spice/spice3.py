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
from xbar_spice.hardware.crossbar import Crossbar
from xbar_spice.spice.dialect import Dialect, ReadDeck, results_of, run_batch
from xbar_spice.spice.libraries import cell_templates, verilog_a_cells
from xbar_spice.spice.netlist import Deck, array_variables
from xbar_spice.spice.render import render
from xbar_spice.spice.resources import search_path
from xbar_spice.spice.tolerances import newton_options
from xbar_spice.spice.travel import ngspice_command

__all__ = ["Spice3Dialect"]


@final
@dataclass(frozen=True)
class Spice3Dialect(Dialect):
    """That of Spice3f5, which ngspice reads, too."""

    suffix = ".spice3.cir"
    by_hand = "ngspice -b {0}, or spice3 -b {0}; with -r FILE results are written with all digits"

    def write(self, read: ReadDeck) -> Deck:
        require_expressible(read.crossbars)
        arrays = [
            array_variables(index, name, crossbar, ends, read.side)
            for index, (name, crossbar, ends) in enumerate(zip(read.names, read.crossbars, read.ends, strict=True))
        ]
        terminals = tuple(terminal for array in arrays for terminal in array["terminals"])  # type: ignore[attr-defined]
        variables = {
            "title": read.title,
            "comments": dict(read.comments),
            "side": read.side,
            "arrays": arrays,
            "cell_templates": cell_templates(crossbar.device for crossbar in read.crossbars),
            "libraries": [],
            "options": newton_options(read.crossbars),
            "amplified": any(crossbar.amplifier.present for crossbar in read.crossbars),
            "sweep": next(terminal for terminal in terminals if terminal.source),  # drivers are sources
        }
        template = "array.cir.j2" if list(read.names) == [""] else "bank.cir.j2"
        folders = [*read.netlists, search_path("netlists")[-1] / "spice3"]
        return Deck(render(template, variables, netlists=folders), terminals)

    def run(self, deck: Path, folder: Path, behaviour: str, seconds: float) -> Mapping[str, float]:
        with TemporaryDirectory(prefix="xbar-readback-") as place:
            results = Path(place) / "results.raw"  # `.print` shows seven digits
            command = [ngspice_command(), "-D", "filetype=ascii", "-b", "-r", str(results)]
            said = run_batch([*command, deck.relative_to(folder).as_posix()], folder, deck, seconds)
            return results_of(results, deck, said)


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
