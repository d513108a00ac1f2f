"""PyTorch's files, written without PyTorch: a state dict as `torch.save` writes one and `torch.load` reads it.

Such a file is an archive of a pickle, which says what each tensor is, and of the numbers of each tensor. The pickle is
put together here from a handful of its instructions, because Python's own writer would have to import PyTorch.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from io import BytesIO
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

from xbar_spice.disk import Arrays

__all__ = ["write_torch"]

_FOLDER = "archive"
_STORAGES = {"f": ("DoubleStorage", "<f8"), "i": ("LongStorage", "<i8"), "u": ("LongStorage", "<i8")}


def write_torch(tensors: Arrays, texts: Mapping[str, str]) -> bytes:
    """The content of a `.pt` file: a dictionary of tensors, of numbers where an array has no axes, and of texts."""
    storages: list[bytes] = []
    entries = [_text(name) + _entry(np.asarray(value), storages) for name, value in tensors.items()]
    entries += [_text(name) + _text(value) for name, value in texts.items()]
    pickled = b"\x80\x02}(" + b"".join(entries) + b"u."
    file = BytesIO()
    with ZipFile(file, "w", ZIP_STORED) as archive:
        for name, content in (
            ("data.pkl", pickled),
            ("byteorder", b"little"),
            *((f"data/{key}", storage) for key, storage in enumerate(storages)),
            ("version", b"3\n"),
        ):
            archive.writestr(ZipInfo(f"{_FOLDER}/{name}"), content)  # of a fixed date: same numbers, same file
    return file.getvalue()


def _entry(value: NDArray[np.float64], storages: list[bytes]) -> bytes:
    """The instructions that make a number or a tensor, whose numbers are put beside the others."""
    if not value.ndim:
        return _int(int(value)) if value.dtype.kind in "iu" else b"G" + struct.pack(">d", float(value))
    kind, dtype = _STORAGES[value.dtype.kind]
    key = f"{len(storages)}"
    storages.append(np.ascontiguousarray(value, dtype=dtype).tobytes())
    strides = [int(np.prod(value.shape[axis + 1 :], dtype=int)) for axis in range(value.ndim)]
    storage = b"(" + _text("storage") + _global("torch", kind) + _text(key) + _text("cpu") + _int(value.size) + b"tQ"
    hooks = _global("collections", "OrderedDict") + b")R"
    view = storage + _int(0) + _ints(value.shape) + _ints(strides) + b"\x89" + hooks
    return _global("torch._utils", "_rebuild_tensor_v2") + b"(" + view + b"tR"


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _text(text: str) -> bytes:
    content = text.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def _int(number: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", number)


def _ints(numbers: Sequence[int]) -> bytes:
    return b"(" + b"".join(map(_int, numbers)) + b"t"
