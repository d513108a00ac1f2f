"""Where libngspice is on this machine, and what to do when it is nowhere."""

from __future__ import annotations

import ctypes.util
import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path

from xbar_spice.errors import EngineUnavailableError

__all__ = ["HOW_TO_INSTALL", "LIBRARY_VARIABLE", "find_library", "require_library", "unusable"]

LIBRARY_VARIABLE = "NGSPICE_LIBRARY_PATH"

HOW_TO_INSTALL = f"""\
  - from a checkout: ./scripts/bootstrap
  - Debian, Ubuntu: apt install ngspice libngspice0
    (Debian 12: take 46 from bookworm-backports; its own 39 lacks KLU and is many times slower on large arrays)
  - conda: conda install -c conda-forge ngspice ngspice-lib
  - Homebrew: brew install ngspice libngspice
  - a library elsewhere: set {LIBRARY_VARIABLE} to the path of libngspice.so, .so.0 or .dylib"""

# Debian's libngspice0 has only the second name; the first comes with the development package.
NAMES = ("libngspice.so", "libngspice.so.0", "libngspice.dylib", "libngspice.0.dylib")


def find_library(environment: Mapping[str, str] | None = None) -> str | None:
    """Path of libngspice, or a bare name that the loader resolves, or None.

    `NGSPICE_LIBRARY_PATH` wins over everything, also when it points nowhere: a library that was asked for by name is
    never replaced by another one in silence.
    """
    environment = os.environ if environment is None else environment
    asked = environment.get(LIBRARY_VARIABLE)
    if asked:
        return asked if Path(asked).is_file() else None
    for folder in _folders(environment):
        for name in NAMES:
            if (folder / name).is_file():
                return str(folder / name)
    return ctypes.util.find_library("ngspice")


def require_library() -> str:
    """As `find_library`.

    Raises:
        EngineUnavailableError: there is none; the text says how to get one.
    """
    library = find_library()
    if library is not None:
        return library
    asked = os.environ.get(LIBRARY_VARIABLE)
    reason = f"{LIBRARY_VARIABLE} is {asked!r}, which is no file" if asked else "libngspice was not found"
    raise EngineUnavailableError(unusable(reason))


def unusable(reason: str) -> str:
    """What to tell a user whose ngspice cannot be used."""
    return f"the ngspice engine cannot start: {reason}. To get ngspice:\n{HOW_TO_INSTALL}"


def _folders(environment: Mapping[str, str]) -> Iterator[Path]:
    for variable in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"):
        yield from (Path(entry) for entry in environment.get(variable, "").split(os.pathsep) if entry)
    for prefix in (environment.get("CONDA_PREFIX"), sys.prefix):
        if prefix:
            yield Path(prefix) / "lib"
    multiarch = sysconfig.get_config_var("MULTIARCH")
    if multiarch:
        yield Path("/usr/lib") / multiarch
        yield Path("/usr/local/lib") / multiarch
    yield from (Path(folder) for folder in ("/usr/local/lib", "/usr/lib", "/usr/lib64", "/opt/homebrew/lib"))
