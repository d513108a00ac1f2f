"""Results on disk: segments of many cases each, written as a whole or not at all.

    STORE/study.json                  the study with all its cases, as it was last run
    STORE/segments/NAME.jsonl         what cases showed, every analog read of them, or why they have no result
    STORE/damaged/NAME.jsonl          segments that were found damaged, when all that is whole had been copied from them
    STORE/weights/                    models that were trained for the study
    STORE/cell_deficit.npz            cell voltages of one array

Stores of old have a folder for each case instead, which is read as well:

    STORE/cases/ID/record.json        what a case showed
    STORE/cases/ID/trace.csv          every analog read of it
    STORE/failures/ID.json            why a case has no result

Nothing is ever lost: a segment appears under its name when all of it is on the disk, and is removed only when another
one holds its lines. So a case may be in the store twice, for a moment or after a crash; the first one counts.
"""

from __future__ import annotations

import fcntl
import secrets
import time
from collections import deque
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, final

import numpy as np

from xbar_spice.cosim.run.record import CaseEntry, Record, read_record
from xbar_spice.disk import (
    DRAFT,
    border,
    clear_drafts,
    make_folder,
    read_bytes,
    read_json,
    write,
)
from xbar_spice.errors import StudyError
from xbar_spice.study.case_folder import read_case, read_trace, to_json
from xbar_spice.study.segments import LARGEST, Line, Status, compact_json, read_lines

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Store", "StoredCase", "case_of", "unconverged"]

_SEGMENT = ".jsonl"
_SMALL, _MANY = 2**22, 64  # bytes of a small segment, and how many of them are too many
_LAID_ASIDE = "they are run again, and the file is kept in the folder `damaged`"


