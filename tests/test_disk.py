"""The border to the file system: what cannot be read or written is said, and nothing half-written is left."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from xbar_spice.disk import (
    DRAFT,
    border,
    clear_drafts,
    make_folder,
    read_bytes,
    read_json,
    read_text,
    read_toml,
    require_writable,
    write,
    write_folder,
)
from xbar_spice.errors import FileError, StudyError

WRITERS = (lambda path: write(path, "new"), require_writable)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert read_text(write(tmp_path / "a", "ohm Ω\n")) == "ohm Ω\n"
    assert read_bytes(write(tmp_path / "a", b"\r\n")) == b"\r\n"
    assert read_text(tmp_path / "a") == "\n"
    assert read_text(write(tmp_path / "a", b"\xef\xbb\xbfa")) == "a"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG, errno.EIO])
@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failure_at_any_stage_keeps_the_old_file_and_no_draft(
    number: int, failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a", "old")

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync", fail) if failing == "fsync" else (Path, "replace", fail)))
        with pytest.raises(StudyError, match=rf"a: cannot be written: {os.strerror(number)}"):
            write(tmp_path / "a", "new", error=StudyError)
    assert (tmp_path / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_write_that_the_system_really_cuts_short(tmp_path: Path) -> None:
    previous, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, previous[1]))
    try:
        with pytest.raises(FileError, match=r"File too large; .*ulimit"):
            write(tmp_path / "a", "x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, previous)
        signal.signal(signal.SIGXFSZ, handler)
    assert os.listdir(tmp_path) == []


def test_an_interrupted_write_leaves_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a", "new")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("use", WRITERS)
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x" * 300, "File name too long; give a shorter name"),
        ("folder", "it is a folder"),
        ("pipe", "it is a named pipe"),
        ("file/a", "Not a directory; a part of this path is a file"),
        ("missing/a", "No such file or directory; check the name"),
        ("a\0b", "no NUL"),
        ("loop", "it is|circle"),
    ],
)
def test_names_that_cannot_be_written(use: Callable[[Path], object], name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(FileError, match=rf"cannot be written: .*({text})"):
        use(tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("use", WRITERS)
def test_a_device_is_no_file_to_write(use: Callable[[str], object]) -> None:
    with pytest.raises(FileError, match="/dev/null: cannot be written: it is a device"):
        use("/dev/null")


@pytest.mark.parametrize("use", WRITERS)
@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_without_permission(use: Callable[[Path], object], tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(FileError, match="Permission denied; change the permissions"):
        use(tmp_path / "a")


def test_the_file_behind_a_link_is_replaced(tmp_path: Path) -> None:
    write(tmp_path / "a", "old")
    (tmp_path / "link").symlink_to("a")
    write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a").read_text() == "new"


def test_a_name_of_the_greatest_length_can_be_written(tmp_path: Path) -> None:
    assert write(tmp_path / ("x" * 255), "new").read_text() == "new"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("none", "No such file or directory; check the name"),
        ("pipe", "it is a named pipe"),
        (".", "it is a folder"),
        ("/dev/zero", "it is a device"),
        ("latin", "not UTF-8 text: byte 0xb5 at position 2"),
        ("x" * 300, "File name too long"),
    ],
)
def test_what_cannot_be_read(name: str, text: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "latin").write_bytes(b"1 \xb5A")
    with pytest.raises(FileError, match=rf"cannot be read: {text}"):
        read_text(tmp_path / name)


def test_a_file_of_many_gigabytes_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**40)  # takes no room on the disk
    with pytest.raises(FileError, match="more than 16 MiB"):
        read_text(tmp_path / "huge")


@pytest.mark.parametrize(("read", "syntax"), [(read_toml, "a = {}\n"), (read_json, '{{"a": {}}}')])
@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ("9" * 10_000, "not valid"),  # Python refuses to read such a number
        ("[1", "not valid"),
    ],
)
def test_tables_that_are_nested_or_huge(
    read: Callable[[Path], object], syntax: str, value: str, text: str, tmp_path: Path
) -> None:
    write(tmp_path / "file", syntax.format(value))
    with pytest.raises(FileError, match=f"file: .*{text}"):
        read(tmp_path / "file")


def test_json_that_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="expected names with values, got list"):
        read_json(write(tmp_path / "file", "[1]"))


def test_a_folder_is_written_as_a_whole_or_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "new" / ("x" * 255), {"a": "old", "b": b"old"})
    rename = Path.rename

    def fail(path: Path, target: Path) -> Path:
        if target == folder and not path.name.endswith("-old"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail)
        with pytest.raises(FileError, match="No space left on device; free some space"):
            write_folder(folder, {"a": "new"})
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"a": "old", "b": "old"}
    write_folder(folder, {"a": "new"})
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"a": "new"}
    assert os.listdir(tmp_path / "new") == [folder.name]


def test_drafts_of_writers_that_were_killed_are_cleared(tmp_path: Path) -> None:
    (tmp_path / f"{DRAFT}1").touch()
    write_folder(tmp_path / f"{DRAFT}2", {"a": "half"})
    write(tmp_path / "a", "whole")
    clear_drafts(tmp_path)
    assert os.listdir(tmp_path) == ["a"]


def test_a_folder_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="file/a: cannot be made: Not a directory"):
        make_folder(tmp_path / "file" / "a")
    with pytest.raises(FileError, match="file: cannot be made: File exists; a file has this name"):
        make_folder(tmp_path / "file")


def test_a_lack_of_memory_is_said() -> None:
    with pytest.raises(FileError, match="a: cannot be read: it needs more memory than there is"), border("a", "read"):
        raise MemoryError
