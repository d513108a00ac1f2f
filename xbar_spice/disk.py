"""The border to the file system: files are read and written here, and its errors become ours.

What is read is a regular file of a sane size, so that a device, a pipe or a file of many gigabytes is refused before
anything waits for it or memory runs out. What is written appears under its name as a whole or not at all.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from xbar_spice.errors import FileError, XbarError

__all__ = [
    "DRAFT",
    "border",
    "make_folder",
    "read_bytes",
    "read_json",
    "read_text",
    "read_toml",
    "reason",
    "require_writable",
    "sync_folder",
    "write",
]

DRAFT = ".draft-"
"""How the name of a file or folder begins that is not finished yet."""

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


@contextmanager
def border(path: str | os.PathLike[str], what: str, error: type[XbarError] = FileError) -> Iterator[None]:
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
    if "\0" in os.fspath(path):
        raise error(f"{os.fspath(path)!r}: cannot be {what}: a path holds no NUL character")
    try:
        yield
    except (OSError, UnicodeError, RecursionError, MemoryError) as cause:
        raise error(f"{os.fspath(path)}: cannot be {what}: {reason(cause)}") from cause


# --- reading --------------------------------------------------------------------------------------------------------


def read_bytes(path: str | os.PathLike[str], *, limit: int = _TEXT, error: type[XbarError] = FileError) -> bytes:
    """The content of a regular file of at most `limit` bytes; what else it is, is said and not waited for."""
    with border(path, "read", error):
        _refuse_special(path, "read", error)
        with open(path, "rb") as file:
            content = file.read(limit + 1)
    if len(content) > limit:
        raise error(f"{os.fspath(path)}: cannot be read: it has more than {limit // _MIB} MiB; is it the right file?")
    return content


def read_text(path: str | os.PathLike[str], *, limit: int = _TEXT, error: type[XbarError] = FileError) -> str:
    """The text of a regular file in UTF-8, its line ends as they are in Python."""
    content = read_bytes(path, limit=limit, error=error)
    with border(path, "read", error):
        return content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


def read_toml(path: str | os.PathLike[str], *, error: type[XbarError] = FileError) -> dict[str, Any]:
    """The content of a TOML file."""
    return _parsed(path, tomllib.loads, "TOML", _TOML, error)


def read_json(path: str | os.PathLike[str], *, error: type[XbarError] = FileError) -> dict[str, Any]:
    """The content of a JSON file that holds an object."""
    return _parsed(path, json.loads, "JSON", _JSON, error)


def _parsed(
    path: str | os.PathLike[str], parse: Callable[[str], Any], language: str, limit: int, error: type[XbarError]
) -> dict[str, Any]:
    text = read_text(path, limit=limit, error=error)
    try:
        with border(path, "read", error):
            content = parse(text)
    except ValueError as cause:
        if isinstance(cause, XbarError):
            raise
        raise error(f"{os.fspath(path)}: cannot be read: not valid {language}: {cause}") from cause
    if not isinstance(content, dict):
        raise error(
            f"{os.fspath(path)}: cannot be read: a table of names and values is expected, got {type(content).__name__}"
        )
    return content


def _refuse_special(path: str | os.PathLike[str], what: str, error: type[XbarError]) -> None:
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        kind = next((name for matches, name in _KINDS if matches(mode)), "no regular file")
        raise error(f"{os.fspath(path)}: cannot be {what}: it is {kind}; name a regular file")


# --- writing --------------------------------------------------------------------------------------------------------


def write(path: str | os.PathLike[str], content: str | bytes, *, error: type[XbarError] = FileError) -> Path:
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
        target = _target(given, error)
        # Beside the target, because only within one file system is a replacement atomic. Its name is short, so that
        # any name that the disk allows can be written.
        draft = target.with_name(f"{DRAFT}{secrets.token_hex(8)}")
        try:
            with open(draft, "xb") as file:
                file.write(content.encode("utf-8") if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        sync_folder(target.parent)
    return given


def require_writable(path: str | os.PathLike[str], *, error: type[XbarError] = FileError) -> None:
    """Raise now if `write` could not write this file later: before work whose result would be lost."""
    given = Path(path)
    with border(given, "written", error):
        target = _target(given, error)
        trial = target.with_name(f"{DRAFT}{secrets.token_hex(8)}")
        try:
            trial.touch(exist_ok=False)
        finally:
            trial.unlink(missing_ok=True)


def make_folder(path: str | os.PathLike[str], *, error: type[XbarError] = FileError) -> Path:
    """The folder, made with those above it if need be."""
    with border(path, "made", error):
        Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _target(path: Path, error: type[XbarError]) -> Path:
    """The file behind a name, which may be new but is nothing else than a regular file."""
    target = Path(os.path.realpath(path))
    with suppress(FileNotFoundError):
        _refuse_special(target, "written", error)
    return target
