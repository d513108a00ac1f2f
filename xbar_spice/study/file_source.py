"""Cases of a study file: settings in words, the models that they name, and the samples that go with them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from xbar_spice.data import Data
from xbar_spice.mapping.design import Design
from xbar_spice.mapping.measured import map_hash
from xbar_spice.parts import ENGINES, METHODS
from xbar_spice.registry import source_hash
from xbar_spice.settings import entries
from xbar_spice.solve.integrators.layers import fields_of
from xbar_spice.solve.linear_solvers.krylov import get_linear_solver
from xbar_spice.spice.device_models import Lookup
from xbar_spice.spice.libraries import opamp_subcircuit
from xbar_spice.spice.resources import search_path
from xbar_spice.study.axes import Scalar
from xbar_spice.study.config import DataSettings, Parameters, parameters_at
from xbar_spice.study.problem import find_model, find_samples, fingerprint, problem_of
from xbar_spice.study.samples import RANDOM, chosen_task
from xbar_spice.study.setups import NUMERICS, Setup, Source, canonical, without_folders
from xbar_spice.train.digits import DIGITS
from xbar_spice.weights import Model

if TYPE_CHECKING:
    from xbar_spice.study.study_file import StudyFile

__all__ = ["FileSource", "templates"]


@final
@dataclass(frozen=True, eq=False)
class FileSource(Source):
    """Settings in words, with all that they name.

    Attributes:
        given: the settings that no axis varies.
        lookup: where texts are looked up; it keeps what it has found.
        named: the models, by their settings, each with where it comes from.
        samples: what the models run on, by the settings of both, as far as somebody has asked for them.
    """

    given: Mapping[str, Any]
    lookup: Lookup
    named: Mapping[str, tuple[str, Model]]
    samples: dict[str, Data] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        study: StudyFile,
        study_file: Path | None,
        kept: Path,
        on_training: Callable[..., None] | None = None,
        *,
        dry: bool = False,
    ) -> FileSource:
        """Find the models of a study, or train them.

        Args:
            study: the study.
            study_file: where it comes from; names of weight files are relative to it.
            kept: folder of the weights of training tasks.
            on_training: the training's progress callback.
            dry: train nothing, see `find_model`.

        Raises:
            XbarError: see `find_model`.
        """
        varied = [point for point in study.combinations if any(path.startswith("model.") for path in point.changes)]
        settings = {model_key(found): found.model for found in map(study.at, varied or study.combinations[:1])}
        named = {
            key: (
                model.weights or f"training task {model.task}, seed {model.seed}",
                find_model(model, study_file, kept, on_training, study.lookup, dry=dry),
            )
            for key, model in settings.items()
        }
        return cls(study.given, study.lookup, named)

    @property
    def models(self) -> Sequence[tuple[str, Model]]:
        return list(self.named.values())

    def setup(self, changes: Mapping[str, Scalar]) -> Setup:
        settings = parameters_at(self.given, changes, self.lookup, "study")
        key = model_key(settings)
        model, weights = self.named[key][1], self._fingerprints[key]
        design, taken = settings.design(), self._taken(settings, key)
        plain = settings.plain()
        content = without_folders(plain)
        content["model"] = weights
        content["data"] = _which_samples(model, settings.data, taken)
        determined = {
            "numerics": NUMERICS,
            "parameters": content,
            "law": type(design.device).__name__,
            "design": asdict(design),
            "opamp": asdict(opamp_subcircuit(design.amplifier)) if design.amplifier.present else None,
            "templates": self._templates if settings.runs_ngspice else None,
        }
        if design.conductances is not None:
            determined["conductances"] = map_hash(design)
        if own := sources(settings, design, model):
            determined["own"] = own
        solver = settings.solver_options()
        shared = canonical({"model": key, "data": content["data"], "solver": solver.describe()})
        return Setup(
            design=design,
            engine=settings.make_engine(),
            engine_name=settings.engine,
            solver=solver,
            problem=partial(problem_of, model, taken, settings.data.loss, time_gradients=settings.data.time_gradients),
            model=model,
            samples=len(taken),
            shared=hashlib.sha256(shared.encode()).hexdigest(),
            content=determined,
            monitors=settings.watched(),
            described={"weights": weights, "data": taken.source, "parameters": plain},
        )

    def _taken(self, settings: Parameters, key: str) -> Data:
        """The samples of a point; they are read once, and go to every worker, which may not have their file."""
        which = f"{settings.data.model_dump_json()} {key}"
        if which not in self.samples:
            self.samples[which] = find_samples(self.named[key][1], settings.data, self.lookup)
        return self.samples[which]

    @cached_property
    def _fingerprints(self) -> dict[str, str]:
        return {key: fingerprint(model) for key, (_, model) in self.named.items()}

    @cached_property
    def _templates(self) -> str:
        return templates(self.lookup.netlists)

    def __getstate__(self) -> dict[str, Any]:
        # A worker elsewhere has files of its own, and takes templates from those.
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}


def _which_samples(model: Model, settings: DataSettings, samples: Data) -> dict[str, Any]:
    """What tells samples from others: how they are drawn, of those that never change, or their content."""
    task = None if settings.file is not None else chosen_task(model, settings.task)
    asked = settings.model_dump(include={"loss", "time_gradients"}, exclude_defaults=True)
    if task not in (RANDOM, DIGITS):
        return {"content": samples.fingerprint} | asked
    return {"task": task, "samples": len(samples), "seed": settings.seed or 0} | asked


def model_key(parameters: Parameters) -> str:
    """A name for the model that a case uses."""
    return parameters.model.model_dump_json()


def sources(parameters: Parameters, design: Design, model: Model) -> dict[str, str]:
    """Hash of the file of each part that is of a class of the user's own, by the kind of part."""
    found = {entry.path[-1]: source_hash(entry.default) for entry in entries(design) if entry.registry is not None}
    found["engine"] = ENGINES.source_hash(parameters.engine)
    found["judge"] = None if parameters.judge is None else ENGINES.source_hash(parameters.judge)
    found["field"] = source_hash(fields_of(model.field)[0])
    found["method"] = METHODS.source_hash(model.method) if ":" in model.method else None
    found["linear solver"] = source_hash(get_linear_solver(parameters.solver_options().krylov))
    return {name: code for name, code in found.items() if code is not None}


OTHERS = ("spice3", "vacask")  # folders of templates that ngspice has nothing of


def templates(netlists: Sequence[Path] = ()) -> str:
    """Hash of the templates that the decks of ngspice are made from: the shipped ones, and those of one's own."""
    digest = hashlib.sha256()
    for folder in (search_path("netlists")[0], *netlists):
        for path in sorted(folder.rglob("*.j2")):
            if path.relative_to(folder).parts[0] in OTHERS:
                continue
            text = path.read_bytes()
            digest.update(f"{path.relative_to(folder).as_posix()} {len(text)} ".encode() + text)
    return digest.hexdigest()
