"""A library file with the files that it includes, as one text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from xbar_spice.errors import DeviceError
from xbar_spice.hardware.subcircuit.text import read_text, split_comment, split_lines

__all__ = ["expand"]

FILES = (".include", ".inc", ".incl", ".lib")


def expand(path: Path, root: Path | None = None, within: Sequence[Path] = ()) -> Iterator[tuple[str, str]]:
    """Places and lines of a library file, with the files that it includes in the place of the cards that name them.

    Args:
        path: of the file.
        root: the folder that included files must lie in; that of the file when left out.
        within: the files that led here.

    Raises:
        DeviceError: a file cannot be read, lies elsewhere, or includes itself.
    """
    root = path.resolve().parent if root is None else root
    lines = split_lines(read_text(path))
    sections = any(line.split(maxsplit=1)[0].lower().startswith(".endl") for line in lines if line.strip())
    for number, line in enumerate(lines, start=1):
        place = f"line {number}" if not within else f"{path.name}, line {number}"
        words = split_comment(line)[0].split(maxsplit=1)
        # A library card in a file with sections begins one of them; otherwise it names a file.
        if len(words) < 2 or words[0].lower() not in FILES or (words[0].lower() == ".lib" and sections):
            yield place, line
            continue
        name = words[1].strip().strip("\"'")
        other = (path.parent / name.replace("\\", "/")).resolve()
        if not other.is_relative_to(root):
            raise DeviceError(
                f"{place}: a library includes files of its own folder alone, got {words[0]} {name!r}; copy the file "
                f"beside the library and name it there"
            )
        if other in (path.resolve(), *within):
            raise DeviceError(f"{place}: the file {name!r} includes itself")
        if not other.is_file():
            raise DeviceError(f"{place}: there is no file {name!r} in the folder of the library; put it there")
        yield from expand(other, root, (*within, path.resolve()))
