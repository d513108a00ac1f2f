"""What this machine has of ngspice, for `xbar-spice doctor`."""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import final

from xbar_spice.engines.ngspice.locate import HOW_TO_INSTALL, find_library
from xbar_spice.engines.ngspice.worker_handle import Worker, WorkerError
from xbar_spice.errors import EngineUnavailableError

__all__ = ["TRIED", "Installation", "describe"]

SECONDS = 120.0  # enough on a busy machine
TRIED = (39, 46)  # versions that the tests have run with


@final
@dataclass(frozen=True)
class Installation:
    """An installation of ngspice.

    Attributes:
        library: path of libngspice; None if there is none.
        version: its version; None if it could not be started.
        klu: whether it solves with KLU.
        pyspice: version of PySpice; None if it is not installed.
        command: path of the `ngspice` command, which runs decks by hand; None if there is none.
        command_version: version of that command.
        advice: what to do about it; empty if all is well.
    """

    library: str | None
    version: int | None
    klu: bool
    pyspice: str | None
    command: str | None
    command_version: int | None
    advice: tuple[str, ...]

    @property
    def usable(self) -> bool:
        """Whether the ngspice engine can run."""
        return self.version is not None


def describe() -> Installation:
    """Look for ngspice and try it; never raises because something is missing."""
    library = find_library()
    version, klu, problem = _try_library() if library else (None, False, None)
    command = shutil.which("ngspice")
    command_version = _command_version(command) if command else None
    return Installation(
        library=library,
        version=version,
        klu=klu,
        pyspice=_pyspice_version(),
        command=command,
        command_version=command_version,
        advice=tuple(_advice(library, version, klu, problem, command, command_version)),
    )


def _try_library() -> tuple[int | None, bool, str | None]:
    try:
        with contextlib.closing(Worker()) as worker:
            answer, _ = worker.ask(("info",), SECONDS)
    except EngineUnavailableError as error:
        return None, False, str(error)
    except WorkerError as error:
        return None, False, "\n".join([str(error), *error.lines[-5:]])
    if not isinstance(answer, dict):
        return None, False, f"unexpected answer {answer!r}"
    return answer["version"], answer["klu"], None


def _pyspice_version() -> str | None:
    try:
        return importlib.metadata.version("PySpice")
    except importlib.metadata.PackageNotFoundError:
        return None


def _command_version(command: str) -> int | None:
    try:
        done = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"ngspice-(\d+)", done.stdout)
    return int(found[1]) if found else None


def _advice(
    library: str | None,
    version: int | None,
    klu: bool,
    problem: str | None,
    command: str | None,
    command_version: int | None,
) -> list[str]:
    advice = []
    if library is None:
        advice.append(f"libngspice was not found; the nodal engine works without it. To get it:\n{HOW_TO_INSTALL}")
    elif version is None:
        advice.append(f"{library}: {problem}")
    elif not klu:
        advice.append(
            f"ngspice {version} has no KLU: large arrays are many times slower than with ngspice >= 42 "
            f"(the nodal engine is not affected). To get it:\n{HOW_TO_INSTALL}"
        )
    if version is not None and version not in TRIED:
        advice.append(f"ngspice {version} should work, but only {' and '.join(map(str, TRIED))} are tested")
    if library is not None and command is None:
        advice.append("the command `ngspice` is missing, so decks cannot be run by hand; install the package ngspice")
    elif version is not None and command_version is not None and version != command_version:
        advice.append(f"the library is ngspice {version}, the command {command} is {command_version}")
    return advice
