"""Whether the runs behind a result converged: part of the result, said aloud once, and never only in a log."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from xbar_spice.errors import ConvergenceWarning

__all__ = ["Convergence", "failed_runs", "named_failures", "warn_of_failures"]

Convergence = Mapping[str, Mapping[str, Any]]
"""By the name of each run at least "converged" and "failed_samples", as plain values that JSON can hold."""


def failed_runs(convergence: Convergence) -> dict[str, list[int]]:
    """The samples that were not solved, by the name of the run; empty if all runs converged.

    Example:
        >>> failed_runs({"digital": {"converged": True, "failed_samples": []},
        ...              "hardware": {"converged": False, "failed_samples": [1, 3]}})
        {'hardware': [1, 3]}
    """
    return {name: list(run["failed_samples"]) for name, run in convergence.items() if not run["converged"]}


def named_failures(convergence: Convergence) -> list[str]:
    """One line for each run that did not converge, with its samples."""
    return [f"{name}: samples {', '.join(map(str, samples))}" for name, samples in failed_runs(convergence).items()]


def warn_of_failures(what: str, convergence: Convergence) -> None:
    """Warn if a run behind a result did not converge, because its numbers look as good as any others."""
    if failures := named_failures(convergence):
        warnings.warn(
            f"{what}: {len(failures)} of {len(convergence)} runs did not converge ({'; '.join(failures)}); what they "
            "gave is counted, but is no result. Allow more iterations or looser tolerances (SolverOptions), or take "
            "smaller steps (Model.h)",
            ConvergenceWarning,
            stacklevel=3,
        )
