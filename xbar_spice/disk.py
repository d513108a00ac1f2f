"""The border to the file system: files are read and written here, and its errors become ours.

What is read is a regular file of a sane size, so that a device, a pipe or a file of many gigabytes is refused before
anything waits for it or memory runs out. What is written appears under its name as a whole or not at all.
"""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
import shutil
import stat
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, cast, final
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from xbar_spice.errors import FileError, XbarError

__all__ = [
    "ARRAYS",
    "DRAFT",
    "Arrays",
    "border",
    "clear_drafts",
    "make_folder",
    "move_folder",
    "npz_arrays",
    "read_bytes",
    "read_json",
    "read_text",
    "read_toml",
    "reason",
    "require_sane",
    "require_writable",
    "sync_folder",
    "write",
    "write_durably",
    "write_folder",
]

PathLike = str | os.PathLike[str]

DRAFT = ".draft-"
"""How the name of a file or folder begins that is not finished yet."""

ARRAYS = 2**30
"""Bytes of all arrays of a file: a small one can claim to hold, or unpack to, any number of them."""

Arrays = dict[str, NDArray[Any]]

_MIB = 2**20
_TEXT = 16 * _MIB
_TOML = _MIB  # its reader, which is written in Python, takes a second for each of them
_JSON = 1024 * _MIB  # a study of many thousand cases lists each of them

# What the system says of an error of this number is kept; this is what can be done about it.
_WAYS_OUT = {
    errno.ENOSPC: "free some space on this disk, or write to another one",
    errno.EDQUOT: "free some of your quota on this disk, or write to another one",
    errno.EFBIG: "this disk or the limit `ulimit -f` does not allow such a large file; write to another disk",
    errno.EROFS: "write to a folder on another disk",
    errno.ENAMETOOLONG: "give a shorter name; most disks allow 255 bytes for each part of a path",
    errno.EISDIR: "name a file in this folder",
    errno.ENOTDIR: "a part of this path is a file where a folder is needed",
    errno.EEXIST: "a file has this name where a folder is needed; give another name",
    errno.EACCES: "change the permissions of the file and its folder, or give another path",
    errno.EPERM: "change the permissions of the file and its folder, or give another path",
    errno.ELOOP: "its symbolic links lead in a circle; name the file itself",
    errno.EMFILE: "too many files are open; raise the limit `ulimit -n`",
    errno.ENFILE: "too many files are open on this machine; close some programs",
}

_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def reason(error: BaseException) -> str:
    """Why a file could not be read or written, and what to try, in words without its path."""
    if isinstance(error, UnicodeDecodeError):
        byte = error.object[error.start]
        return f"not UTF-8 text: byte 0x{byte:02x} at position {error.start}; save the file as UTF-8"
    if isinstance(error, RecursionError):
        return "tables or lists are nested too deeply in it"
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if isinstance(error, OSError) and error.errno is not None:
        way_out = _WAYS_OUT.get(error.errno)
        if error.errno == errno.ENOENT:
            way_out = "check the name, and that its folder is there"
        return f"{error.strerror}; {way_out}" if way_out else f"{error.strerror}"
    return str(error) or type(error).__name__


def border(path: PathLike, what: str, error: type[XbarError] = FileError) -> AbstractContextManager[None]:
    """Turn what the operating system, decoding or a lack of memory raises inside into an error of the package.

    Args:
        path: The file or folder concerned; the text begins with it.
        what: What cannot be done, such as "read" or "written".
        error: The class to raise.

    Raises:
        XbarError: An error of the class given, with the path, what failed and what to try.

    Example:
        >>> with border("notes.txt", "read"):
        ...     open("/nowhere/notes.txt")
        Traceback (most recent call last):
            ...
        xbar_spice.errors.FileError: notes.txt: cannot be read: No such file or directory; check the name, ...
    """
    return _border(f"{_shown(path)}: cannot be {what}", path, error)


@contextmanager
def _border(failure: str, path: PathLike, error: type[XbarError]) -> Iterator[None]:
    if "\0" in os.fspath(path):
        raise error(f"{failure}: a path holds no NUL character")
    try:
        yield
    except (OSError, UnicodeError, RecursionError, MemoryError) as cause:
        raise error(f"{failure}: {reason(cause)}") from cause


