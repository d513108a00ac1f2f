"""netlists/ and models/ are found from a checkout, an editable install, a wheel, and a wheel built from an sdist."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Literal, get_args

import pytest

from xbar_spice.errors import InvalidInputError, XbarError
from xbar_spice.spice import resources
from xbar_spice.spice.resources import ResourceKind, search_path

CHECKOUT = Path(__file__).resolve().parents[2]
KINDS = get_args(ResourceKind)

# Everything that a build looks at; the rest of a checkout (.venv above all) stays out of the copies.
PROJECT = ("pyproject.toml", "LICENSE", "README.md", "xbar_spice", "netlists", "models")

PROBE = """
import sys
sys.path[:] = [folder for folder in sys.path if folder != {checkout!r}]  # hide the editable install under test
sys.path.insert(0, {place!r})
from xbar_spice.spice import resources
print(resources.__file__, *(resources.search_path(kind)[0] for kind in ("netlists", "models")), sep="\\n")
"""


def copy_project(destination: Path) -> Path:
    """A checkout of its own, so that builds leave no trace in this one; models/ gets a file to look for."""
    destination.mkdir()
    for name in PROJECT:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, destination / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, destination / name)
    (destination / "models" / "probe").mkdir(parents=True)
    (destination / "models" / "probe" / "probe.lib").write_text("* a device model\n")
    return destination


def run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def build(kind: Literal["wheel", "sdist", "editable"], project: Path, out: Path) -> Path:
    """One artefact, by the hook that pip and `build` call, without an environment of its own and so without network."""
    hook = f"from hatchling.build import *; print(build_{kind}({str(out)!r}))"
    out.mkdir(exist_ok=True)
    return out / run(sys.executable, "-c", hook, cwd=project).split()[-1]


def install(wheel: Path, place: Path) -> Path:
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", "--no-compile")
    run(sys.executable, *pip, "--target", place, wheel, cwd=wheel.parent)
    return place


def found_from(place: Path, cwd: Path) -> tuple[Path, Path, Path]:
    """What a fresh Python in another folder imports and finds: the module, its netlists, its models."""
    probe = PROBE.format(checkout=str(CHECKOUT), place=str(place))
    module, netlists, models = run(sys.executable, "-c", probe, cwd=cwd).splitlines()
    return Path(module), Path(netlists), Path(models)


def files_below(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project(tmp_path_factory.mktemp("resources") / "project")


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkout_uses_its_top_level(kind: ResourceKind) -> None:
    assert search_path(kind) == (CHECKOUT / kind,)


def test_an_editable_install_uses_the_checkout_and_copies_nothing(project: Path, tmp_path: Path) -> None:
    place = install(build("editable", project, tmp_path / "dist"), tmp_path / "site")
    assert not (place / "xbar_spice").exists()
    [pth] = place.glob("*.pth")
    module, netlists, models = found_from(Path(pth.read_text().strip()), cwd=tmp_path)
    assert module.is_relative_to(project)
    assert (netlists, models) == (project / "netlists", project / "models")


def test_a_wheel_carries_both_folders_inside_the_package(project: Path, tmp_path: Path) -> None:
    place = install(build("wheel", project, tmp_path / "dist"), tmp_path / "site")
    assert not (place / "netlists").exists()
    assert_complete(place, project, cwd=tmp_path)


def test_an_sdist_builds_the_same_wheel(project: Path, tmp_path: Path) -> None:
    sdist = build("sdist", project, tmp_path / "dist")
    with tarfile.open(sdist) as archive:
        # Python 3.11 has no filters before 3.11.4, and later versions warn without one.
        archive.extractall(tmp_path / "unpacked", **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    [unpacked] = (tmp_path / "unpacked").iterdir()
    assert files_below(unpacked / "netlists") == files_below(project / "netlists")
    place = install(build("wheel", unpacked, tmp_path / "dist"), tmp_path / "site")
    assert_complete(place, project, cwd=tmp_path)


def assert_complete(place: Path, project: Path, cwd: Path) -> None:
    module, netlists, models = found_from(place, cwd)
    assert module.is_relative_to(place)
    assert (netlists, models) == (place / "xbar_spice" / "netlists", place / "xbar_spice" / "models")
    for kind, folder in (("netlists", netlists), ("models", models)):
        assert files_below(folder) == files_below(project / kind)
        assert files_below(folder)


def test_the_users_folders_come_first_in_their_order(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    assert search_path("models", [first, second]) == (first, second, CHECKOUT / "models")


def test_a_relative_folder_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert search_path("netlists", [Path("mine")])[0] == tmp_path / "mine"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"netlists folder '.*absent' does not exist"):
        search_path("netlists", [tmp_path / "absent"])


def test_a_file_in_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "cell.lib").touch()
    with pytest.raises(InvalidInputError, match=r"must be a folder, got the file .*cell\.lib"):
        search_path("models", [tmp_path / "cell.lib"])


def test_a_broken_installation_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "xbar_spice")
    with pytest.raises(XbarError, match="lacks its models folder"):
        search_path("models")
