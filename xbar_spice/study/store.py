"""Results on disk: one folder per case, written as a whole or not at all.

    STORE/study.json                  the study with all its cases, as it was last run
    STORE/cases/ID/record.json        what a case showed
    STORE/cases/ID/trace.csv          every analog read of it
    STORE/failures/ID.json            why a case has no result
    STORE/weights/                    models that were trained for the study
    STORE/cell_deficit.npz            cell voltages of one array

JSON has no NaN: a value that is not finite is null.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd

from xbar_spice.cosim import Cosimulation
from xbar_spice.cosim.run.record import CaseEntry, Record, read_record
from xbar_spice.disk import (
    DRAFT,
    border,
    clear_drafts,
    make_folder,
    read_bytes,
    read_json,
    require_writable,
    write,
    write_folder,
)
from xbar_spice.errors import StudyError

__all__ = ["Store", "case_of", "require_case_folder", "unconverged", "write_case"]

_RECORD, _TRACE = "record.json", "trace.csv"
_DIGEST = "trace_sha256"
_LARGEST = 2**30  # bytes of a trace or of an archive; a read takes about a hundred
_COLUMNS = {b"phase", b"matrix", b"direction", b"relative_error"}

# Numbers are read as they were written: pandas does that by itself from 3.1 on, and before that on request only.
_EXACT: dict[str, Any] = (
    {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
)


def write_case(folder: Path, result: Cosimulation, **more: Any) -> Path:
    """Write the record and the trace of a co-simulation into a folder of their own.

    A case that is there already is replaced; the folder never holds a part of one.

    Args:
        folder: its parent is created if need be.
        result: what to write.
        **more: further entries of the record.

    Returns:
        The folder.

    Raises:
        StudyError: the folder holds something else, or cannot be written.
    """
    _require_no_foreign(Path(folder))
    trace = pd.DataFrame(result.trace.columns()).to_csv(index=False)
    record = result.record | more | {_DIGEST: _digest(trace.encode())}
    return write_folder(folder, {_TRACE: trace, _RECORD: to_json(record)}, error=StudyError)


def require_case_folder(folder: Path) -> None:
    """Raise now if `write_case` could not write there later: before a simulation whose result would be lost.

    Raises:
        StudyError: see `write_case`.
    """
    folder = Path(folder)
    _require_no_foreign(folder)
    make_folder(folder, error=StudyError)
    require_writable(folder / _RECORD, error=StudyError)


def _require_no_foreign(folder: Path) -> None:
    with border(folder, "written", StudyError):
        foreign = sorted(set(os.listdir(folder)) - {_RECORD, _TRACE}) if folder.is_dir() else []
    if foreign:
        raise StudyError(f"{folder} holds {foreign[0]!r}, which is no part of a case; give a new folder")


@final
class Store:
    """The folder of a study's results.

    Args:
        folder: need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._cases = self.folder / "cases"
        self._failures = self.folder / "failures"

    # --- writing ----------------------------------------------------------------------------------------------------

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out, and clear away what an interrupted one left.

        Raises:
            StudyError: another run is writing here, or the folder cannot be written.
        """
        make_folder(self._cases, error=StudyError)
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
            clear_drafts(self.folder)
            clear_drafts(self._cases)
            clear_drafts(self._failures)
            yield

    def write_study(self, study: Mapping[str, Any]) -> None:
        """Keep what is run."""
        write(self.folder / "study.json", to_json(study), error=StudyError)

    def write_case(self, case_id: str, result: Cosimulation, **more: Any) -> None:
        """Keep the result of a case; an earlier failure of it is forgotten."""
        write_case(self._cases / case_id, result, **more)
        with border(self._failures, "written", StudyError):
            (self._failures / f"{case_id}.json").unlink(missing_ok=True)

    def write_failure(self, case_id: str, failure: Mapping[str, Any]) -> None:
        """Keep why a case has no result."""
        make_folder(self._failures, error=StudyError)
        write(self._failures / f"{case_id}.json", to_json(failure), error=StudyError)

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

    def finished(self) -> set[str]:
        """Ids of the cases that have a result."""
        return {case_of(record).id for record in self.results()[0]}

    def results(self) -> tuple[list[Record], list[str]]:
        """The records of all cases, and what could not be read."""
        records, problems = [], []
        for folder in sorted(self._cases.iterdir()) if self._cases.is_dir() else []:
            if folder.name.startswith(DRAFT):
                continue
            try:
                content = read_json(folder / _RECORD, error=StudyError)
                trace = read_bytes(folder / _TRACE, limit=_LARGEST, error=StudyError)
                records.append(_finished(content, folder.name, trace))
            except StudyError as error:
                problems.append(f"{folder}: not a finished case ({error})")
        return records, problems

    def records(self) -> tuple[pd.DataFrame, list[str]]:
        """The same as a table, one row each with columns such as `state.relative_error`."""
        records, problems = self.results()
        return pd.json_normalize([dict(record) for record in records]), problems

    def trace(self, case_id: str) -> pd.DataFrame:
        """Every analog read of a case.

        Raises:
            StudyError: there is no readable trace.
        """
        path = self._cases / case_id / _TRACE
        try:
            content = BytesIO(read_bytes(path, limit=_LARGEST, error=StudyError))
            trace: pd.DataFrame = pd.read_csv(content, keep_default_na=True, dtype={"phase": str}, **_EXACT)
        except ValueError as error:
            if isinstance(error, StudyError):
                raise
            raise StudyError(f"{path}: cannot be read: {error}") from error
        return trace

    def failures(self) -> list[dict[str, Any]]:
        """What `write_failure` kept, unreadable files left out."""
        found = []
        for path in sorted(self._failures.glob("*.json")) if self._failures.is_dir() else []:
            with suppress(StudyError):
                found.append(read_json(path, error=StudyError))
        return [failure for failure in found if isinstance(failure.get("id"), str)]

    def arrays(self, name: str) -> dict[str, np.ndarray[Any, Any]] | None:
        """What `write_arrays` kept under a name; None if there is nothing readable."""
        try:
            content = read_bytes(self.folder / f"{name}.npz", limit=_LARGEST, error=StudyError)
            with np.load(BytesIO(content), allow_pickle=False) as archive:
                return dict(archive)
        except Exception:  # whatever a damaged archive makes numpy, zipfile and zlib raise
            return None


def case_of(record: Record) -> CaseEntry:
    """The case that a record of a store is of."""
    return record.case or CaseEntry(id="")  # `_finished` sees to it that there is one


def _finished(content: Mapping[str, Any], name: str, trace: bytes) -> Record:
    """The record that was found beside a trace in a folder.

    Raises:
        StudyError: The two are not a finished case.
    """
    record = read_record(content)
    if record.case is None:
        raise StudyError("its record has no case")
    if record.case.id != name:
        raise StudyError(f"its record is of {record.case.id!r}")
    if _DIGEST in content:
        if content[_DIGEST] == _digest(trace):
            return record
        raise StudyError("its trace is another one than was written with its record")
    # Records of old have no digest of their trace, but they count its rows.
    rows = trace.splitlines()
    columns = rows[0].split(b",") if rows else []
    whole = trace.endswith(b"\n") and all(row.count(b",") == len(columns) - 1 for row in rows)
    if whole and set(columns) >= _COLUMNS and len(rows) - 1 == sum(record.reads.values()):
        return record
    raise StudyError("its trace is damaged, or of another case")


def _digest(trace: bytes) -> str:
    return hashlib.sha256(trace).hexdigest()


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


def write_record(path: Path, record: Mapping[str, Any]) -> Path:
    """Write a record as JSON, in a folder that need not exist; returns the path.

    Raises:
        StudyError: it cannot be written.
    """
    make_folder(path.parent, error=StudyError)
    return write(path, to_json(record), error=StudyError)


def to_json(value: Any) -> str:
    """Text of plain and numpy values; what is not finite becomes null."""
    return json.dumps(_plain(value), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
