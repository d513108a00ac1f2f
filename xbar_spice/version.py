"""Which code this is: the version of the package and of what it computes with, and the commit of a checkout."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

__all__ = ["__version__", "commit", "versions"]

__version__ = version("xbar-spice")


def versions() -> dict[str, str]:
    """Versions of the package, of Python, and of what the numbers come from."""
    return dict(_versions())


@cache
def _versions() -> dict[str, str]:
    return {"xbar-spice": __version__, "python": platform.python_version()} | {
        name: version(name) for name in ("numpy", "scipy")
    }


@cache
def commit() -> str | None:
    """The commit of the checkout that this package is run from, with "-dirty" if it was changed; None elsewhere."""
    checkout = Path(__file__).resolve().parents[1]
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None
