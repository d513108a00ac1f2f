"""PyTorch's files, read without PyTorch: pickles whose numbers stand beside them.

A pickle can name any code of this machine. Here every name stands for something inert: tensors and dictionaries are
known, and an object of any other class becomes an `Opaque` that keeps what it was given and does nothing. So a whole
module, which PyTorch would need the code of, is read as what it is made of.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, final
from zipfile import ZipFile, is_zipfile

import numpy as np
from numpy.typing import NDArray

from xbar_spice.disk import ARRAYS, require_sane
from xbar_spice.errors import WeightsError

__all__ = ["Opaque", "from_bfloat16", "read_torch"]

_DTYPES = {
    "DoubleStorage": "f8", "FloatStorage": "f4", "HalfStorage": "f2", "BFloat16Storage": "bfloat16",
    "LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1",
    "BoolStorage": "?", "ComplexFloatStorage": "c8", "ComplexDoubleStorage": "c16",
}  # fmt: skip
_SIZES = {"bfloat16": 2}
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_DEEPEST = 50  # levels of dictionaries and modules within each other
_MOST_ENTRIES = 10**5


class Opaque:
    """An object of a class whose code is nobody's business here: it keeps what a file says of it."""

    def __init__(self, *args: Any) -> None:
        self.args = args
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __call__(self, *args: Any) -> Opaque:
        """Be called, if a pickle takes this for a function."""
        return Opaque(*args)

    def append(self, _: Any) -> None:
        """Take an entry, as lists of one's own class do."""

    def extend(self, _: Any) -> None:
        """Take entries."""

    def __setitem__(self, name: Any, value: Any) -> None:
        """Take a named entry, as dictionaries of one's own class do."""
        if not isinstance(self.state, dict):
            self.state = {}
        self.state[name] = value


@final
@dataclass(frozen=True)
class _Dtype:
    """A class of storages, by the type of its numbers; empty for one that is not known here."""

    name: str


@final
@dataclass
class _Storage:
    """The numbers of one or more tensors."""

    dtype: str
    size: int
    content: bytes | None = None  # filled in when it is reached, in old files


@final
@dataclass(frozen=True)
class _Tensor:
    """A view of a storage, as `torch._utils` is told of it."""

    storage: Any
    offset: Any
    shape: tuple[Any, ...]
    stride: tuple[Any, ...]
    rest: tuple[Any, ...] = field(default=())

    @property
    def numbers(self) -> int:
        return int(np.prod([float(n) for n in self.shape]))

    def array(self, name: str, order: str) -> NDArray[Any]:
        """A copy as an array; views beyond the storage are refused."""
        storage = self.storage
        if not isinstance(storage, _Storage) or not storage.dtype:
            raise WeightsError(f"tensor {name!r}: expected plain numbers of up to 64 bits, got another type")
        whole = all(isinstance(n, int) and n >= 0 for n in (self.offset, *self.shape, *self.stride))
        if not whole or len(self.shape) != len(self.stride) or storage.content is None:
            raise WeightsError(f"tensor {name!r}: not described as PyTorch describes one")
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))
        if storage.dtype == "bfloat16":
            numbers = from_bfloat16(storage.content, order)
        else:
            numbers = np.frombuffer(storage.content, dtype=f"{order}{storage.dtype}")
        if 0 not in self.shape and last >= numbers.size:
            raise WeightsError(f"tensor {name!r}: expected {last + 1} numbers of its storage, got {numbers.size}")
        steps = tuple(step * numbers.itemsize for step in self.stride)
        return np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, steps, writeable=False).copy()


def from_bfloat16(content: bytes, order: str = "<") -> NDArray[Any]:
    """Numbers of 16 bits that are the upper half of a float32, as float32."""
    return (np.frombuffer(content, dtype=f"{order}u2").astype("u4") << 16).view("f4")


def _tensor(storage: Any, offset: int, shape: Any, stride: Any, *rest: Any) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(stride))


def _parameter(data: Any, *_: Any) -> Any:
    return data


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch", "Size"): tuple,
}


@final
class _Unpickler(pickle._Unpickler):
    """Makes nothing but what is inert.

    It is the one written in Python: the other one makes room for as many entries as a damaged file asks for.
    """

    def __init__(self, file: BytesIO, storage: Callable[[str, str, int], _Storage]) -> None:
        super().__init__(file, encoding="latin1")
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "torch" and name.endswith("Storage"):
            return _Dtype(_DTYPES.get(name, ""))
        known = _KNOWN.get((module, name))
        return type(name, (Opaque,), {"__module__": module}) if known is None else known

    def persistent_load(self, pid: Any) -> Any:
        if pid[0] == "module":  # of old files: a class with its source
            return pid[1]
        _, kind, key, _, size = pid[:5]
        if not isinstance(kind, _Dtype) or not isinstance(size, int) or not isinstance(key, str):
            raise WeightsError("a storage is not described as PyTorch describes one")
        found = self._storage(key, kind.name, size)
        view = pid[5] if len(pid) > 5 else None  # of old files: a part of another storage
        if view is not None:
            raise WeightsError("a storage that is a part of another one: save the state dict with a newer PyTorch")
        return found


