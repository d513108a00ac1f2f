"""Segments: files that hold the outcomes of many cases, one line each, each line with a digest of itself.

A line is JSON, and begins with what tells without reading the rest which case it is of, and what came of it:

    {"sha256":"...","id":"...","status":"done","bytes":1234,"record":{...},"trace":{...}}

`sha256` is of all that follows it on the line, `bytes` the length of the record, behind which the trace begins: every
analog read as columns by name. Of a case that failed, `record` says why, and there is no trace. JSON has no NaN: a
value that is not finite is null.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, final

import numpy as np

from xbar_spice.disk import read_bytes
from xbar_spice.errors import StudyError

__all__ = ["LARGEST", "Line", "Status", "compact_json", "line_of", "plain", "read_lines"]

Status = Literal["done", "unconverged", "failed"]

LARGEST = 2**30
"""Bytes of a file of results that are read; a read of an array takes about a hundred."""

_HEAD = re.compile(
    rb'\{"sha256":"(?P<sha256>[0-9a-f]{64})","id":"(?P<id>[^"\\]*)","status":"(?P<status>done|unconverged|failed)",'
    rb'"bytes":(?P<bytes>\d+),"record":'
)
_DIGESTED = len('{"sha256":"') + 64 + len('",')  # where that begins of which the digest is


def line_of(case_id: str, status: Status, record: Mapping[str, Any], trace: Mapping[str, Any] | None) -> bytes:
    """The line of a case.

    Args:
        case_id: Which one.
        status: What came of it.
        record: Plain and numpy values; of a case that failed, why.
        trace: Columns by name.
    """
    kept = compact_json(record).encode()
    rest = f'"id":{compact_json(case_id)},"status":"{status}","bytes":{len(kept)},"record":'.encode()
    rest += kept + b',"trace":' + compact_json(trace).encode() + b"}"
    return f'{{"sha256":"{hashlib.sha256(rest).hexdigest()}",'.encode() + rest + b"\n"


@final
@dataclass(frozen=True)
class Line:
    """A line that is as it was written.

    Attributes:
        case_id: Of which case.
        status: What came of it.
        text: All of it, in bytes, and the end of the line.
    """

    case_id: str
    status: Status
    text: bytes

    @property
    def record(self) -> dict[str, Any]:
        """What the case showed, or why it failed."""
        start, end = self._record
        return cast(dict[str, Any], json.loads(self.text[start:end]))

    @property
    def trace(self) -> dict[str, list[Any]]:
        """Every analog read of it, as columns by name; none of a case that failed."""
        return json.loads(self.text[self._record[1] + len(',"trace":') : -2]) or {}

    @property
    def _record(self) -> tuple[int, int]:
        head = cast(re.Match[bytes], _HEAD.match(self.text))  # `read_lines` has seen to it
        return head.end(), head.end() + int(head["bytes"])


def read_lines(path: Path) -> Iterator[Line | None]:
    """The lines of a segment in their order; None for each that is damaged.

    Raises:
        StudyError: There is no such file, or it cannot be read.
    """
    for text in read_bytes(path, limit=LARGEST, error=StudyError).splitlines(keepends=True):
        head = _HEAD.match(text)
        if head is None or hashlib.sha256(text[_DIGESTED:-1]).hexdigest().encode() != head["sha256"]:
            yield None
        else:
            yield Line(head["id"].decode(), cast(Status, head["status"].decode()), text)


def compact_json(value: Any) -> str:
    """Text of plain and numpy values on one line; what is not finite becomes null."""
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    except (ValueError, TypeError):  # seldom, and slower: something is not finite, or of numpy
        return json.dumps(plain(value), separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def plain(value: Any) -> Any:
    """Plain and numpy values as JSON can hold them."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