def _shown(path: PathLike) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in os.fspath(path))


@final
class _RefusedError(OSError):
    """What this module itself refuses, on its way to the border."""


def _require_regular(path: PathLike) -> int:
    """The size of a file in bytes; what never ends, waits for somebody else or holds other files is refused."""
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        kind = next((name for matches, name in _KINDS if matches(found.st_mode)), "no regular file")
        raise _RefusedError(f"it is {kind}; name a regular file")
    return found.st_size


# --- reading --------------------------------------------------------------------------------------------------------
#
# Every function takes the class of error to raise and, for its text, the role that the file plays ("device model").


def read_bytes(path: PathLike, *, limit: int = _TEXT, error: type[XbarError] = FileError, role: str = "") -> bytes:
    """The content of a regular file of at most `limit` bytes; what else it is, is said and not waited for."""
    with _reading(path, error, role):
        size = _require_regular(path)
        with open(path, "rb") as file:
            # Some more than there should be: files of /proc say that they are empty, others grow.
            content = file.read(min(size + _MIB, limit + 1)) if size <= limit else b""
        if max(size, len(content)) > limit:
            raise _RefusedError(f"it has more than {limit // _MIB} MiB; is it the right file?")
    return content


def read_text(path: PathLike, *, limit: int = _TEXT, error: type[XbarError] = FileError, role: str = "") -> str:
    """The text of a regular file in UTF-8, without byte order mark and with line ends as Python has them."""
    content = read_bytes(path, limit=limit, error=error, role=role)
    with _reading(path, error, role):
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def read_toml(path: PathLike, *, error: type[XbarError] = FileError, role: str = "") -> dict[str, Any]:
    """The content of a TOML file."""
    text = read_text(path, limit=_TOML, error=error, role=role)
    return _table(tomllib.loads, text, f"{_subject(path, role)}: not valid TOML", error)


def read_json(path: PathLike, *, error: type[XbarError] = FileError, role: str = "") -> dict[str, Any]:
    """The content of a JSON file that holds an object."""
    text = read_text(path, limit=_JSON, error=error, role=role)
    return _table(json.loads, text, f"{_subject(path, role)}: not valid JSON", error)


def _table(parse: Callable[[str], Any], text: str, failure: str, error: type[XbarError]) -> dict[str, Any]:
    try:
        content = parse(text)
    except (ValueError, RecursionError, MemoryError) as cause:
        raise error(f"{failure}: {reason(cause)}") from cause
    if not isinstance(content, dict):
        raise error(f"{failure}: expected names with values, got {type(content).__name__}")
    return content


def _reading(path: PathLike, error: type[XbarError], role: str) -> AbstractContextManager[None]:
    return _border(_subject(path, role) if role else f"{_shown(path)}: cannot be read", path, error)


def _subject(path: PathLike, role: str) -> str:
    return f"cannot read the {role} {_shown(path)}" if role else _shown(path)


def require_sane(sizes: Iterable[tuple[str, int]], error: type[XbarError] = FileError) -> None:
    """Refuse tensors that appear twice or are too large, by what their file says of them before any is read."""
    named = list(sizes)
    twice = [name for name, count in Counter(name for name, _ in named).items() if count > 1]
    if twice:
        raise error(f"tensor {twice[0]!r}: the file has it more than once")
    total = sum(size for _, size in named)
    if total > ARRAYS:
        name = max(named, key=lambda entry: entry[1])[0]
        raise error(
            f"expected at most {ARRAYS // 2**20} MiB of tensors, got {total / 2**20:.0f} MiB, most of it in {name!r}"
        )


def npz_arrays(content: bytes, error: type[XbarError] = FileError) -> Arrays:
    """The arrays of a `.npz` file, none of which is larger than it says or needs pickle.

    A damaged file brings the readers of Python and NumPy to raise errors of many other classes.
    """
    if content.startswith(np.lib.format.MAGIC_PREFIX):
        raise error("expected an archive of named arrays as numpy.savez writes it, got a single array")
    with ZipFile(BytesIO(content)) as archive:
        entries = {info: info.filename.removesuffix(".npy") for info in archive.infolist()}
        require_sane(((name, info.file_size) for info, name in entries.items()), error)
        tensors: Arrays = {}
        for info, name in entries.items():
            with archive.open(info) as file:
                _require_npy(name, cast(BinaryIO, file), info.file_size, error)
            with archive.open(info) as file:
                tensors[name] = np.lib.format.read_array(file, allow_pickle=False)
    return tensors


