"""What a line of ngspice's output means; the only place that decides it.

ngspice writes progress, advice and errors alike to stdout and stderr, and PySpice takes every line on stderr for an
error. A line on stderr that no rule knows counts as a warning: it is logged and quoted when something fails, but a run
fails only on a line known to be a failure, or because its results are missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from typing import final

__all__ = ["Cause", "Severity", "classify", "diagnose"]


@final
class Severity(Enum):
    """How serious a line of the simulator is."""

    INFORMATION = "information"
    WARNING = "warning"
    SUCCESS = "success"  # after all: what failed in the same analysis before does not matter
    FAILURE = "failure"


@final
class Cause(Enum):
    """Why a circuit was not solved, as far as the user can do something else about it."""

    SINGULAR = "singular"
    NO_CONVERGENCE = "no convergence"
    SETTLED = "settled"  # nothing is solved yet, but a transient analysis has come to its end
    OTHER = "other"


def _rule(severity: Severity, *patterns: str) -> tuple[Severity, re.Pattern[str]]:
    return severity, re.compile("|".join(patterns), re.IGNORECASE)


SETTLING = r"^(note: )?transient op (started|finished)"

# The first rule that matches decides; patterns are anchored because decks bring their own words into the output.
RULES = (
    # Both end with the circuit's own equations, without the gmin and with the whole supplies.
    _rule(Severity.SUCCESS, r"^(note: )?(dynamic |true )?(gmin|source) stepping completed"),
    # Where an operating point is the end of a short transient analysis, the circuit may float or not have settled.
    _rule(Severity.FAILURE, SETTLING),
    _rule(
        Severity.INFORMATION,
        r"^circuit: ",  # followed by the title of the deck
        r"^notes?\b",
        r"^using (klu|sparse)",
        r"^doing analysis at",
        r"^reference value",
        r"^linear circuit, option noopac",
        r"^no\. of data rows",
        r"^(doanalyses: )?pause requested",
        r"^(\w+ )?simulation interrupted",  # a run that is paused by `step`, as reads are
        r"^stopped after \d+ steps?",
        r"^starting (dynamic gmin|true gmin|gmin|source) stepping",
        r"^(trying|one successful) (gmin|source)(?!.*\bwarning)",
        r"^supplies reduced to(?!.*\bwarning)",
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
        r"\b(no|non-?)\s?convergence\b",
        r"\b(out of|not enough) memory\b",
        # KLU; after (ReFactor) ngspice orders the matrix anew, and says so with (Factor) if that does not help either.
        r"^warning \((factor|solve)\b.*\bsingular\b",
        # The rest of what its parser says while it drops or changes a line of the deck.
        r"^(fatal\b|syntax error\b|bad syntax\b|undefined parameter\b|too few parameters\b)",
        r"^(cannot find (called )?subcircuit|unable to find definition of)\b",
        r"^warning: (can(not|'t) (read|copy|find|open)|could not (open|find)|.*\bnon-?existent (node|device))\b",
        r"^warning: (model issue|unknown (device|model|parameter))\b",
    ),
)

CAUSES = (
    (Cause.SINGULAR, re.compile(r"\bsingular\b|\bcan't be decomposed\b", re.IGNORECASE)),
    (
        Cause.NO_CONVERGENCE,
        re.compile(
            r"convergence\b|\btransient op failed\b|\biteration limit\b|\btime\s?step too small\b", re.IGNORECASE
        ),
    ),
    (Cause.SETTLED, re.compile(SETTLING, re.IGNORECASE)),
)


@lru_cache(64)  # the same three lines come with every read
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


def diagnose(failures: Iterable[str]) -> Cause:
    """What lines that are failures say about their cause.

    Example:
        >>> diagnose(["Warning: singular matrix:  check node b", "doAnalyses: iteration limit reached"]).value
        'singular'
    """
    found = list(failures)
    for cause, pattern in CAUSES:  # a singular matrix makes the iteration fail, not the other way round
        if any(pattern.search(line) for line in found):
            return cause
    return Cause.OTHER
