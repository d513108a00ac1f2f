"""A study from Python: any problem on any chip, with axes over whatever the chip, the solver and the problem are."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, final

import cloudpickle
import numpy as np

from xbar_spice.checks import ANYTHING, SEED, checked
from xbar_spice.cosim import Problem, SolverOptions
from xbar_spice.cosim.run.made import fingerprint, plain
from xbar_spice.engines.base import Engine
from xbar_spice.engines.registry import get_engine
from xbar_spice.errors import StudyError, XbarError
from xbar_spice.mapping.design import Design
from xbar_spice.mapping.measured import map_hash
from xbar_spice.parts import ENGINES
from xbar_spice.registry import source_hash
from xbar_spice.settings import build, entries, seconds
from xbar_spice.spice.device_models import Lookup
from xbar_spice.spice.libraries import opamp_subcircuit
from xbar_spice.study.axes import Group, Point, Rules, Scalar, conditions, points
from xbar_spice.study.config import Parameters, set_path
from xbar_spice.study.file_source import templates
from xbar_spice.study.messages import leaves
from xbar_spice.study.setups import NUMERICS, Setup, Source, canonical
from xbar_spice.weights import Model

__all__ = ["Study"]

MOST_CASES = 100_000
Values = Sequence[Any] | Mapping[str, Any]


@final
class Study:
    """A study of a problem on a chip, which `run_study` runs.

    An axis is named by the setting that it varies: a field of `Design` such as "tile" or "variation.programming", one
    of `SolverOptions` such as "solver.krylov.rtol", "engine", or "problem". Its values are numbers or texts; whole
    parts, engines and problems are handed over as a dictionary of them by name, which is what stands in the results.
    Several settings in a tuple are set to the same value, or each to its own if the values are tuples, too.

    Args:
        problem: model, samples and loss.
        design: how the arrays are built, where no axis says otherwise.
        axes: values by setting; `xs.latin_hypercube` makes random ones.
        seeds: of each point; cases in which nothing is drawn run once.
        engine: who answers the reads.
        solver: how equations are solved.
        when: pairs of conditions and of the settings that they bring, such as `({"tile": "> 32"}, {"engine":
            "nodal"})`. A condition is a value, a list of them, or a comparison as a text.
        skip: conditions that together leave a point out, such as `{"tile": ">= 64", "r_word": "> 1"}`.
        name: of the study, for its report.
        tags: by which it is found again.
        notes: for whoever reads the report.

    Raises:
        StudyError: a setting is unknown, a value is not allowed, or there is nothing to run.

    Example:
        >>> import xbar_spice as xs
        >>> model = xs.Model([[0.5, -1.0], [1.0, 0.5]], [[-1.0, 0.5], [0.2, -0.5]], h=0.25, steps=2)
        >>> problem = xs.Problem(model, [[1.0], [0.5]], xs.SquaredDistance([[0.0], [0.0]]))
        >>> study = Study(problem, xs.Design(), {"tile": [1, 2], ("r_word", "r_bit"): [0.5, 1.0]}, engine="nodal")
        >>> [dict(point.axes) for point in study.combinations][0]
        {'tile': 1, 'r_word, r_bit': 0.5}
    """

    @checked(axes=ANYTHING, seeds=ANYTHING, when=ANYTHING, skip=ANYTHING, tags=ANYTHING, engine=ANYTHING)
    def __init__(  # noqa: PLR0913 - what is run, and what is varied
        self,
        problem: Problem,
        design: Design | None = None,
        axes: Mapping[str | tuple[str, ...], Values] | None = None,
        seeds: Iterable[int] = (0,),
        *,
        engine: str | Engine = "ngspice",
        solver: SolverOptions | None = None,
        when: Sequence[tuple[Mapping[str, Any], Mapping[str, Scalar]]] = (),
        skip: Sequence[Mapping[str, Any]] = (),
        name: str = "study",
        tags: Sequence[str] = (),
        notes: str = "",
    ) -> None:
        self.name, self.tags, self.notes = name, list(_texts("tags", tags)), notes
        self.seeds = [int(SEED("seeds", seed)) for seed in _many("seeds", seeds)]
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise StudyError(f"seeds must be at least one, and differ, got {self.seeds}")
        held: dict[str, dict[str, Any]] = {}
        self.groups = [
            _group(keys, values, held) for keys, values in _table("axes", {} if axes is None else axes).items()
        ]
        fields = [field for group in self.groups for axis in group.axes for field in axis.fields]
        if twice := sorted({field for field in fields if fields.count(field) > 1}):
            raise StudyError(f"every setting may occur in one axis only, got {twice[0]!r} more than once")
        self._rules = Rules(
            tuple((conditions(_paths(wanted)), _paths(brought)) for wanted, brought in _pairs(when)),
            tuple(conditions(_paths(_table("skip", one))) for one in _many("skip", skip)),
        )
        if not isinstance(engine, Engine):
            ENGINES.get(engine)  # so that a name that is none is said at once
        self._source = ObjectSource(
            problem,
            design or Design(),
            engine,
            solver or SolverOptions(),
            held,
        )
        count = math.prod([len(self.seeds), *(len(group.rows) for group in self.groups)])
        if count > MOST_CASES:
            raise StudyError(
                f"axes and seeds make {count} cases, and a study has at most {MOST_CASES}: leave values out, or make "
                "several studies"
            )
        if not self.combinations:
            raise StudyError("every combination of the axes is left out by skip")
        for point in self.combinations:
            where = ", ".join(f"{axis} = {value!r}" for axis, value in point.axes.items())
            try:
                self._source.setup(point.changes)
            except XbarError as error:
                raise StudyError(f"axis value {where}: {error}" if where else str(error)) from error

    @cached_property
    def combinations(self) -> list[Point]:
        """The points that are run."""
        return list(points(self.groups, self._rules, self._source.setting))

    def source(
        self,
        study_file: Path | None = None,
        kept: Path | None = None,
        on_training: Callable[..., None] | None = None,
        *,
        dry: bool = False,
    ) -> Source:
        """Where its cases come from; a study of objects needs none of the arguments."""
        return self._source

    def describe(self) -> dict[str, Any]:
        """What stands in the description of the study besides axes, seeds and cases."""
        given = self._source
        circuit = plain(given.design) | {"engine": _engine_text(given.engine)}
        parameters = {"circuit": circuit, "solver": given.solver.describe()}
        return {"tags": self.tags, "notes": self.notes, "parameters": parameters}


@final
class ObjectSource(Source):
    """Objects, and what changes of their settings make of them."""

    def __init__(
        self,
        problem: Problem,
        design: Design,
        engine: str | Engine,
        solver: SolverOptions,
        held: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.problem, self.design, self.engine, self.solver, self._held = problem, design, engine, solver, held

    @property
    def models(self) -> Sequence[tuple[str, Model]]:
        problems = self._held.get(_PROBLEM) or {"handed over in Python": self.problem}
        return [(name, problem.model) for name, problem in problems.items()]

    def setting(self, path: str) -> Any:
        """What a setting is where no axis varies it."""
        section, _, rest = path.partition(".")
        found: Any = {"circuit": self.design, "solver": self.solver}.get(section)
        if path == _ENGINE:
            return _engine_text(self.engine)
        for key in rest.split("."):
            found = getattr(found, key, None)
        return found

    def setup(self, changes: Mapping[str, Scalar]) -> Setup:
        tables: dict[str, Any] = {"circuit": {}, "solver": {}}
        for path, value in changes.items():
            set_path(tables, path, self._held[path][str(value)] if path in self._held else value)
        problem: Problem = tables.pop(_PROBLEM, self.problem)
        engine = tables["circuit"].pop("engine", self.engine)
        design: Design = build(self.design, tables["circuit"], Lookup())
        solver: SolverOptions = build(self.solver, tables["solver"])
        text = _engine_text(engine)
        weights, known = fingerprint(problem.model), self._content(problem)
        settings = {"circuit": plain(design) | {"engine": text}, "solver": solver.describe()}
        determined = {
            "numerics": NUMERICS,
            "problem": known,
            "design": dataclasses.asdict(design),
            "parts": content_hash([design, engine]),
            "engine": text,
            "solver": solver.describe() | {"class": content_hash(solver.krylov)},
            "opamp": dataclasses.asdict(opamp_subcircuit(design.amplifier)) if design.amplifier.present else None,
            "conductances": None if design.conductances is None else map_hash(design),
            "templates": self._templates if ENGINES.parsed(text)[0] == "ngspice" else None,
        }
        return Setup(
            design=design,
            engine=partial(get_engine, engine),
            engine_name=text,
            solver=solver,
            problem=lambda: problem,
            model=problem.model,
            samples=problem.z0.shape[1],
            shared=canonical({"problem": known, "solver": solver.describe()}),
            content=determined,
            described={"weights": weights, "data": problem.data, "parameters": settings},
        )

    def _content(self, problem: Problem) -> str:
        """Hash of a problem; it is asked for at every point."""
        found = self._contents
        if id(problem) not in found:
            found[id(problem)] = content_hash([fingerprint(problem.model), problem.z0, problem.objective, problem.data])
        return found[id(problem)]

    @cached_property
    def _contents(self) -> dict[int, str]:
        return {}

    @cached_property
    def _templates(self) -> str:
        return templates()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_contents", "_templates")}


_PROBLEM, _ENGINE = "problem", "circuit.engine"


def _engine_text(engine: str | Engine) -> str:
    return engine if isinstance(engine, str) else ENGINES.text(engine)


def _path(name: str) -> str:
    """The full path of a setting, which in Python goes by its name in the design."""
    if name in ("problem", "problems"):
        return _PROBLEM
    of_engines = ("circuit.characterise", "circuit.verify", "circuit.verify_with")  # which are handed over as objects
    allowed = [
        path for path in leaves(Parameters) if path.startswith(("circuit.", "solver.")) and path not in of_engines
    ]
    for path in (name, f"circuit.{name}"):
        if path in allowed:
            return path
    shown = ", ".join(path.removeprefix("circuit.") for path in allowed)
    raise StudyError(f"an axis or a condition names {name!r}, which is not a setting; allowed are problem, {shown}")


def _paths(table: Mapping[str, Any]) -> dict[str, Any]:
    return {_path(name): value for name, value in table.items()}


def _group(keys: str | tuple[str, ...], values: Values, held: dict[str, dict[str, Any]]) -> Group:
    """The axes that an entry of `axes` describes; objects are held by their names."""
    names = (keys,) if isinstance(keys, str) else tuple(keys)
    paths = [_path(name) for name in names]
    if isinstance(values, Mapping):
        for path in paths:
            held[path] = dict(values)
        values = list(values)
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise StudyError(
            f"axis {keys!r}: expected a list of values, or a dictionary of objects by name, got {values!r}"
        )
    units = _units()
    times = any(units.get(path) == "second" for path in paths)
    rows = [_scalar(keys, seconds(value) if times and isinstance(value, str) else value) for value in values]
    if not rows:
        raise StudyError(f"axis {keys!r} has no values")
    if len(names) > 1 and all(isinstance(row, tuple) for row in rows):
        if any(len(row) != len(names) for row in rows):
            raise StudyError(f"axes {keys!r}: each row needs {len(names)} values, got {rows}")
        return Group.of(rows, *((name, [path], units.get(path, "")) for name, path in zip(names, paths, strict=True)))
    if any(isinstance(row, tuple) for row in rows) or len(set(rows)) < len(rows):
        raise StudyError(f"axis {keys!r}: values must be numbers or texts, and differ, got {rows}")
    return Group.of([(row,) for row in rows], (", ".join(names), paths, units.get(paths[0], "")))


def _many(name: str, values: Any) -> list[Any]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise StudyError(f"{name} must be a list, got {values!r}")
    return list(values)


def _texts(name: str, values: Any) -> list[str]:
    found = _many(name, values)
    if not all(isinstance(one, str) for one in found):
        raise StudyError(f"{name} must be a list of texts, got {values!r}")
    return found


def _table(name: str, value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise StudyError(f"{name} must be a dictionary by the names of settings, got {value!r}")
    return value


def _pairs(when: Any) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    found = _many("when", when)
    if not all(isinstance(one, tuple | list) and len(one) == 2 for one in found):
        raise StudyError(f"when must be pairs of conditions and of settings that they bring, got {when!r}")
    return [(_table("when", wanted), _table("when", brought)) for wanted, brought in found]


def _scalar(keys: Any, value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, tuple | list | np.ndarray):
        return tuple(_scalar(keys, one) for one in value)
    if not isinstance(value, bool | int | float | str):
        raise StudyError(
            f"axis {keys!r}: values are numbers or texts, got {value!r}; hand objects over by name: "
            "{'first': object, 'second': object}"
        )
    return value


def _units() -> dict[str, str]:
    """Units of the settings that have one."""
    found = {f"circuit.{'.'.join(entry.path)}": entry.about.unit for entry in entries(Design())}
    return {path: unit for path, unit in found.items() if unit in ("ohm", "siemens", "volt", "second")}


def content_hash(value: Any) -> str:
    """Hash of all that a value holds, and of the code of classes that are not of this package.

    Example:
        >>> content_hash([1.0, np.zeros(2)]) == content_hash([1.0, np.zeros(2)]) != content_hash([1.0, np.ones(2)])
        True
    """
    digest = hashlib.sha256()
    _feed(digest, value)
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    if isinstance(value, float):
        value = float(value)  # whatever else its class says about it
    if value is None or isinstance(value, bool | int | float | str | bytes):
        digest.update(f"{type(value).__name__} {value!r};".encode())
    elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
        digest.update(f"array {value.dtype.str} {value.shape};".encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, np.generic):
        _feed(digest, value.item())
    elif isinstance(value, Mapping):
        _feed(digest, [list(pair) for pair in value.items()])
    elif isinstance(value, list | tuple):
        digest.update(f"list {len(value)};".encode())
        for one in value:
            _feed(digest, one)
    elif inspect.isclass(value) or inspect.isroutine(value):
        digest.update(f"{value.__module__}:{value.__qualname__} {source_hash(value)};".encode())
        if value.__module__ == "__main__":
            digest.update(cloudpickle.dumps(value))
    else:
        _feed(digest, type(value))
        try:
            fields = dataclasses.fields(value)
            _feed(digest, {field.name: getattr(value, field.name) for field in fields})
        except TypeError:
            try:
                _feed(digest, vars(value))
            except TypeError:
                digest.update(cloudpickle.dumps(value))