@final
class Store:
    """The folder of a study's results.

    Args:
        folder: need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._segments, self._damaged = self.folder / "segments", self.folder / "damaged"
        self._cases = self.folder / "cases"
        self._failures = self.folder / "failures"

    # --- writing ----------------------------------------------------------------------------------------------------

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out, and clear away what an interrupted one left.

        Raises:
            StudyError: another run is writing here, or the folder cannot be written.
        """
        make_folder(self._segments, error=StudyError)
        with border(self.folder, "written", StudyError):
            lock = (self.folder / ".lock").open("w")
        with lock:
            try:
                with border(self.folder, "locked", StudyError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except StudyError as error:
                if not isinstance(error.__cause__, BlockingIOError):
                    raise
                raise StudyError(
                    f"another run is writing to {self.folder}; wait for it, or give a new folder"
                ) from error
            for folder in (self.folder, self._segments, self._cases, self._failures):
                clear_drafts(folder)
            yield

    def write_study(self, study: Mapping[str, Any]) -> None:
        """Keep what is run; each of its `cases` stands on a line of its own."""
        rest = {name: value for name, value in study.items() if name != "cases"}
        listed = ",\n".join(f"  {compact_json(case)}" for case in study.get("cases", ()))
        text = to_json({**rest, "cases": []}).rstrip().removesuffix("[]\n}")
        write(self.folder / "study.json", f"{text}[\n{listed}\n ]\n}}\n", error=StudyError)

    def write_segment(self, lines: Sequence[bytes]) -> Path:
        """Keep the outcomes of cases, all of them or none.

        Args:
            lines: as `line_of` makes them.

        Returns:
            The path of the segment. When this returns, its lines are on the disk.

        Raises:
            StudyError: it cannot be written.
        """
        make_folder(self._segments, error=StudyError)
        name = f"{time.time_ns():016x}-{secrets.token_hex(4)}{_SEGMENT}"  # in the order of time
        return write(self._segments / name, b"".join(lines), error=StudyError)

    def tidy(self) -> list[str]:
        """Put small segments together, and lay aside those that are damaged; whoever writes here calls it.

        Returns:
            What was damaged, in words.
        """
        problems, small, damaged = [], [], []
        for path in self._segment_paths():
            try:
                lines = list(read_lines(path))
            except StudyError as error:
                problems.append(str(error))
                continue
            if None in lines:
                damaged.append(path)
                problems.append(f"{path}: {lines.count(None)} of {len(lines)} cases were damaged; {_LAID_ASIDE}")
            elif path.stat().st_size < _SMALL:
                small.append(path)
        self._rewrite(damaged)
        for path in damaged:
            make_folder(self._damaged, error=StudyError)
            with border(path, "moved", StudyError):
                path.rename(self._damaged / path.name)
        if len(small) > _MANY:
            self._rewrite(small)
            with border(self._segments, "put in order", StudyError):
                for path in small:
                    path.unlink(missing_ok=True)
        return problems

    def _rewrite(self, paths: Sequence[Path]) -> None:
        """Write what is whole in segments to new ones, which are not small."""
        lines: list[bytes] = []
        size = 0
        for path in paths:
            found = [line.text for line in read_lines(path) if line is not None]
            lines += found
            size += sum(map(len, found))
            if size >= _SMALL:
                self.write_segment(lines)
                lines, size = [], 0
        if lines:
            self.write_segment(lines)

    def write_arrays(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Keep numbers that belong to the study as a whole, as NAME.npz."""
        content = BytesIO()
        np.savez_compressed(content, **arrays)
        write(self.folder / f"{name}.npz", content.getvalue(), error=StudyError)

    # --- reading ----------------------------------------------------------------------------------------------------

    def study(self) -> dict[str, Any]:
        """What `write_study` kept.

        Raises:
            StudyError: this is not the folder of a study.
        """
        try:
            content = read_json(self.folder / "study.json", error=StudyError)
        except StudyError as error:
            raise StudyError(f"{self.folder} is not the folder of a study: {error}") from error
        if not _lists_cases(content):
            raise StudyError(f"{self.folder} is not the folder of a study: study.json does not list the cases of one")
        return content

    def cases(
        self, problems: list[str] | None = None, failures: dict[str, dict[str, Any]] | None = None
    ) -> Iterator[StoredCase]:
        """Every case that has a result, once, from segments and from folders of old; one at a time in memory.

        Args:
            problems: gets what could not be read, in words.
            failures: gets, when all cases have come, why others have no result: by id, from the last try of each.
        """
        found = [] if problems is None else problems
        failed = {failure["id"]: failure for failure in self._failures_of_old()} if failures is not None else {}
        seen: set[str] = set()
        for line in self._lines(found):
            if line.status == "failed":
                if failures is not None:
                    failed[line.case_id] = line.record
            elif line.case_id not in seen:
                seen.add(line.case_id)
                yield StoredCase.of(line)
        for case in self._folders(seen, found):
            failed.pop(case.id, None)
            yield case
        if failures is not None:
            failures.update((name, failure) for name, failure in failed.items() if name not in seen)

    def _folders(self, seen: Container[str], problems: list[str]) -> Iterator[StoredCase]:
        """The cases of old, but for those that have been seen."""
        for folder in sorted(self._cases.iterdir()) if self._cases.is_dir() else []:
            if folder.name.startswith(DRAFT) or folder.name in seen:
                continue
            try:
                record = read_case(folder)
                yield StoredCase(folder.name, record.converged, record, folder)
            except StudyError as error:
                problems.append(f"{folder}: not a finished case ({error})")

    def status(self) -> dict[str, Status]:
        """What came of each case by its id; of one that failed and has no result, that it failed."""
        failed: set[str] = {failure["id"] for failure in self._failures_of_old()}
        found: dict[str, Status] = {}
        for line in self._lines([]):
            if line.status == "failed":
                failed.add(line.case_id)
            else:
                found.setdefault(line.case_id, line.status)
        found |= {case.id: "done" if case.converged else "unconverged" for case in self._folders(found, [])}
        lost: dict[str, Status] = dict.fromkeys(failed, "failed")
        return lost | found

    def finished(self) -> set[str]:
        """Ids of the cases that have a result."""
        return {case.id for case in self.cases()}

    def results(self) -> tuple[list[Record], list[str]]:
        """The records of all cases, and what could not be read."""
        problems: list[str] = []
        return [case.record for case in self.cases(problems)], problems

    def records(self) -> tuple[pd.DataFrame, list[str]]:
        """The same as a table, one row each with columns such as `state.relative_error`."""
        import pandas as pd  # noqa: PLC0415 - a sixth of a study's start, which needs no tables

        records, problems = self.results()
        return pd.json_normalize([dict(record) for record in records]), problems

    def trace(self, case_id: str) -> pd.DataFrame:
        """Every analog read of a case.

        Raises:
            StudyError: there is no readable trace.
        """
        found = next((case for case in self.cases() if case.id == case_id), None)
        if found is None:
            raise StudyError(f"{self.folder}: has no readable trace of case {case_id!r}")
        return found.trace()

    def failures(self) -> list[dict[str, Any]]:
        """Why cases have no result, by the last try of each; unreadable files are left out."""
        found: dict[str, dict[str, Any]] = {}
        deque(self.cases(failures=found), maxlen=0)
        return list(found.values())

    def _failures_of_old(self) -> Iterator[dict[str, Any]]:
        for path in sorted(self._failures.glob("*.json")) if self._failures.is_dir() else []:
            with suppress(StudyError):
                failure = read_json(path, error=StudyError)
                if isinstance(failure.get("id"), str):
                    yield failure

    def arrays(self, name: str) -> dict[str, np.ndarray[Any, Any]] | None:
        """What `write_arrays` kept under a name; None if there is nothing readable."""
        try:
            content = read_bytes(self.folder / f"{name}.npz", limit=LARGEST, error=StudyError)
            with np.load(BytesIO(content), allow_pickle=False) as archive:
                return dict(archive)
        except Exception:  # whatever a damaged archive makes numpy, zipfile and zlib raise
            return None

    def _lines(self, problems: list[str]) -> Iterator[Line]:
        """What is whole in all segments, in the order of time; a run may write more, or put them together meanwhile."""
        seen: set[str] = set()
        while left := [path for path in self._segment_paths() if path.name not in seen]:
            for path in left:
                seen.add(path.name)
                try:
                    for number, line in enumerate(read_lines(path), 1):
                        if line is None:
                            problems.append(f"{path}: line {number} is not a finished case (it is damaged)")
                        else:
                            yield line
                except StudyError as error:
                    if not isinstance(error.__cause__, FileNotFoundError):  # whose lines are in another one by now
                        problems.append(str(error))

    def _segment_paths(self) -> list[Path]:
        if not self._segments.is_dir():
            return []
        return sorted(path for path in self._segments.glob(f"*{_SEGMENT}") if not path.name.startswith(DRAFT))


@final
@dataclass(frozen=True)
class StoredCase:
    """A case with its result, as a store has it.

    Attributes:
        id: hash of all that determines the result.
        converged: whether both runs are solutions that can be compared.
    """

    id: str
    converged: bool
    _kept: Line | Record
    _folder: Path | None = None

    @classmethod
    def of(cls, line: Line) -> StoredCase:
        """The case of a line that has a result."""
        return cls(line.case_id, line.status == "done", line)

    @property
    def content(self) -> Mapping[str, Any]:
        """The record as plain values, which are much faster to come by than `record` is."""
        return self._kept.record if isinstance(self._kept, Line) else self._kept

    @property
    def record(self) -> Record:
        """The record."""
        return read_record(self._kept.record) if isinstance(self._kept, Line) else self._kept

    @property
    def axes(self) -> Mapping[str, Any]:
        """Its values by the name of the axis, of the study that ran it.

        Where the store's study lies now is for its `study.json` to say, which may list a case at several points.
        """
        return cast(Mapping[str, Any], (self.content.get("case") or {}).get("axes", {}))

    def trace(self) -> pd.DataFrame:
        """Every analog read of it, a row each.

        Raises:
            StudyError: it is no longer readable.
        """
        import pandas as pd  # noqa: PLC0415 - a sixth of a study's start, which needs no tables

        if isinstance(self._kept, Line):
            trace = pd.DataFrame(self._kept.trace)
            empty = [name for name in trace if trace[name].isna().all()]
            return trace.astype(dict.fromkeys(empty, float))
        return read_trace(cast(Path, self._folder))


def case_of(record: Record) -> CaseEntry:
    """The case that a record of a store is of."""
    return record.case or CaseEntry(id="")  # `_finished` sees to it that there is one


def _lists_cases(content: Mapping[str, Any]) -> bool:
    """Whether this can be the description of a study."""
    try:
        names = {axis["name"] for axis in content["axes"] if axis["fields"] and axis["values"]}
        return isinstance(content["parameters"], Mapping) and all(
            {"id", "label", "seed"} <= case.keys() and case["axes"].keys() == names for case in content["cases"]
        )
    except (KeyError, TypeError, AttributeError):
        return False


def unconverged(records: Sequence[Record]) -> set[str]:
    """Ids of the records that compare no solutions, because one of the two runs did not converge."""
    return {case_of(record).id for record in records if not record.converged}
