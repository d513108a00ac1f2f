"""Extension points by name: one registry for each kind of part, from which choices, schemas, help and errors are made.

A part is handed over as an object, or as a text that names it:

    "interleaved"                              a built-in, by its shorthand
    "interleaved(option=3)"                    the same with options
    "my_package.chips:BitSliced(bits=4)"       a class of an installed module
    "parts/bit_sliced.py:BitSliced(bits=4)"    a class of a Python file; relative paths start at the working folder
    "parts/heun.py:HEUN"                       an object that is ready

Naming a module or a file runs its code, as importing it would: name only code that you trust.
"""

from __future__ import annotations

import ast
import copyreg
import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache, partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, final, overload

from xbar_spice.errors import InvalidInputError

if TYPE_CHECKING:
    from xbar_spice.settings import Setting

__all__ = ["Choice", "Registry", "source_hash"]

Part = TypeVar("Part")

_SPEC = re.compile(r"\s*(?P<where>[^()]*[^()\s])\s*(?:\((?P<options>.*)\))?\s*", re.DOTALL)


@final
class Registry(Generic[Part]):
    """The built-in parts of one kind, and how those of a user are found.

    Args:
        kind: What the part is called in settings and error texts, such as "mapping".
        protocol: "module:Class" of what every part of this kind is an instance of; imported when first needed.
        builtins: "module:Class", or "module:OBJECT", of each built-in by its shorthand.

    Example:
        >>> from xbar_spice.parts import MAPPINGS
        >>> MAPPINGS.text(MAPPINGS.get("interleaved"))
        'interleaved'
    """

    def __init__(self, kind: str, protocol: str, builtins: Mapping[str, str]) -> None:
        self.kind, self.protocol, self._builtins = kind, protocol, dict(builtins)

    @property
    def names(self) -> tuple[str, ...]:
        """The shorthands of the built-ins."""
        return tuple(self._builtins)

    def __iter__(self) -> Iterator[str]:
        return iter(self._builtins)

    def get(self, part: str | Part, **options: Any) -> Part:
        """The part itself, or the one that a text names.

        Args:
            part: An object of this kind, or a text.
            **options: Further options, on top of those in the text.

        Raises:
            InvalidInputError: No part of this kind has the name, its module or file cannot be loaded, its options are
                not taken, or what was found is no part of this kind.
        """
        protocol = _load(self.protocol)
        if isinstance(part, protocol):
            if options:
                raise InvalidInputError(f"{self.kind} {part!r} is configured already, got {', '.join(options)} on top")
            return cast(Part, part)
        if not isinstance(part, str):
            hint = f"; did you mean {part.__name__}()?" if inspect.isclass(part) else ""
            raise InvalidInputError(f"{self.kind} must be {self._allowed()}, got {part!r}{hint}")
        where, written = self.parsed(part)
        made = _load(self._builtins.get(where, where), self.kind)
        if isinstance(made, protocol):  # an object that is ready; options are changes of its fields
            if not written and not options:
                return cast(Part, made)
            return cast(Part, self._made(partial(dataclasses.replace, made), where, written, options))
        # A function is called only if it is ours: texts come from files, too, and "os:system" is one.
        if not (issubclass(made, protocol) if inspect.isclass(made) else where in self._builtins and callable(made)):
            raise InvalidInputError(f"{self.kind} {where!r} must be a subclass of {protocol.__name__}, got {made!r}")
        found = self._made(made, where, written, options)
        if not isinstance(found, protocol):
            raise InvalidInputError(f"{self.kind} {where!r} must give a {protocol.__name__}, got {found!r}")
        return cast(Part, found)

    def given(self, name: str, part: str | Part) -> Part:
        """What `get` finds for the argument or field `name`, which its errors name, too.

        Raises:
            InvalidInputError: See `get`.
        """
        try:
            return self.get(part)
        except InvalidInputError as error:
            if name == self.kind:
                raise
            raise InvalidInputError(f"{name}: {error}") from error

    def parsed(self, text: str) -> tuple[str, str]:
        """The place that a text names, and the options in it; nothing is loaded.

        Raises:
            InvalidInputError: It can name no part: it is no shorthand, and no place of a class.
        """
        matched = _SPEC.fullmatch(text)
        where, options = (matched["where"], matched["options"] or "") if matched else (text, "")
        if where not in self._builtins and ":" not in where:
            raise InvalidInputError(f"{self.kind} must be {self._allowed()}, got {text!r}")
        return where, options

    def ships(self, text: str) -> bool:
        """Whether a text names a built-in part, with options or without; nothing is loaded."""
        return text.partition("(")[0].strip() in self._builtins

    def loaded(self, text: str) -> Any:
        """The class, or what else a text names, without making a part of it."""
        where, _ = self.parsed(text)
        return _load(self._builtins.get(where, where), self.kind)

    def source_hash(self, text: str) -> str | None:
        """`source_hash` of the class that a text names, without making one of it."""
        return source_hash(self.loaded(text))

    def text(self, part: Part) -> str:
        """The text that names a part: its shorthand, or module and class, with the options that are no defaults."""
        made = type(part)
        home = f"{made.__module__}:{made.__qualname__}"
        ready = (name for name, where in self._builtins.items() if where.startswith(f"{made.__module__}:"))
        name = next((name for name in ready if _load(self._builtins[name]) == part), None)
        if name is not None:
            return name
        name = next((name for name, where in self._builtins.items() if where == home), home)
        values = {field.name: (getattr(part, field.name), field.default) for field in _fields(part)}
        options = ", ".join(f"{name}={value!r}" for name, (value, default) in values.items() if value != default)
        return f"{name}({options})" if options else name

    def _made(self, made: Any, where: str, options: str, more: Mapping[str, Any]) -> Any:
        try:
            call = ast.parse(f"_({options})", mode="eval").body
            if not isinstance(call, ast.Call) or call.args or any(word.arg is None for word in call.keywords):
                raise ValueError("options are written as name=value")
            given = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
        except (SyntaxError, ValueError) as error:
            raise InvalidInputError(
                f"options of {self.kind} {where!r} must be literals, as in {where}(name=1.5, other='text'), "
                f"got ({options}): {error}"
            ) from error
        try:
            return made(**given, **more)
        except TypeError as error:
            said = ", ".join(f"{name}={_shown(value)}" for name, value in {**given, **more}.items())
            raise InvalidInputError(
                f"{self.kind} {where!r} cannot be made with ({said}): {error}{_options_of(made)}"
            ) from error

    def _allowed(self) -> str:
        names, protocol = ", ".join(map(repr, self._builtins)), self.protocol.rpartition(":")[2]
        return f"one of {names}, an object of your own class of {protocol}, or a text such as 'file.py:Class(option=1)'"


