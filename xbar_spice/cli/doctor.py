"""What `xbar-spice doctor` finds on this machine."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from rich.console import Console

from xbar_spice.engines.ngspice.installation import TRIED, describe
from xbar_spice.parts import REGISTRIES
from xbar_spice.spice.resources import search_path

__all__ = ["print_findings"]

_PACKAGES = (
    "numpy",
    "scipy",
    "jinja2",
    "PySpice",
    "matplotlib",
    "pandas",
    "distributed",
    "scikit-learn",
    "safetensors",
)


def print_findings() -> None:
    """Print versions, the engines and advice."""
    found = describe()
    klu = "with KLU" if found.klu else "without KLU"
    library = f"{found.version}, {klu}, {found.library}" if found.usable else "not usable"
    command = f"{found.command_version}, {found.command}" if found.command else "not found"
    rows = {
        "xbar-spice": version("xbar-spice"),
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        **{name: _version(name) for name in _PACKAGES},
        "torch": f"{_version('torch')} (only needed for layers of PyTorch on arrays)",
        "netlists": ", ".join(map(str, search_path("netlists"))),
        "models": ", ".join(map(str, search_path("models"))),
        "libngspice": library,
        "tested with": f"ngspice {' and '.join(map(str, TRIED))}",
        "ngspice command": command,
        "engines": "ideal, nodal" + (", ngspice" if found.usable else "; not ngspice"),
        **{registry.kind: ", ".join(registry) for registry in REGISTRIES if registry.kind != "engine"},
    }
    console = Console(highlight=False, soft_wrap=True)
    for name, value in rows.items():
        console.print(f"{name:<16} {value}", markup=False)
    for advice in found.advice:
        console.print(f"\nadvice: {advice}", markup=False)
    if not found.advice:
        console.print("\nall is well")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
