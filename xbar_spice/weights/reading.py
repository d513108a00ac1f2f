"""A weight file as it was read: its tensors, what each is taken for, and the model that they make."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.disk import Arrays
from xbar_spice.errors import InvalidInputError, WeightsError
from xbar_spice.linear.convolution import Padding
from xbar_spice.parts import FIELDS
from xbar_spice.weights.end_reading import assumed_ends, end_of, require_said
from xbar_spice.weights.fields import field_named, kernel_name, seems_timed, with_time_last
from xbar_spice.weights.formats import NUMBERS, TEXTS, is_setting, is_text, read_tables
from xbar_spice.weights.kernels import Kernels
from xbar_spice.weights.layout_names import Layout, as_weight, is_end, named_by
from xbar_spice.weights.layouts import flattened, laid_out, part_of
from xbar_spice.weights.model import Model
from xbar_spice.weights.stages import Stage

__all__ = ["Reading", "model_of", "no_code", "read_weights"]

_DEFAULTS = {"field": "activation", "activation": "relu"}
_LISTS = ("on_arrays", "frozen")  # texts of several names, with commas between them


@final
@dataclass(frozen=True, eq=False)
class Reading:
    """What stands in a weight file, and what it is taken for.

    Attributes:
        path: The file.
        tensors: All numbers and texts, by their names in the file.
        left_out: What is no tensor, by name, with the reason.
        layout: What is taken for what.
        given: Settings that somebody gave, which count more than those in the file.
    """

    path: Path
    tensors: Arrays
    left_out: Mapping[str, str]
    layout: Layout
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, Any]:
        """The tensors and settings of the model, by the names that they have there."""
        found = {name: self._tensor(there) for name, there in self.layout.taken.items()}
        counts = {len(named_by(self.tensors, there)) for there in self.layout.taken.values() if "*" in there}
        if len(counts) == 1:  # one set of weights for each step says how many there are
            found.setdefault("steps", np.array(counts.pop()))
        if self.layout.field:
            found["field"] = np.array(self.layout.field)
        return found | dict(self.given)

    def _tensor(self, there: str) -> NDArray[Any]:
        parts = [as_weight(name, self.tensors[name]) for name in named_by(self.tensors, there)]
        if len({part.shape for part in parts}) > 1:
            raise WeightsError(f"tensors {there!r}: expected one shape, got {', '.join(str(p.shape) for p in parts)}")
        return np.stack(parts) if "*" in there else parts[0]

    @property
    def assumed(self) -> str:
        """Kind and activation of the field in words, and whether anybody has said so."""
        values, found = self.values, []
        kind = str(_text("field", values["field"]) if "field" in values else _DEFAULTS["field"])
        for name, default in _DEFAULTS.items():
            if name == "activation" and not _takes_activation(kind):
                continue
            said = "" if name in values else " (the default, nobody has said so)"
            found.append(f"{name} {_text(name, values[name]) if name in values else default}{said}")
        return ", ".join([*found, *(assumed_ends(values) if self.layout.foreign else ())])

    def model(self) -> Model:
        """The model.

        Raises:
            WeightsError: There is none in it, or a tensor or setting is missing or does not fit.
        """
        try:
            if self.layout.problem:
                raise WeightsError(self.layout.problem)
            values = self.values
            if self.layout.foreign:
                _require_padding(values)
                require_said(values)
            return model_of(values, str(self.path), ", ".join(sorted(self.tensors)), trusted=self.given)
        except InvalidInputError as error:
            raise WeightsError(f"{self.path}: {error}") from error.__cause__


def read_weights(
    path: Path, mapping: Mapping[str, str] | None = None, settings: Mapping[str, Any] | None = None
) -> Reading:
    """Read a weight file, whatever names its tensors have.

    Args:
        path: A `.npz`, `.safetensors`, `.pt` or `.pth` file.
        mapping: From names of the model, such as "A" and "bias", to names in the file; see `laid_out`.
        settings: Such as `h`, `steps` and `activation`, in place of those in the file; `part` names the part of the
            file that the model is in, such as "ema_model".

    Raises:
        WeightsError: The file cannot be read, or the mapping or a setting names what is not there.
    """
    tables = read_tables(path)
    try:
        asked = {name: value for name, value in (settings or {}).items() if value is not None}
        part = asked.pop("part", "")
        given = {name: _setting(name, value) for name, value in asked.items()}
        tensors, left_out = flattened(tables)
        if part:
            tensors = part_of(tensors, f"{part}")
        field = str(given["field"]) if "field" in given else ""
        return Reading(path, tensors, left_out, laid_out(tensors, mapping or {}, field), given)
    except InvalidInputError as error:
        raise WeightsError(f"{path}: {error}") from error.__cause__


def _setting(name: str, value: Any) -> NDArray[Any]:
    if not is_setting(name):
        raise WeightsError(f"setting {name!r}: expected one of {', '.join(TEXTS + NUMBERS)}")
    held = np.asarray(value)
    if held.dtype.kind not in ("U" if is_text(name) else "iuf"):
        raise WeightsError(f"setting {name!r}: expected {'a text' if is_text(name) else 'numbers'}, got {value!r}")
    return held


def _require_padding(values: Mapping[str, Any]) -> None:
    """Frameworks and this package pad convolutions differently unless told otherwise: nobody guesses."""
    kernels = [name for name, value in values.items() if np.ndim(value) in (4, 5) and not is_end(name)]
    if kernels and "padding" not in values:
        raise WeightsError(
            f"tensor {kernels[0]!r} is the kernel of a convolution, and the file does not say what lies beyond the "
            "edges of an image: give padding 'zero' (what frameworks do by default) or 'circular' (--set padding=zero)"
        )


# --- a model of named tensors ---------------------------------------------------------------------------------------


def model_of(values: Mapping[str, Any], source: str = "", names: str = "", *, trusted: Collection[str] = ()) -> Model:
    """The model of tensors and settings in the documented format.

    Args:
        values: By name.
        source: Where they come from.
        names: What there is, for errors; the names of the values when left out.
        trusted: Settings that may name a class of the user's own, because no file says them.

    Raises:
        WeightsError: A tensor or setting is missing, unknown, or does not fit.
    """
    names = names or ", ".join(sorted(values))

    def need(name: str) -> Any:
        if name not in values:
            hint = "; say it by a setting (--set " + name + "=...)" if name in NUMBERS else ""
            raise WeightsError(f"tensor {name!r} is missing; the file has {names or 'none'}{hint}")
        return values[name]

    texts = _DEFAULTS | {name: _text(name, value) for name, value in values.items() if is_text(name)}
    for name in ("field", "method"):
        if name in texts and name not in trusted:
            no_code(name, texts[name])
    _require_kind(values)
    if values.keys() & {"A", "B"} and values.keys() & {"a", "b", "image_shape", "padding"}:
        _require_one_kind(values)
    others: dict[str, Any] = {"source": source}
    if "grid" in values:
        others["grid"] = values["grid"]
    else:
        others |= {"h": need("h"), "steps": need("steps")}
    if "method" in texts:
        others["method"] = texts["method"]
    others |= {name: texts[name] for name in ("trained_on",) if name in texts}
    others |= {name: _listed(texts[name]) for name in _LISTS if name in texts}
    others |= {name: values[name] for name in ("weight_range",) if name in values}
    for end in ("encoder", "classifier"):
        if any(name.startswith(f"{end}.") for name in values):
            others[end] = end_of(end, values, texts, need, lambda held: Stage(model_of(held, names=names)))
    tensors = {name: value for name, value in values.items() if not is_setting(name) and not is_end(name)}
    try:
        return _with_field(texts["field"], tensors, values, texts, need, others)
    except InvalidInputError as error:
        if "time" in texts or not seems_timed(tensors):
            raise
        raise WeightsError(
            f"{error}; if the time drives one column of the first matrix, or one channel of the first kernel, say "
            "which, time='first' or 'last' (--set time=first)"
        ) from error


def _with_field(
    kind: str,
    tensors: dict[str, Any],
    values: Mapping[str, Any],
    texts: Mapping[str, str],
    need: Any,
    others: dict[str, Any],
) -> Model:
    """The model whose field is of a kind; the classic ones are made as they always were."""
    padding = cast(Padding, texts.get("padding", "circular"))
    tensors = {kernel_name(name) if np.ndim(value) == 4 else name: value for name, value in tensors.items()}
    convolved = "image_shape" in values or any(name in ("a", "b") or np.ndim(one) == 4 for name, one in tensors.items())
    if "time" in texts:
        tensors = _with_time_last(texts["time"], tensors)
    if kind == "activation":
        for name in "ab" if convolved else "AB":
            tensors[name] = need(name) if name not in tensors else tensors[name]
        by_step = all(np.ndim(one) == (5 if convolved else 3) for one in tensors.values())
        if texts["activation"] == "relu" and len(tensors) == 2 and not by_step and "time" not in texts:
            if convolved:
                kernels = Kernels(tensors["a"], tensors["b"], need("image_shape"), padding)
                return Model.from_kernels(kernels, **others)
            return Model(tensors["A"], tensors["B"], **others)
    _require_known(kind, tensors)
    shape = need("image_shape") if convolved else values.get("image_shape")
    made = field_named(
        kind,
        tensors,
        texts["activation"],
        image_shape=None if shape is None else cast("tuple[int, int]", tuple(np.ravel(shape).tolist())),
        padding=padding,
        time="time" in texts,
        steps=None if "steps" not in values else int(np.ravel(values["steps"])[0]),
        **{name: np.ravel(values[name]).tolist()[0] for name in ("groups", "epsilon") if name in values},
    )
    return Model(field=made, **others)


def _takes_activation(kind: str) -> bool:
    """Whether a kind of field is told its activation; unknown ones are, too, and refused later on."""
    try:
        return "activation" in inspect.signature(FIELDS.loaded(kind)).parameters
    except (InvalidInputError, TypeError, ValueError):
        return True


def _with_time_last(time: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors with the column, or the channel, of the time last in every matrix that it drives."""
    if time not in ("first", "last"):
        raise WeightsError(
            f"'time': expected 'first' or 'last', which column of the first matrix, or channel of its kernel, the "
            f"time drives, got {time!r}"
        )
    return with_time_last(tensors) if time == "first" else dict(tensors)