def _require_npy(name: str, file: BinaryIO, size: int, error: type[XbarError]) -> None:
    """Refuse an array whose header claims another size than it has: room for it is made before it is read."""
    version = np.lib.format.read_magic(file)
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in headers:
        raise error(f"tensor {name!r}: expected version 1.0 or 2.0 of the format .npy, got {version}")
    shape, _, dtype = headers[version](file)
    claimed = math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and claimed != size - file.tell():
        raise error(f"tensor {name!r}: expected {claimed} bytes for shape {shape}, got {size - file.tell()}")


# --- writing --------------------------------------------------------------------------------------------------------


def write(path: PathLike, content: str | bytes, *, error: type[XbarError] = FileError) -> Path:
    """Write a file as a whole or not at all; a file of that name is replaced.

    Args:
        path: Its name. A symbolic link stays one: the file behind it is replaced.
        content: Bytes, or text that is written in UTF-8.
        error: The class of error to raise.

    Returns:
        The path.

    Raises:
        XbarError: The file cannot be written; what was there before is as it was, and no draft is left.
    """
    given = Path(path)
    with border(given, "written", error):
        target = _target(given)
        draft = _draft(target)
        try:
            write_durably(draft, content)
            draft.replace(target)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        sync_folder(target.parent)
    return given


def write_folder(path: PathLike, contents: Mapping[str, str | bytes], *, error: type[XbarError] = FileError) -> Path:
    """Write a folder with all its files as a whole or not at all; a folder of that name is replaced.

    Args:
        path: Its name; folders above it are made if need be.
        contents: Names of files and what they hold, as for `write`.
        error: The class of error to raise.

    Returns:
        The path.

    Raises:
        XbarError: The folder cannot be written; what was there before is as it was, and no draft is left.
    """
    folder = Path(os.path.realpath(path))
    with border(path, "written", error):
        if folder.exists() and not folder.is_dir():
            raise _RefusedError("it is something else than a folder; give another name")
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = _draft(folder)
        draft.mkdir()
        try:
            for name, content in contents.items():
                write_durably(draft / name, content)
            sync_folder(draft)
            move_folder(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return Path(path)


def require_writable(path: PathLike, *, error: type[XbarError] = FileError) -> None:
    """Raise now if `write` could not write this file later: before work whose result would be lost."""
    given = Path(path)
    with border(given, "written", error):
        target = _target(given)
        trial = _draft(target)
        try:
            trial.touch(exist_ok=False)
        finally:
            trial.unlink(missing_ok=True)


def make_folder(path: PathLike, *, error: type[XbarError] = FileError) -> Path:
    """The folder, made with those above it if need be."""
    with border(path, "made", error):
        Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path)


def clear_drafts(folder: Path) -> None:
    """Remove what writers that were killed have left in a folder; nobody else may be writing there."""
    for draft in folder.glob(f"{DRAFT}*"):
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)


def _draft(path: Path) -> Path:
    """A name for the draft of a file or folder.

    Beside the target, because only within one file system is a replacement atomic; short, so that any name that the
    disk allows can be written.
    """
    return path.with_name(f"{DRAFT}{secrets.token_hex(8)}")


def write_durably(path: Path, content: str | bytes) -> None:
    """Write a file that is not there yet, down to the disk."""
    with open(path, "xb") as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move_folder(draft: Path, folder: Path) -> None:
    """Give a finished draft its name; a folder cannot replace one that is not empty, so that steps aside."""
    aside = None
    if folder.exists():
        aside = draft.with_name(f"{draft.name}-old")
        folder.rename(aside)
    try:
        draft.rename(folder)
    except BaseException:
        if aside is not None:
            aside.rename(folder)
        raise
    sync_folder(folder.parent)
    if aside is not None:
        shutil.rmtree(aside, ignore_errors=True)


def _target(path: Path) -> Path:
    """The file behind a name, which may be new but is nothing else than a regular file."""
    target = Path(os.path.realpath(path))
    with suppress(FileNotFoundError):
        _require_regular(target)
    return target
