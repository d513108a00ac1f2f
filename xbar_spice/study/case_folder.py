"""One case in a folder of its own, written as a whole or not at all.

    FOLDER/record.json        what the case showed
    FOLDER/trace.csv          every analog read of it

Co-simulations of the command line are kept so, and the cases of stores of old.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xbar_spice.cosim import Cosimulation
from xbar_spice.cosim.run.record import Record, read_record
from xbar_spice.disk import border, make_folder, read_bytes, read_json, require_writable, write, write_folder
from xbar_spice.errors import StudyError
from xbar_spice.study.segments import LARGEST, plain

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_case", "read_trace", "require_case_folder", "to_json", "write_case", "write_record"]

_RECORD, _TRACE = "record.json", "trace.csv"
_DIGEST = "trace_sha256"
_COLUMNS = {b"phase", b"matrix", b"direction", b"relative_error"}


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
    import pandas as pd  # noqa: PLC0415 - a sixth of a study's start, which needs no tables

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


def read_case(folder: Path) -> Record:
    """The record in the folder of a case.

    Raises:
        StudyError: it does not hold a finished case.
    """
    content = read_json(folder / _RECORD, error=StudyError)
    trace = read_bytes(folder / _TRACE, limit=LARGEST, error=StudyError)
    record = read_record(content)
    if record.case is None:
        raise StudyError("its record has no case")
    if record.case.id != folder.name:
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


def read_trace(folder: Path) -> pd.DataFrame:
    """Every analog read of the case in a folder.

    Raises:
        StudyError: there is no readable trace.
    """
    import pandas as pd  # noqa: PLC0415 - a sixth of a study's start, which needs no tables

    path = folder / _TRACE
    try:
        content = BytesIO(read_bytes(path, limit=LARGEST, error=StudyError))
        # Numbers are read as they were written: pandas does that by itself from 3.1 on, before that on request only.
        old = tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1)
        exact: dict[str, Any] = {"float_precision": "round_trip"} if old else {}
        trace: pd.DataFrame = pd.read_csv(content, keep_default_na=True, dtype={"phase": str}, **exact)
    except ValueError as error:
        if isinstance(error, StudyError):
            raise
        raise StudyError(f"{path}: cannot be read: {error}") from error
    return trace


def _digest(trace: bytes) -> str:
    return hashlib.sha256(trace).hexdigest()


def write_record(path: Path, record: Mapping[str, Any]) -> Path:
    """Write a record as JSON, in a folder that need not exist; returns the path.

    Raises:
        StudyError: it cannot be written.
    """
    make_folder(path.parent, error=StudyError)
    return write(path, to_json(record), error=StudyError)


def to_json(value: Any) -> str:
    """Text of plain and numpy values; what is not finite becomes null."""
    return json.dumps(plain(value), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
