"""The formats of weight files: `.npz`, `.safetensors` and PyTorch's, as named arrays and back.

Nothing in a file is ever executed. Texts are arrays of one text; in a `.safetensors` file, which holds none, they stand
in its metadata, and so may the numbers that are settings.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from xbar_spice.disk import ARRAYS, Arrays, npz_arrays, read_bytes, require_sane
from xbar_spice.errors import WeightsError
from xbar_spice.weights.torch_files import from_bfloat16, read_torch
from xbar_spice.weights.torch_writing import write_torch

__all__ = ["NUMBERS", "TEXTS", "is_setting", "is_text", "read_tables", "writer"]

_ENDS = ("encoder", "classifier")
TEXTS = (
    "field", "activation", "method", "padding", "time", "trained_on", "on_arrays", "frozen",
    *(f"{end}.{name}" for end in _ENDS for name in ("activation", "padding", "pooling", "form")),
    *(f"encoder.{name}" for name in ("field", "method", "time", "on_arrays")),
)  # fmt: skip
"""Settings of a model that are texts."""
NUMBERS = (
    "h", "steps", "grid", "image_shape", "weight_range", "groups", "epsilon",
    *(f"{end}.{name}" for end in _ENDS for name in ("image_shape", "stride", "block", "groups", "epsilon")),
    *(f"encoder.{name}" for name in ("h", "steps", "grid", "weight_range", "channels")),
)  # fmt: skip
"""Settings of a model that are numbers."""

_LAYER = re.compile(r"(?<=^encoder\.|ssifier\.)\d+\.")


def is_text(name: str) -> bool:
    """Whether a name is that of a setting that is a text, of one layer of several, too, "encoder.0.activation"."""
    return _LAYER.sub("", name) in TEXTS


def is_setting(name: str) -> bool:
    """Whether a name is that of a setting, a text or a number."""
    return is_text(name) or _LAYER.sub("", name) in NUMBERS


_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BOOL": "?",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
}  # fmt: skip


def read_tables(path: Path) -> dict[str, Any]:
    """What a weight file holds, by name: arrays; of PyTorch also numbers, texts, other objects, and tables of them.

    Raises:
        WeightsError: The file is missing or damaged, or of another format.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise WeightsError(
            f"{path}: expected a file ending in {', '.join(_READERS)}, got {path.suffix or 'no ending'!r}"
        )
    if not os.path.lexists(path):
        raise WeightsError(f"{path}: no such file")
    what, read = reader
    content = read_bytes(path, limit=ARRAYS, error=WeightsError)
    try:
        return read(content)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    except Exception as error:  # a damaged file brings readers that are not ours to raise anything
        raise WeightsError(f"{path}: not a readable {what}: {str(error) or type(error).__name__}") from error


def writer(path: str | os.PathLike[str]) -> Callable[[Arrays, Mapping[str, str]], bytes]:
    """What makes the content of a file of this name.

    Raises:
        WeightsError: The name ends otherwise.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _WRITERS:
        raise WeightsError(f"{path}: expected a name ending in {', '.join(_WRITERS)}, got {suffix or 'no ending'!r}")
    return _WRITERS[suffix]


def _write_npz(tensors: Arrays, texts: Mapping[str, str]) -> bytes:
    file = BytesIO()
    # NumPy before 2.2 has no keyword `allow_pickle` and would store it as one more array; nothing here is pickled.
    arrays: dict[str, Any] = tensors | {name: np.array(text) for name, text in texts.items()}
    np.savez(file, **arrays)
    return file.getvalue()


def _read_safetensors(content: bytes) -> dict[str, Any]:
    entries = safetensors.deserialize(content)  # type: ignore[no-untyped-call]
    # The header has just been found sound: its length in eight bytes, then JSON.
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")], object_pairs_hook=_unique)
    metadata = header.get("__metadata__") or {}
    tensors: Arrays = {
        name: np.array(words) if is_text(name) else _number_in_words(name, words)
        for name, words in metadata.items()
        if is_setting(name)
    }
    require_sane(((name, 0) for name in [*tensors, *(name for name, _ in entries)]), WeightsError)
    # They are stored by type and alphabet; the layers of a network follow each other by their numbers.
    entries = sorted(entries, key=lambda entry: _by_number(entry[0]))
    return tensors | {name: _safetensor(name, entry) for name, entry in entries}


def _by_number(name: str) -> list[tuple[bool, int, str]]:
    """A key that sorts "l2" in front of "l10"."""
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", name)]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of names that appear twice in one, readers keep the last without a word."""
    require_sane(((name, 0) for name, _ in pairs), WeightsError)
    return dict(pairs)


def _safetensor(name: str, entry: Mapping[str, Any]) -> NDArray[Any]:
    dtype, shape = entry["dtype"], tuple(entry["shape"])
    if dtype == "BF16":
        return from_bfloat16(entry["data"]).reshape(shape)
    if dtype not in _DTYPES:
        raise WeightsError(f"tensor {name!r}: expected dtype F64, F32, F16 or BF16, got {dtype}")
    return np.frombuffer(entry["data"], dtype=_DTYPES[dtype]).reshape(shape)


def _number_in_words(name: str, words: str) -> NDArray[Any]:
    try:
        number = np.asarray(json.loads(words))
    except (ValueError, RecursionError):
        number = np.empty(0, dtype=object)
    if number.dtype.kind not in "if":
        raise WeightsError(
            f"{name!r} in the metadata: expected a number or a list of numbers, got {shorten(words, 60)!r}"
        )
    return number


def _write_safetensors(tensors: Arrays, texts: Mapping[str, str]) -> bytes:
    # A view, a transposed one say, would be written in the order of its memory.
    dense = {name: np.ascontiguousarray(tensor).reshape(tensor.shape) for name, tensor in tensors.items()}
    return safetensors.numpy.save(dense, metadata=dict(texts))


_READERS: dict[str, tuple[str, Callable[[bytes], dict[str, Any]]]] = {
    ".npz": (".npz archive of plain arrays", partial(npz_arrays, error=WeightsError)),
    ".safetensors": (".safetensors file", _read_safetensors),
    ".pt": ("file of torch.save", read_torch),
    **dict.fromkeys((".pth", ".ckpt", ".bin", ".tar"), ("file of torch.save", read_torch)),
}
_WRITERS: dict[str, Callable[[Arrays, Mapping[str, str]], bytes]] = {
    ".npz": _write_npz,
    ".safetensors": _write_safetensors,
    ".pt": write_torch,
    ".pth": write_torch,
}
