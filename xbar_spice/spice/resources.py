"""Finds the folders `netlists/` and `models/`: the user's own first, then the ones shipped with the package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from xbar_spice.errors import InvalidInputError, XbarError

__all__ = ["ResourceKind", "search_path"]

ResourceKind = Literal["netlists", "models"]

_PACKAGE = Path(__file__).resolve().parents[1]


def search_path(kind: ResourceKind, extra: Sequence[Path] = ()) -> tuple[Path, ...]:
    """Folders to search for a template or a device model, in order.

    Args:
        kind: which of the two folders.
        extra: the user's own folders; a file in one of them hides the shipped file of the same name.

    Returns:
        Absolute paths of existing folders: `extra` in the order given, then the shipped folder.

    Raises:
        InvalidInputError: a folder of `extra` does not exist or is a file.
        XbarError: the installation lacks its own folder.

    Example:
        >>> [folder.name for folder in search_path("netlists")]
        ['netlists']
    """
    return (*(_users_folder(kind, Path(folder)) for folder in extra), _shipped_folder(kind))


def _users_folder(kind: ResourceKind, folder: Path) -> Path:
    absolute = folder.expanduser().absolute()
    if not absolute.exists():
        raise InvalidInputError(
            f"{kind} folder {str(folder)!r} does not exist (looked for {absolute}); "
            f"create it or correct the path given for {kind}"
        )
    if not absolute.is_dir():
        raise InvalidInputError(f"{kind} must be a folder, got the file {absolute}; try its parent {absolute.parent}")
    return absolute


def _shipped_folder(kind: ResourceKind) -> Path:
    # A wheel carries the folder inside the package; in a checkout, and so in an editable install, it stands beside it.
    candidates = (_PACKAGE / kind, _PACKAGE.parent / kind)
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise XbarError(
        f"this installation of xbar-spice lacks its {kind} folder (looked for {' and '.join(map(str, candidates))}); "
        "install it again"
    )
