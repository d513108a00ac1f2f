"""The cases of a study: every combination of axis values and seeds, each a pure function of what it holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from threadpoolctl import threadpool_limits

from xbar_spice.cosim import Cosimulation, Problem, cosimulate
from xbar_spice.data import Data
from xbar_spice.engines.registry import get_engine
from xbar_spice.mapping.design import Design
from xbar_spice.mapping.measured import map_hash
from xbar_spice.parts import ENGINES, METHODS
from xbar_spice.registry import source_hash
from xbar_spice.settings import entries
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.solve.linear_solvers.krylov import get_linear_solver
from xbar_spice.spice.libraries import opamp_subcircuit
from xbar_spice.spice.resources import search_path
from xbar_spice.study.config import DataSettings, Parameters, Scalar, Study
from xbar_spice.study.problem import find_samples, fingerprint, problem_of
from xbar_spice.study.samples import RANDOM, chosen_task
from xbar_spice.train.digits import DIGITS
from xbar_spice.weights import Model

__all__ = ["NUMERICS", "Case", "case_id", "exact", "expand", "make_case_problem", "model_key", "run_case", "templates"]

NUMERICS = 1
"""Version of the numbers: raised when equal settings give others than before, so that old results are not reused."""

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
        samples: what the model runs on.
    """

    id: str
    label: str
    axes: Mapping[str, Scalar]
    parameters: Parameters
    seed: int
    weights: str
    samples: Data

    @property
    def data(self) -> str:
        """The samples, in words."""
        return self.samples.source

    def describe(self) -> dict[str, Any]:
        """All of it as plain values, for a record."""
        return {
            "id": self.id,
            "label": self.label,
            "axes": dict(self.axes),
            "seed": self.seed,
            "weights": self.weights,
            "data": self.data,
            "parameters": self.parameters.model_dump(),
        }


def expand(study: Study, models: Mapping[str, Model]) -> list[Case]:
    """The cases of a study, seeds varying fastest.

    Where nothing is drawn, all seeds would give the same result, and the first one stands for all.

    Args:
        study: what to run.
        models: the model of each `model_key`.

    Raises:
        StudyError: nobody says which data a model runs on.
    """
    fingerprints = {key: fingerprint(model) for key, model in models.items()}
    netlists = templates(study.lookup.netlists)
    units = {axis.name: axis.unit for axis in study.axes}
    cases: list[Case] = []
    samples: dict[str, Data] = {}
    for axes, parameters in study.points():
        model, weights = models[model_key(parameters)], fingerprints[model_key(parameters)]
        key = f"{parameters.data.model_dump_json()} {weights}"
        if key not in samples:
            samples[key] = find_samples(model, parameters.data, study.lookup)
        taken = samples[key]
        random = parameters.design().random
        for seed in study.seeds if random else study.seeds[:1]:
            values = [f"{name} {exact(value)} {units[name]}".rstrip() for name, value in axes.items()]
            label = ", ".join([*values, f"seed {seed}"])
            found = case_id(parameters, model, seed, weights, netlists, taken)
            cases.append(Case(found, label, axes, parameters, seed, weights, taken))
    return cases


def model_key(parameters: Parameters) -> str:
    """A name for the model that a case uses."""
    return parameters.model.model_dump_json()


def make_case_problem(case: Case, model: Model) -> Problem:
    """What a case co-simulates."""
    return problem_of(model, case.samples)


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


def case_id(parameters: Parameters, model: Model, seed: int, weights: str, netlists: str, samples: Data) -> str:
    """Hash of all that determines a result: the settings, and the content of whatever they only name.

    A setting such as a device is the name of a file, and what that file said when it was read is what is simulated; of
    the file's path only its name counts. A class of the user's own counts with the file that defines it.

    Args:
        parameters: all settings, defaults filled in.
        model: what they are for.
        seed: of the devices.
        weights: `fingerprint` of the model.
        netlists: `templates` of decks.
        samples: what the model runs on.
    """
    settings, design = without_folders(parameters.model_dump()), parameters.design()
    settings["model"] = weights
    settings["data"] = _which_samples(model, parameters.data, samples)
    content = {
        "numerics": NUMERICS,
        "parameters": settings,
        "seed": seed,
        "law": type(design.device).__name__,
        "design": asdict(design),
        "opamp": asdict(opamp_subcircuit(design.amplifier)) if design.amplifier.present else None,
        "templates": netlists if parameters.runs_ngspice else None,
    }
    if design.conductances is not None:
        content["conductances"] = map_hash(design)
    if own := sources(parameters, design, model):
        content["own"] = own
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(canonical.encode()).hexdigest()[:_ID_LENGTH]


def _which_samples(model: Model, settings: DataSettings, samples: Data) -> dict[str, Any]:
    """What tells samples from others: how they are drawn, of those that never change, or their content."""
    task = None if settings.file is not None else chosen_task(model, settings.task)
    if task not in (RANDOM, DIGITS):
        return {"content": samples.fingerprint}
    return {"task": task, "samples": len(samples), "seed": settings.seed or 0}


def sources(parameters: Parameters, design: Design, model: Model) -> dict[str, str]:
    """Hash of the file of each part that is of a class of the user's own, by the kind of part."""
    found = {entry.path[-1]: source_hash(entry.default) for entry in entries(design) if entry.registry is not None}
    found["engine"] = ENGINES.source_hash(parameters.engine)
    found["field"] = source_hash(model.field.fields[0] if isinstance(model.field, Layers) else model.field)
    found["method"] = METHODS.source_hash(model.method) if ":" in model.method else None
    found["linear solver"] = source_hash(get_linear_solver(parameters.solver_options().krylov))
    return {name: code for name, code in found.items() if code is not None}


def without_folders(value: Any) -> Any:
    """Settings in which of every file only its name is left."""
    if isinstance(value, dict):
        return {key: without_folders(entry) for key, entry in value.items()}
    if isinstance(value, str) and (".py:" in value or value.endswith(".toml")):
        path, dot, rest = value.partition(".py:")
        return f"{Path(path).name}{dot}{rest}"
    return value


def _plain(part: Any) -> Any:
    """What a part of the user's own holds, if it is no dataclass."""
    return part.tolist() if isinstance(part, np.ndarray | np.generic) else {"class": type(part).__name__} | vars(part)


def templates(netlists: Sequence[Path] = ()) -> str:
    """Hash of the templates that the decks of ngspice are made from: the shipped ones, and those of one's own."""
    digest = hashlib.sha256()
    for folder in (search_path("netlists")[0], *netlists):
        for path in sorted(folder.rglob("*.j2")):
            text = path.read_bytes()
            digest.update(f"{path.relative_to(folder).as_posix()} {len(text)} ".encode() + text)
    return digest.hexdigest()


def exact(value: Scalar) -> str:
    """A value in words from which it can be read back, so that two values never look the same.

    Example:
        >>> exact(0.05), exact(0.123456789), exact(2.0)
        ('0.05', '0.123456789', '2')
    """
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(float(value))
