"""How verbs behave, whatever they do: options under headings, and a word about every run that did not converge."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import click

from xbar_spice.errors import ConvergenceWarning

__all__ = ["SectionOption", "Verb", "Verbs"]

_MOST_FAILURES = 3
_WIDEST = 30  # letters of an option beside its explanation; below longer ones the explanation starts a line of its own


class SectionOption(click.Option):
    """An option that stands under a heading of its own."""

    def __init__(self, *args: Any, section: str, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.section = section


class Verb(click.Command):
    """A verb whose help has one list of options for each heading, in columns that line up.

    Options may be made only when the verb is used (`later`), if what they come from takes a while to import. Its last
    words name what did not converge, and its exit status is not 0 then: numbers of such a run look like any
    others.
    """

    def __init__(
        self, *args: Any, later: Sequence[Callable[[], list[click.Parameter]]] = (), **attributes: Any
    ) -> None:
        self._later = later
        super().__init__(*args, **attributes)

    @property
    def params(self) -> list[click.Parameter]:
        """All arguments and options; those of `later` are made now."""
        for make in self._later:
            self._params += make()
        self._later = ()
        return self._params

    @params.setter
    def params(self, given: list[click.Parameter]) -> None:
        self._params = given

    def invoke(self, ctx: click.Context) -> Any:
        caught: list[warnings.WarningMessage] = []
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", ConvergenceWarning)
                result = super().invoke(ctx)
        finally:  # beside an error, too, which they may explain
            failures = _said_of_failures(caught)
        if failures:
            ctx.exit(1)
        return result

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if isinstance(parameter, click.Option) and record is not None:
                sections.setdefault(getattr(parameter, "section", "Options"), []).append(record)
        longest = max(len(option) for records in sections.values() for option, _ in records)
        width = min(longest, _WIDEST)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl([(option.ljust(width), text) for option, text in records], col_max=width)


def _said_of_failures(caught: list[warnings.WarningMessage]) -> int:
    """Print the first few that did not converge, each once, for a training repeats them; their number."""
    failures = []
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            failures.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    different = list(dict.fromkeys(failures))
    for failure in different[:_MOST_FAILURES]:
        click.echo(f"NOT CONVERGED    {failure}")
    if len(failures) > _MOST_FAILURES:
        click.echo(f"NOT CONVERGED    {len(failures)} times in all")
    return len(failures)


class Verbs(click.Group):
    """Verbs in the order in which they were added, which is that of a run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)
