"""The file of results that simulators of the SPICE family write, as text: one operating point of it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["operating_point"]


def operating_point(path: Path) -> dict[str, float] | None:
    """What stands in a raw file by the name that `print` has for it, `i(v1)` or `v(out)`, in lower case.

    Returns:
        None if there is no such file, or not exactly one whole point in it.
    """
    try:
        head, _, values = path.read_text(encoding="utf-8", errors="replace").partition("Values:\n")
    except OSError:
        return None
    points = [line.split(":")[1].strip() for line in head.splitlines() if line.startswith("No. Points")]
    names = [line.split()[1] for line in head.splitlines() if line.startswith("\t")]
    numbers = values.split()[1:]  # the first is that of the point
    if points != ["1"] or len(numbers) != len(names):
        return None
    return {_printed(name.lower()): float(number) for name, number in zip(names, numbers, strict=True)}


def _printed(name: str) -> str:
    """VACASK names a current `v1:flow(br)` and a voltage by its node alone."""
    if name.endswith(":flow(br)"):
        return f"i({name.removesuffix(':flow(br)')})"
    return name if name.startswith(("i(", "v(")) else f"v({name})"
