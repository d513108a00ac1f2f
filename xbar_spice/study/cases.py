"""The cases of a study: every combination of axis values and seeds, each a pure function of what it holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from threadpoolctl import threadpool_limits

from xbar_spice.cosim import Cosimulation, Problem, cosimulate
from xbar_spice.engines.registry import get_engine
from xbar_spice.study.config import Parameters, Scalar, Study
from xbar_spice.study.problem import fingerprint, make_problem
from xbar_spice.weights import Model

__all__ = ["Case", "expand", "make_case_problem", "model_key", "run_case"]

_ID_LENGTH = 16  # hexadecimal digits: two of a million cases collide with a probability of 1e-8


@final
@dataclass(frozen=True)
class Case:
    """One co-simulation of a study.

    Attributes:
        id: hash of all that determines the result.
        label: the same for people: values on the axes, and the seed.
        axes: values by axis name.
        parameters: all settings.
        seed: from which the devices are drawn.
        weights: fingerprint of the model.
    """

    id: str
    label: str
    axes: Mapping[str, Scalar]
    parameters: Parameters
    seed: int
    weights: str

    def describe(self) -> dict[str, Any]:
        """All of it as plain values, for a record."""
        return {
            "id": self.id,
            "label": self.label,
            "axes": dict(self.axes),
            "seed": self.seed,
            "weights": self.weights,
            "parameters": self.parameters.model_dump(),
        }


def expand(study: Study, models: Mapping[str, Model]) -> list[Case]:
    """The cases of a study, seeds varying fastest.

    Where nothing is drawn, all seeds would give the same result, and the first one stands for all.

    Args:
        study: what to run.
        models: the model of each `model_key`.
    """
    fingerprints = {key: fingerprint(model) for key, model in models.items()}
    units = {axis.name: axis.unit for axis in study.axes}
    cases = []
    for axes, parameters in study.points():
        weights = fingerprints[model_key(parameters)]
        random = parameters.design().random
        for seed in study.seeds if random else study.seeds[:1]:
            values = [f"{name} {_text(value)} {units[name]}".rstrip() for name, value in axes.items()]
            label = ", ".join([*values, f"seed {seed}"])
            cases.append(Case(_case_id(parameters, weights, seed), label, axes, parameters, seed, weights))
    return cases


def model_key(parameters: Parameters) -> str:
    """A name for the model that a case uses."""
    return parameters.model.model_dump_json()


def make_case_problem(case: Case, model: Model) -> Problem:
    """What a case co-simulates."""
    data = case.parameters.data
    return make_problem(model, samples=data.samples, seed=data.seed, task=data.task)


def run_case(case: Case, model: Model) -> Cosimulation:
    """Co-simulate one case.

    Raises:
        XbarError: the settings do not fit the model, or the simulation failed.
    """
    settings = case.parameters
    problem = make_case_problem(case, model)
    # One thread: cases run side by side, and the last digits must not depend on how many do.
    with threadpool_limits(limits=1):
        engine = get_engine(settings.engine, **settings.engine_options)
        return cosimulate(problem, settings.design(), engine=engine, seed=case.seed, solver=settings.solver_options())


def _case_id(parameters: Parameters, weights: str, seed: int) -> str:
    """Hash of the settings with defaults filled in, with the content of the weights in place of their name."""
    settings = parameters.model_dump()
    settings["model"] = weights
    canonical = json.dumps({"parameters": settings, "seed": seed}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:_ID_LENGTH]


def _text(value: Scalar) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
