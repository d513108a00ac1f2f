"""Files of named tensors, `.npz`, `.safetensors` and PyTorch state dicts, as models and back.

A file names its tensors `A` and `B`, or kernels `a` and `b` with `image_shape` from which A and B are built; further
`h` and `steps`, and if there is a classifier `classifier.weight` and `classifier.bias`. `weight_range` and the texts
`method` and `padding` are optional. A `.safetensors` file, which holds no text, has them in its metadata; `h`, `steps`
and `image_shape` may stand there too.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast
from zipfile import BadZipFile
from zlib import error as ZlibError  # noqa: N812 - an exception, whatever its name says

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from xbar_spice.errors import WeightsError
from xbar_spice.linear.convolution import Padding
from xbar_spice.weights.model import Classifier, Kernels, Model

__all__ = ["load_model", "save_model"]

Tensors = dict[str, NDArray[Any]]

_TEXTS = ("padding", "method")
_NUMBERS = ("h", "steps", "image_shape")
_NAMES = ("A", "B", "a", "b", *_NUMBERS, *_TEXTS, "classifier.weight", "classifier.bias", "weight_range")

_SAFETENSORS_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BOOL": "?",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
}  # fmt: skip


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
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise WeightsError(
            f"{path}: expected a file ending in {', '.join(_READERS)}, got {path.suffix or 'no ending'!r}"
        )
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    try:
        return replace(_model(reader(path)), source=str(path))
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error.__cause__
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error


def save_model(path: str | os.PathLike[str], model: Model) -> None:
    """Write a model to a file that `load_model` reads; a file of that name is replaced as a whole or not at all.

    A model with kernels is written as its kernels. The provenance is not written: it is the file from then on.

    Args:
        path: A name ending in `.npz` or `.safetensors`.
        model: What to write.

    Raises:
        WeightsError: The name ends otherwise, or the file cannot be written.
    """
    path = Path(path)
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise WeightsError(
            f"{path}: expected a name ending in {' or '.join(_WRITERS)}, got {path.suffix or 'no ending'!r}"
        )
    # Beside the target, because only within one file system is a replacement atomic.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        writer(draft, *_tensors(model))
        draft.replace(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be written: {error}") from error
    finally:
        draft.unlink(missing_ok=True)


def _tensors(model: Model) -> tuple[Tensors, dict[str, str]]:
    """The numbers and the texts of a model, by name."""
    tensors: Tensors = {"h": np.array(model.h), "steps": np.array(model.steps)}
    texts = {"method": model.method}
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


def _model(tensors: Tensors) -> Model:
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
    if "method" in tensors:
        others["method"] = _text("method", tensors["method"])
    if any(name.startswith("classifier.") for name in tensors):
        others["classifier"] = Classifier(need("classifier.weight"), need("classifier.bias"))
    if "weight_range" in tensors:
        others["weight_range"] = tensors["weight_range"]
    if not kernels:
        return Model(need("A"), need("B"), **others)
    padding = cast(Padding, _text("padding", tensors["padding"])) if "padding" in tensors else "circular"
    return Model.from_kernels(Kernels(need("a"), need("b"), need("image_shape"), padding), **others)


def _text(name: str, value: NDArray[Any]) -> str:
    if value.dtype.kind != "U" or value.size != 1:
        raise WeightsError(f"'{name}': expected one text, got {value.dtype} of shape {value.shape}")
    return str(value.item())


# --- formats --------------------------------------------------------------------------------------------------------


def _read_npz(path: Path) -> Tensors:
    try:
        with path.open("rb") as file:  # because numpy leaves a damaged file open
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise WeightsError("expected an archive of named arrays as numpy.savez writes it, got a single array")
            return {name: archive[name] for name in archive.files}
    # All that a damaged archive makes numpy and zipfile raise; ValueError also when it holds pickled objects.
    except (BadZipFile, ZlibError, EOFError, ValueError, KeyError, NotImplementedError, RuntimeError, MemoryError) as e:
        if isinstance(e, WeightsError):
            raise
        raise WeightsError(f"not a readable .npz archive of plain arrays: {e}") from e


def _write_npz(path: Path, tensors: Tensors, texts: Mapping[str, str]) -> None:
    with path.open("wb") as file:  # a name instead of a file would get a second ending
        np.savez(file, allow_pickle=False, **tensors, **texts)


def _read_safetensors(path: Path) -> Tensors:
    content = path.read_bytes()
    try:
        entries = safetensors.deserialize(content)  # type: ignore[no-untyped-call]
        # The header has just been found sound: its length in eight bytes, then JSON.
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (safetensors.SafetensorError, ValueError) as error:
        raise WeightsError(f"not a readable .safetensors file: {error}") from error
    metadata = header.get("__metadata__", {})
    tensors: Tensors = {name: np.array(metadata[name]) for name in _TEXTS if name in metadata}
    for name in _NUMBERS:
        if name in metadata:
            tensors[name] = _number_in_words(name, metadata[name])
    return tensors | {name: _safetensor(name, entry) for name, entry in entries}


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
    except ValueError:
        number = np.empty(0, dtype=object)
    if number.dtype.kind not in "if":
        raise WeightsError(f"{name!r} in the metadata: expected a number or a list of numbers, got {words!r}")
    return number


def _write_safetensors(path: Path, tensors: Tensors, texts: Mapping[str, str]) -> None:
    # A view, a transposed one say, would be written in the order of its memory.
    dense = {name: np.ascontiguousarray(tensor).reshape(tensor.shape) for name, tensor in tensors.items()}
    path.write_bytes(safetensors.numpy.save(dense, metadata=dict(texts)))


def _read_torch(path: Path) -> Tensors:
    try:
        import torch  # noqa: PLC0415 - optional, and slow to import
    except ImportError as error:
        raise WeightsError(
            "a PyTorch file needs torch: pip install 'xbar-spice[torch]', or convert the state dict to .npz or "
            ".safetensors where torch is installed"
        ) from error
    try:
        # weights_only refuses every pickle that is more than tensors, numbers and texts
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, BadZipFile) as error:
        raise WeightsError(f"not a readable state dict of plain tensors: {error}") from error
    if not isinstance(state, Mapping):
        raise WeightsError(f"expected a state dict, a mapping of names to tensors, got {type(state).__name__}")
    return {str(name): _torch_tensor(str(name), value) for name, value in state.items()}


def _torch_tensor(name: str, value: Any) -> NDArray[Any]:
    try:
        if hasattr(value, "detach"):
            # numpy has no bfloat16
            value = (value.detach().double() if value.is_floating_point() else value.detach()).numpy()
        return np.asarray(value)
    except (TypeError, RuntimeError, ValueError) as error:
        raise WeightsError(f"tensor {name!r}: expected a plain tensor or a number, got {type(value)}") from error


_READERS: dict[str, Callable[[Path], Tensors]] = {
    ".npz": _read_npz,
    ".safetensors": _read_safetensors,
    ".pt": _read_torch,
    ".pth": _read_torch,
}
_WRITERS: dict[str, Callable[[Path, Tensors, Mapping[str, str]], None]] = {
    ".npz": _write_npz,
    ".safetensors": _write_safetensors,
}
