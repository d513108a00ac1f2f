"""Finds the environment of the project, so that any Python 3 can start an experiment."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

__all__ = ["ROOT"]

ROOT = Path(__file__).resolve().parent.parent

if find_spec("xbar_spice") is None:
    python = ROOT / ".venv" / "bin" / "python"
    # Run by that very Python, the package is missing from the environment: starting it again would never end.
    if not python.exists() or Path(sys.prefix) == python.parent.parent:
        sys.exit(f"xbar_spice is neither installed here nor in {python.parent.parent}: run ./scripts/bootstrap")
    os.execv(python, [str(python), *sys.argv])
