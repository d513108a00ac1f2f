"""What a line of ngspice's output means; the only place that decides it.

ngspice writes progress, advice and errors alike to stdout and stderr, and PySpice takes every line on stderr for an
error. A line on stderr that no rule knows counts as a warning: it is logged and quoted when something fails, but a run
fails only on a line known to be a failure, or because its results are missing.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import final

__all__ = ["Severity", "classify"]


@final
class Severity(Enum):
    """How serious a line of the simulator is."""

    INFORMATION = "information"
    WARNING = "warning"
    FAILURE = "failure"


def _rule(severity: Severity, *patterns: str) -> tuple[Severity, re.Pattern[str]]:
    return severity, re.compile("|".join(patterns), re.IGNORECASE)


# The first rule that matches decides; patterns are anchored because decks bring their own words into the output.
RULES = (
    _rule(
        Severity.INFORMATION,
        r"^circuit: ",  # followed by the title of the deck
        r"^notes?\b",
        r"^using (klu|sparse)",
        r"^doing analysis at",
        r"^reference value",
        r"^no\. of data rows",
        r"^(doanalyses: )?pause requested",
        r"^(\w+ )?simulation interrupted",  # a run that is paused by `step`, as reads are
        r"^stopped after \d+ steps?",
        r"^starting (dynamic gmin|true gmin|gmin|source) stepping",
        r"^(trying|one successful) (gmin|source)(?!.*\bwarning)",
        r"^(dynamic |true )?gmin stepping completed",
        r"^supplies reduced to(?!.*\bwarning)",
        r"^(dynamic )?source stepping completed",
        r"^transient op (started|finished)",
        r"^\s*$",
    ),
    _rule(
        Severity.FAILURE,
        r"^(fatal |parse |internal )?error\b",
        # ngspice goes on after these, with another circuit than the one in the deck: it leaves an element out,
        # raises a resistance, or ties a floating node to ground until the matrix can be solved.
        r"\binstance line, ignored",
        r"\bresist(ance|or) .*\b(low|small), set to\b",
        r"\bsingular matrix\b",
        r"^doanalyses: ",
        r"\bsimulation\(s\) aborted",
        r"^no circuit loaded",
        r"\bno convergence\b",
        r"\bout of memory\b",
    ),
)


def classify(line: str, stream: str = "stderr") -> Severity:
    """The severity of one line that ngspice wrote to "stdout" or "stderr".

    Example:
        >>> classify("Using KLU as Direct Linear Solver").value, classify("Warning: v1: no DC value").value
        ('information', 'warning')
    """
    for severity, pattern in RULES:
        if pattern.search(line):
            return severity
    return Severity.WARNING if stream == "stderr" or line.lower().startswith("warning") else Severity.INFORMATION
