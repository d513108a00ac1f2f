"""Renders the Jinja templates of `netlists/` to SPICE text.

Templates hold loops and names; numbers are computed in Python and printed with full precision. All run in Jinja's
sandbox, because some are the user's: they see the variables of their deck, and nothing of Python behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined, TemplateError
from jinja2.loaders import split_template_path
from jinja2.sandbox import ImmutableSandboxedEnvironment

from xbar_spice.disk import read_text
from xbar_spice.errors import InvalidInputError, XbarError
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
        InvalidInputError: the template is missing or broken, uses a variable that is not given, or does what the
            sandbox does not allow.
    """
    folders = search_path("netlists", netlists)
    try:
        return _environment(folders).get_template(template).render(**variables)
    except XbarError:
        raise
    except Exception as error:  # of Jinja, or what a template makes of numbers and names: a division by zero, say
        said = error.message if isinstance(error, TemplateError) else f"{type(error).__name__}: {error}"
        place = f"{getattr(error, 'filename', None) or template}, line {getattr(error, 'lineno', None) or '?'}"
        searched = ", ".join(map(str, folders))
        raise InvalidInputError(
            f"cannot render netlist template {template!r} ({place}): {said}; searched in {searched}"
        ) from error


@lru_cache
def _environment(folders: tuple[Path, ...]) -> Environment:
    """One for each search path, because it keeps the compiled templates."""
    environment = ImmutableSandboxedEnvironment(
        loader=FunctionLoader(partial(_load, folders)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # SPICE text, not HTML
    )
    environment.filters |= {"number": number, "comment": comment}
    return environment


def _load(folders: Sequence[Path], name: str) -> tuple[str, str, Callable[[], bool]] | None:
    """Text and path of a template, and how to tell that it has not changed since; None if there is none."""
    parts = split_template_path(name)  # refuses to leave the folders
    found = next((path for path in (folder.joinpath(*parts) for folder in folders) if path.exists()), None)
    if found is None:
        return None
    text, changed = read_text(found, error=InvalidInputError, role="netlist template"), found.stat().st_mtime
    return text, str(found), lambda: found.exists() and found.stat().st_mtime == changed