def read_torch(content: bytes) -> dict[str, Any]:
    """What a file holds, by name: arrays, numbers, texts, and tables of them; modules become tables.

    Args:
        content: Of a `.pt` or `.pth` file, in the format of PyTorch since 1.6 or of those before.

    Raises:
        WeightsError: It is none, or a tensor is not described as it should be.
    """
    if is_zipfile(BytesIO(content)):
        state, order = _read_archive(content)
    else:
        state, order = _read_legacy(content), "<"
    if isinstance(state, _Tensor) or not isinstance(state, Mapping | Opaque):
        raise WeightsError(
            f"expected a state dict, a mapping of names to tensors, got {type(state).__name__.strip('_').lower()}"
        )
    tables = _table(state, 0, iter(range(_MOST_ENTRIES)))
    # A few stored numbers can be shown as a tensor of any size.
    require_sane(((name, 8 * tensor.numbers) for name, tensor in _tensors(tables)), WeightsError)
    return _plain(tables, "", order)


def _read_archive(content: bytes) -> tuple[Any, str]:
    with ZipFile(BytesIO(content)) as archive:
        require_sane(((info.filename, info.file_size) for info in archive.infolist()), WeightsError)
        names = archive.namelist()
        pickles = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(pickles) != 1:
            raise WeightsError("an archive without the data.pkl that torch.save writes")
        folder = pickles[0].removesuffix("data.pkl")
        order = ">" if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") == b"big" else "<"
        stored: dict[str, _Storage] = {}

        def storage(key: str, dtype: str, size: int) -> _Storage:
            if key not in stored:
                stored[key] = _Storage(dtype, size, archive.read(f"{folder}data/{key}"))
            return stored[key]

        return _Unpickler(BytesIO(archive.read(pickles[0])), storage).load(), order


def _read_legacy(content: bytes) -> Any:
    """The format before PyTorch 1.6: five pickles one after the other, and the numbers of each storage."""
    file, stored = BytesIO(content), dict[str, _Storage]()

    def storage(key: str, dtype: str, size: int) -> _Storage:
        return stored.setdefault(key, _Storage(dtype, size))

    def load() -> Any:
        return _Unpickler(file, storage).load()

    if load() != _LEGACY_MAGIC:
        raise WeightsError("it does not begin as torch.save begins a file")
    load(), load()  # the version of the format, and the machine that wrote it
    state, keys = load(), load()
    for key in keys:
        size, held = int.from_bytes(file.read(8), "little"), stored[key]
        width = _SIZES.get(held.dtype) or np.dtype(held.dtype or "u1").itemsize
        if size * width > ARRAYS:
            raise WeightsError(f"expected at most {ARRAYS // 2**20} MiB of tensors, got a storage of {size} numbers")
        held.content = file.read(size * width)
    return state


def _table(value: Any, depth: int, left: Iterator[int]) -> Any:
    """Modules as tables of what they hold, and tables by texts; other objects are left as they are."""
    if depth > _DEEPEST or next(left, None) is None:  # a few entries that hold each other are any number of them
        raise WeightsError(f"expected at most {_DEEPEST} levels of dictionaries with {_MOST_ENTRIES} entries, got more")
    if isinstance(value, Opaque):
        if not isinstance(value.state, Mapping):
            return value
        parts = [value.state.get(name) for name in ("_parameters", "_buffers", "_modules")]
        held = {key: entry for part in parts if isinstance(part, Mapping) for key, entry in part.items()}
        value = held if any(isinstance(part, Mapping) for part in parts) else value.state
    if isinstance(value, Mapping):
        return {str(key): _table(entry, depth + 1, left) for key, entry in value.items()}
    return value


def _tensors(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, _Tensor]]:
    for name, value in table.items():
        if isinstance(value, _Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, dict):
            yield from _tensors(value, f"{prefix}{name}.")


def _plain(table: Mapping[str, Any], prefix: str, order: str) -> dict[str, Any]:
    """Tables whose tensors are arrays."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, _Tensor):
            found[name] = value.array(f"{prefix}{name}", order)
        else:
            found[name] = _plain(value, f"{prefix}{name}.", order) if isinstance(value, dict) else value
    return found
