"""Files of named tensors, `.npz`, `.safetensors` and PyTorch state dicts, as models and back.

A file names its tensors `A` and `B`, or kernels `a` and `b` with `image_shape` from which A and B are built; further
`h` and `steps`, and if there is a classifier `classifier.weight` and `classifier.bias`. `weight_range` and the texts
`method`, `padding` and `trained_on` (a data set) are optional. A `.safetensors` file, which holds no text, has them in
its metadata; `h`, `steps` and `image_shape` may stand there too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from textwrap import shorten
from typing import Any, cast
from zipfile import ZipFile, is_zipfile

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from xbar_spice.checks import checked
from xbar_spice.disk import ARRAYS, Arrays, npz_arrays, read_bytes, require_sane, require_writable, write
from xbar_spice.errors import WeightsError
from xbar_spice.linear.convolution import Padding
from xbar_spice.weights.ends import Classifier
from xbar_spice.weights.kernels import Kernels
from xbar_spice.weights.model import Model

__all__ = ["load_model", "require_savable", "save_model"]

_TEXTS = ("padding", "method", "trained_on")
_NUMBERS = ("h", "steps", "image_shape")
_NAMES = ("A", "B", "a", "b", *_NUMBERS, *_TEXTS, "classifier.weight", "classifier.bias", "weight_range")

_SAFETENSORS_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BOOL": "?",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
}  # fmt: skip


@checked()
def load_model(path: str | os.PathLike[str]) -> Model:
    """Read a model from a file of named tensors (see this module). Nothing in a file is ever executed.

    Every number is kept as float64; files may hold 16, 32 or 64 bits, whole numbers up to 2^53, and `h` and `steps` as
    scalars or one element.

    Args:
        path: A `.npz`, `.safetensors`, or, when torch is installed, `.pt` or `.pth` file.

    Raises:
        WeightsError: The file is missing or damaged, a tensor is missing, unknown, of the wrong shape or dtype, or not
            finite; the text names file, tensor, what was expected and what came.
    """
    path = Path(path)
    if path.suffix.lower() not in _READERS:
        raise WeightsError(
            f"{path}: expected a file ending in {', '.join(_READERS)}, got {path.suffix or 'no ending'!r}"
        )
    if not os.path.lexists(path):
        raise WeightsError(f"{path}: no such file")
    what, reader = _READERS[path.suffix.lower()]
    content = read_bytes(path, limit=ARRAYS, error=WeightsError)
    try:
        return replace(_model(_read(what, reader, content)), source=str(path))
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error.__cause__


def _read(what: str, reader: Callable[[bytes], Arrays], content: bytes) -> Arrays:
    try:
        return reader(content)
    except WeightsError:
        raise
    except Exception as error:  # a damaged file brings readers that are not ours to raise anything
        raise WeightsError(f"not a readable {what}: {str(error) or type(error).__name__}") from error


@checked()
def save_model(path: str | os.PathLike[str], model: Model) -> None:
    """Write a model to a file that `load_model` reads; a file of that name is replaced as a whole or not at all.

    A model with kernels is written as its kernels. The provenance is not written: it is the file from then on.

    Args:
        path: A name ending in `.npz` or `.safetensors`.
        model: What to write.

    Raises:
        WeightsError: The name ends otherwise, or the file cannot be written.
    """
    write(path, _writer(path)(*_tensors(model)), error=WeightsError)


def require_savable(path: str | os.PathLike[str]) -> None:
    """Raise now if `save_model` could not write to this path later: before a training whose weights would be lost.

    Raises:
        WeightsError: See `save_model`.
    """
    _writer(path)
    require_writable(path, error=WeightsError)


def _writer(path: str | os.PathLike[str]) -> Callable[[Arrays, Mapping[str, str]], bytes]:
    suffix = Path(path).suffix.lower()
    if suffix not in _WRITERS:
        raise WeightsError(f"{path}: expected a name ending in {' or '.join(_WRITERS)}, got {suffix or 'no ending'!r}")
    return _WRITERS[suffix]


def _tensors(model: Model) -> tuple[Arrays, dict[str, str]]:
    """The numbers and the texts of a model, by name."""
    tensors: Arrays = {"h": np.array(model.h), "steps": np.array(model.steps)}
    texts = {"method": _no_code(model.method)} | ({"trained_on": model.trained_on} if model.trained_on else {})
    if model.kernels is None:
        tensors |= {"A": model.A, "B": model.B}
    else:
        image_shape = np.array(model.kernels.image_shape)
        tensors |= {"a": model.kernels.a, "b": model.kernels.b, "image_shape": image_shape}
        texts["padding"] = model.kernels.padding
    if model.classifier is not None:
        tensors |= {"classifier.weight": model.classifier.weight, "classifier.bias": model.classifier.bias}
    if model.weight_range is not None:
        tensors["weight_range"] = np.array(model.weight_range)
    return tensors, texts


def _model(tensors: Arrays) -> Model:
    unknown = sorted(tensors.keys() - set(_NAMES))
    if unknown:  # a layer that this model does not have must not be dropped in silence
        raise WeightsError(f"tensor {unknown[0]!r}: expected one of {', '.join(_NAMES)}")
    dense, kernels = sorted({"A", "B"} & tensors.keys()), sorted({"a", "b", "image_shape", "padding"} & tensors.keys())
    if dense and kernels:
        raise WeightsError(f"expected either dense 'A', 'B' or kernels 'a', 'b', got {', '.join(dense + kernels)}")

    def need(name: str) -> Any:
        if name not in tensors:
            raise WeightsError(f"tensor {name!r} is missing; the file has {', '.join(sorted(tensors)) or 'none'}")
        return tensors[name]

    others: dict[str, Any] = {"h": need("h"), "steps": need("steps")}
    for name in ("method", "trained_on"):
        if name in tensors:
            others[name] = _no_code(_text(name, tensors[name])) if name == "method" else _text(name, tensors[name])
    if any(name.startswith("classifier.") for name in tensors):
        others["classifier"] = Classifier(need("classifier.weight"), need("classifier.bias"))
    if "weight_range" in tensors:
        others["weight_range"] = tensors["weight_range"]
    if not kernels:
        return Model(need("A"), need("B"), **others)
    padding = cast(Padding, _text("padding", tensors["padding"])) if "padding" in tensors else "circular"
    return Model.from_kernels(Kernels(need("a"), need("b"), need("image_shape"), padding), **others)


def _no_code(method: str) -> str:
    """The name of a method; one that names a class of a file or module is refused, because files are data."""
    if ":" in method:
        raise WeightsError(
            f"'method': a weight file names a method of this package and no code, got {method!r}; keep the weights "
            "without it, and set it in Python: dataclasses.replace(model, method=...)"
        )
    return method


def _text(name: str, value: NDArray[Any]) -> str:
    if value.dtype.kind != "U" or value.size != 1:
        raise WeightsError(f"'{name}': expected one text, got {value.dtype} of shape {value.shape}")
    return str(value.item())


# --- formats --------------------------------------------------------------------------------------------------------


_read_npz = partial(npz_arrays, error=WeightsError)
_require_sane = partial(require_sane, error=WeightsError)


def _write_npz(tensors: Arrays, texts: Mapping[str, str]) -> bytes:
    file = BytesIO()
    # NumPy before 2.2 has no keyword `allow_pickle` and would store it as one more array; nothing here is pickled.
    arrays: dict[str, Any] = tensors | {name: np.array(text) for name, text in texts.items()}
    np.savez(file, **arrays)
    return file.getvalue()


def _read_safetensors(content: bytes) -> Arrays:
    entries = safetensors.deserialize(content)  # type: ignore[no-untyped-call]
    # The header has just been found sound: its length in eight bytes, then JSON.
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")], object_pairs_hook=_unique)
    metadata = header.get("__metadata__") or {}
    tensors: Arrays = {name: np.array(metadata[name]) for name in _TEXTS if name in metadata}
    for name in _NUMBERS:
        if name in metadata:
            tensors[name] = _number_in_words(name, metadata[name])
    _require_sane((name, 0) for name in [*tensors, *(name for name, _ in entries)])
    return tensors | {name: _safetensor(name, entry) for name, entry in entries}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of names that appear twice in one, readers keep the last without a word."""
    _require_sane((name, 0) for name, _ in pairs)
    return dict(pairs)


