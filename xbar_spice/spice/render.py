"""Renders the Jinja templates of `netlists/` to SPICE text.

Templates hold loops and names; numbers are computed in Python and printed with full precision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from xbar_spice.errors import InvalidInputError
from xbar_spice.spice.resources import search_path

__all__ = ["comment", "number", "render"]


def number(value: float) -> str:
    """The shortest SPICE number that reads back as the very same float64.

    Example:
        >>> number(50.0), number(0.1), number(1e-15)
        ('50', '0.1', '1e-15')
    """
    return repr(float(value)).removesuffix(".0")


def comment(text: object) -> str:
    """Text that is safe inside a one-line SPICE comment: line breaks and control characters become spaces."""
    return "".join(char if char.isprintable() else " " for char in str(text))


def render(template: str, variables: Mapping[str, object], *, netlists: Sequence[Path] = ()) -> str:
    """Render one template.

    Args:
        template: its name, relative to `netlists/`.
        variables: what the template may use; an unknown name in it is an error.
        netlists: folders of the user's own templates, searched before the shipped ones.

    Raises:
        InvalidInputError: the template is missing or broken, or uses a variable that is not given.
    """
    folders = search_path("netlists", netlists)
    try:
        return _environment(folders).get_template(template).render(**variables)
    except TemplateError as error:
        place = f"{getattr(error, 'filename', None) or template}, line {getattr(error, 'lineno', None) or '?'}"
        searched = ", ".join(map(str, folders))
        raise InvalidInputError(
            f"cannot render netlist template {template!r} ({place}): {error.message}; searched in {searched}"
        ) from error


@lru_cache
def _environment(folders: tuple[Path, ...]) -> Environment:
    """One for each search path, because it keeps the compiled templates."""
    environment = Environment(
        loader=FileSystemLoader(folders),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # SPICE text, not HTML
    )
    environment.filters |= {"number": number, "comment": comment}
    return environment
