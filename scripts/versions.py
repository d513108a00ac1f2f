#!/usr/bin/env python3
"""The versions of what xbar-spice needs: those that `scripts/bootstrap` installs, and runs of the tests with others.

    ./scripts/versions.py renew               writes constraints.txt: the newest versions that Python 3.11 to 3.14 take
    ./scripts/versions.py newest [PYTEST...]  runs the tests with the newest versions
    ./scripts/versions.py lowest [PYTEST...]  runs the tests with the lowest versions that pyproject.toml allows

The gate installs known versions, so that a new release of somebody else's never breaks it; what the others do is seen
by these runs. Each has an environment of its own in build/versions, made anew. What others say is going to change is no
error in a run with the lowest versions, because they cannot know.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SOURCES = ("PySpice",)  # published without a wheel: made into one here, so that pip can resolve for another Python
BUILDERS = ("setuptools", "wheel")  # what pip makes those wheels with
HEAD = """\
# Known versions for Python {first} to {last}, which scripts/bootstrap installs. Renew them with
# ./scripts/versions.py renew
"""


def main() -> None:
    verb, *arguments = sys.argv[1:] or ["--help"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    if verb == "renew" and not arguments:
        CONSTRAINTS.write_text(constraints(project), encoding="utf-8")
        print(f"wrote {CONSTRAINTS}")
    elif verb in ("newest", "lowest"):
        bounds = lowest(project["project"]["dependencies"]) if verb == "lowest" else []
        sys.exit(tests(verb, bounds, arguments))
    else:
        print(__doc__)
        sys.exit(verb not in ("-h", "--help"))


def constraints(project: dict[str, Any]) -> str:
    """The text of the constraints file."""
    wanted = [
        *project["build-system"]["requires"],
        *BUILDERS,
        *project["project"]["dependencies"],
        *(
            each
            for extra in ("dev", "docs", "verilog-a")
            for each in project["project"]["optional-dependencies"][extra]
        ),
    ]
    found: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        pip("wheel", "--no-deps", "--wheel-dir", folder, *SOURCES)
        for python in PYTHONS:
            print(f"resolving for Python {python}", flush=True)
            for name, version in resolved(python, wanted, Path(folder)).items():
                found.setdefault(name, {})[python] = version
    lines = [line for name in sorted(found, key=str.lower) for line in pins(name, found[name])]
    return "\n".join([HEAD.format(first=PYTHONS[0], last=PYTHONS[-1]), *lines, ""])


def resolved(python: str, wanted: list[str], wheels: Path) -> dict[str, str]:
    """Versions by name that pip would install for a version of Python."""
    report = wheels / f"{python}.json"
    target = ["--python-version", python, "--only-binary", ":all:", "--target", str(wheels / "target")]
    pip("install", "--dry-run", "--report", str(report), "--find-links", str(wheels), *target, *wanted)
    content = json.loads(report.read_text(encoding="utf-8"))
    return {entry["metadata"]["name"]: entry["metadata"]["version"] for entry in content["install"]}


def pins(name: str, versions: dict[str, str]) -> list[str]:
    """One line where all versions of Python agree, else one for each."""
    if len(set(versions.values())) == 1:
        return [f"{name}=={next(iter(versions.values()))}"]
    return [f'{name}=={version} ; python_version == "{python}"' for python, version in versions.items()]


def lowest(requirements: list[str]) -> list[str]:
    """Requirements as exact versions: each must be NAME>=VERSION."""
    matches = [re.fullmatch(r"([\w.-]+)>=([\w.]+)", requirement) for requirement in requirements]
    if not all(matches):
        sys.exit(f"expected NAME>=VERSION for each dependency in pyproject.toml, got {requirements}")
    return [f"{match[1]}=={match[2]}" for match in matches if match]


def tests(name: str, bounds: list[str], arguments: list[str]) -> int:
    """Run the tests in an environment of their own."""
    folder = ROOT / "build" / "versions" / name
    python = folder / "bin" / "python"
    print(f"making {folder} (a few minutes)", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    pip("install", "--editable", f"{ROOT}[dev]", *bounds, python=python)
    subprocess.run([python, "-m", "pip", "list", "--disable-pip-version-check"], check=True)
    quiet = ["-W", "ignore::DeprecationWarning"] if bounds else []
    return subprocess.run([python, "-m", "pytest", *quiet, *arguments], cwd=ROOT, check=False).returncode


def pip(verb: str, *arguments: str, python: str | Path = sys.executable) -> None:
    subprocess.run([python, "-m", "pip", verb, "--quiet", "--disable-pip-version-check", *arguments], check=True)


if __name__ == "__main__":
    main()