@final
class Choice(Generic[Part]):
    """A field of a dataclass that takes a part or its text, and holds the part.

    Args:
        registry: Where texts are looked up.
        default: What the field holds when it is left out.
        about: What it is for, where users set it.

    Example:
        >>> from xbar_spice.mapping.design import Design
        >>> type(Design(mapping="interleaved").mapping).__name__
        'Interleaved'
    """

    settles_itself = True
    """For `checks.settle`: what it is set to has been looked at."""

    def __init__(self, registry: Registry[Part], default: Part, about: Setting | None = None) -> None:
        self.registry, self._default, self.about = registry, default, about

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Part: ...

    @overload
    def __get__(self, instance: object, owner: type) -> Part: ...

    def __get__(self, instance: object | None, owner: type) -> Part:
        return self._default if instance is None else cast(Part, instance.__dict__[self._name])

    def __set__(self, instance: object, value: str | Part) -> None:
        instance.__dict__[self._name] = self.registry.given(self._name, value)


def _fields(part: object) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(part) if dataclasses.is_dataclass(part) else ()


def source_hash(part: object) -> str | None:
    """SHA-256 of the file that defines a part's class, by which a record knows which code it was; None for built-ins.

    Args:
        part: Any part, or its class; one of this package is identified by the package's version.
    """
    made = part if inspect.isclass(part) or inspect.isroutine(part) else type(part)
    if made.__module__.partition(".")[0] == __name__.partition(".")[0]:
        return None
    try:
        return hashlib.sha256(Path(inspect.getfile(made)).read_bytes()).hexdigest()
    except (TypeError, OSError):
        return None  # made in an interactive session


@cache
def _load(home: str, kind: str = "") -> Any:
    """What "module:Name" or "file.py:Name" holds."""
    place, _, name = home.rpartition(":")
    try:
        module = _module_of_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
        return getattr(module, name)
    except Exception as error:  # whatever the code of a user's file raises
        raise InvalidInputError(
            f"{kind} {home!r} cannot be loaded: {type(error).__name__}: {error}; write 'module:Class' of an importable "
            "module, or 'path/to/file.py:Class'"
        ) from error


def _module_of_file(path: Path) -> Any:
    file = path.expanduser().resolve()
    name = f"_xbar_spice_part_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}_{file.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look a class's module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    for made in vars(module).values():
        if inspect.isclass(made) and made.__module__ == name and _is_pickled_plainly(made):
            copyreg.pickle(made, lambda part: _reduced(part, str(file)))  # other processes find no module of this name
    return module


def _is_pickled_plainly(made: type) -> bool:
    """Whether a class leaves to Python how its objects are pickled, as enumerations and exceptions do not."""
    return all(getattr(made, name) is getattr(object, name) for name in ("__reduce__", "__reduce_ex__"))


def _reduced(part: object, file: str) -> tuple[Any, ...]:
    """How an object of a class from a file is pickled: by the file, from which another process loads the class."""
    _, (made, *given), *state = cast(tuple[Any, ...], object.__reduce_ex__(part, 2))
    return _restored, (file, made.__qualname__, *given), *state


def _restored(file: str, name: str, *given: Any) -> Any:
    made = attrgetter(name)(_module_of_file(Path(file)))
    return made.__new__(made, *given)


def _shown(value: Any) -> str:
    """A value in an error; of arrays with axes, which fill pages, the shape."""
    shape = getattr(value, "shape", ())
    return f"an array of {shape}" if shape else repr(value)


def _options_of(made: Any) -> str:
    """What a part takes, as the end of an error; nothing of what is no class."""
    if not inspect.isclass(made):
        return ""
    if dataclasses.is_dataclass(made):
        names = [field.name for field in _fields(made)]
    else:
        names = [name for name in inspect.signature(made).parameters if name not in ("args", "kwargs")]
    return f"; its options are {', '.join(names)}" if names else "; it has no options"
