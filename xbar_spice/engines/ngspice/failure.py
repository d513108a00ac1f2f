"""What the user sees of a request that was not answered: all that is needed to see it happen again."""

from __future__ import annotations

import hashlib
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

from xbar_spice.engines.ngspice.worker_handle import WorkerError, WorkerFailed, WorkerHung
from xbar_spice.errors import SimulationError, SimulatorExitError
from xbar_spice.spice.libraries import by_hand, loader

__all__ = ["simulation_error"]

LINES_QUOTED = 12


def simulation_error(
    error: WorkerError, deck: str, folder: Path | None, behaviour: str = "", compiled: Sequence[Path] = ()
) -> SimulationError:
    """The error of a request that failed, or was lost again after it had been lost once.

    Args:
        error: what happened to it.
        deck: SPICE text that `ngspice -b` runs; it is kept, if that is possible.
        folder: where to; a new temporary folder when left out.
        behaviour: the mode that ngspice needs for the dialect of the deck; empty for none.
        compiled: libraries of Verilog-A modules that are loaded before the deck.
    """
    try:
        folder = folder or Path(tempfile.mkdtemp(prefix="xbar-spice-failed-read-"))
        folder = folder.absolute()  # the command is true wherever it is given
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{hashlib.sha256(deck.encode()).hexdigest()[:12]}.cir"
        path.write_text(deck, encoding="utf-8")
        loads = path.with_suffix(".load.sp")
        if compiled:
            loads.write_text(loader(compiled), encoding="utf-8")
        command = by_hand(behaviour, shlex.quote(str(loads)) if compiled else "")
        kept = [f"  deck: {path}", f"  to reproduce: {command} {shlex.quote(str(path))}"]
    except (OSError, UnicodeError, ValueError) as reason:  # what happened to the read matters more
        where = folder or "a temporary folder"
        kept = [f"  deck: could not be kept in {where} ({reason}); give another folder as failures= to see it"]
    lines = error.lines[-LINES_QUOTED:] or ["(nothing)"]
    text = "\n".join(
        [
            _what_happened(error),
            *kept,
            "  the simulator's last lines:",
            *(f"    {line}" for line in lines),
        ]
    )
    return error.kind(text)


def _what_happened(error: WorkerError) -> str:
    if isinstance(error, WorkerFailed):
        return f"ngspice failed: {error}"
    if isinstance(error, WorkerHung):
        return f"ngspice hung twice ({error}); raise time_limit if it is only slow"
    return f"ngspice {'ended itself' if error.kind is SimulatorExitError else 'crashed'} twice ({error})"