def _require_known(kind: str, tensors: Mapping[str, Any]) -> None:
    """Refuse a tensor that the field does not have."""
    made = FIELDS.loaded(kind)
    parameters = inspect.signature(made).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return
    digital = getattr(made, "digital", {})
    known = [name for name in parameters if name not in ("activation", "tie", "sign", *digital.values())] + list(
        digital
    )
    for name in tensors:
        if name not in known and name not in map(kernel_name, known):
            raise WeightsError(f"tensor {name!r}: a field {kind!r} has {', '.join(known)}")


def _require_kind(values: Mapping[str, Any]) -> None:
    """Ask for the kind of field where tensors are those of others than the default one."""
    others = sorted(name for name in values if name[:1] in "Kk" and name not in TEXTS)
    if others and "field" not in values:
        kinds = ", ".join(name for name in FIELDS if name != _DEFAULTS["field"])
        raise WeightsError(
            f"tensor {others[0]!r} belongs to none of the default kind of field, {_DEFAULTS['field']!r}: say which it "
            f"is, 'field' = one of {kinds} (--set field=layer)"
        )


def _require_one_kind(values: Mapping[str, Any]) -> None:
    dense = sorted(name for name in ("A", "B") if np.ndim(values.get(name, 0)) not in (0, 4))
    kernels = sorted({"a", "b", "image_shape", "padding"} & values.keys())
    if dense and kernels:
        raise WeightsError(f"expected either dense 'A', 'B' or kernels 'a', 'b', got {', '.join(dense + kernels)}")


def no_code(name: str, text: str) -> str:
    """The name of a part; one that names a class of a file or module is refused, because files are data."""
    if ":" in text:
        raise WeightsError(
            f"'{name}': a weight file names a {name} of this package and no code, got {text!r}; keep the weights "
            f"without it, and set it in Python: dataclasses.replace(model, {name}=...)"
        )
    return text


def _text(name: str, value: NDArray[Any]) -> str:
    if value.dtype.kind != "U" or value.size != 1:
        raise WeightsError(f"'{name}': expected one text, got {value.dtype} of shape {value.shape}")
    return str(value.item())


def _listed(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
