"""The versions that the two commands of the README install are known, for every Python that they run on."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PIN = re.compile(r'([A-Za-z0-9_.-]+)==([A-Za-z0-9_.]+)( ; python_version == "3\.1[1-4]")?')


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def pins() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            match = PIN.fullmatch(line)
            assert match, f"expected NAME==VERSION alone, got {line!r}"
            found.setdefault(normal(match[1]), []).append(match[2])
    return found


def requirements() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    return [*project["build-system"]["requires"], *project["project"]["dependencies"], *extras["dev"], *extras["docs"]]


@pytest.mark.parametrize("requirement", requirements())
def test_every_requirement_has_a_known_version_within_its_bound(requirement: str) -> None:
    name, _, bound = requirement.partition(">=")
    versions = pins()[normal(name)]
    assert versions
    assert all(numbers(version) >= numbers(bound) for version in versions)


def test_torch_is_left_to_those_who_want_it() -> None:
    assert "torch" not in pins()