def _safetensor(name: str, entry: Mapping[str, Any]) -> NDArray[Any]:
    dtype, shape = entry["dtype"], tuple(entry["shape"])
    if dtype == "BF16":  # the upper half of a float32
        upper = np.frombuffer(entry["data"], dtype="<u2").astype("<u4")
        return (upper << 16).view("<f4").reshape(shape)
    if dtype not in _SAFETENSORS_DTYPES:
        raise WeightsError(f"tensor {name!r}: expected dtype F64, F32, F16 or BF16, got {dtype}")
    return np.frombuffer(entry["data"], dtype=_SAFETENSORS_DTYPES[dtype]).reshape(shape)


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


def _read_torch(content: bytes) -> Arrays:
    try:
        import torch  # noqa: PLC0415 - optional, and slow to import
    except ImportError as error:
        raise WeightsError(
            "a PyTorch file needs torch: pip install 'xbar-spice[torch]', or convert the state dict to .npz or "
            ".safetensors where torch is installed"
        ) from error
    if is_zipfile(BytesIO(content)):
        with ZipFile(BytesIO(content)) as archive:
            _require_sane((info.filename, info.file_size) for info in archive.infolist())
    # weights_only refuses every pickle that is more than tensors, numbers and texts
    state = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    if not isinstance(state, Mapping):
        raise WeightsError(f"expected a state dict, a mapping of names to tensors, got {type(state).__name__}")
    # A few stored numbers can be shown as a tensor of any size.
    _require_sane((str(name), 8 * value.numel()) for name, value in state.items() if hasattr(value, "numel"))
    return {str(name): _torch_tensor(str(name), value) for name, value in state.items()}


def _torch_tensor(name: str, value: Any) -> NDArray[Any]:
    try:
        if hasattr(value, "detach"):
            # numpy has no bfloat16
            value = (value.detach().double() if value.is_floating_point() else value.detach()).numpy()
        return np.asarray(value)
    except (TypeError, RuntimeError, ValueError) as error:
        raise WeightsError(f"tensor {name!r}: expected a plain tensor or a number, got {type(value)}") from error


_READERS: dict[str, tuple[str, Callable[[bytes], Arrays]]] = {
    ".npz": (".npz archive of plain arrays", _read_npz),
    ".safetensors": (".safetensors file", _read_safetensors),
    ".pt": ("state dict of plain tensors", _read_torch),
    ".pth": ("state dict of plain tensors", _read_torch),
}
_WRITERS: dict[str, Callable[[Arrays, Mapping[str, str]], bytes]] = {
    ".npz": _write_npz,
    ".safetensors": _write_safetensors,
}
