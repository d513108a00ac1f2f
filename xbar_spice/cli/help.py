"""How the command line explains itself: options under headings, verbs in the order of a run."""

from __future__ import annotations

from typing import Any

import click

__all__ = ["SectionOption", "Verb", "Verbs"]

_WIDEST = 30  # letters of an option beside its explanation; below longer ones the explanation starts a line of its own


class SectionOption(click.Option):
    """An option that stands under a heading of its own."""

    def __init__(self, *args: Any, section: str, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.section = section


class Verb(click.Command):
    """A verb whose help has one list of options for each heading, in columns that line up."""

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


class Verbs(click.Group):
    """Verbs in the order in which they were added, which is that of a run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)
