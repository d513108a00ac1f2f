"""Options by which verbs are given a model and its samples, and how they become values."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, final

import click

from xbar_spice.errors import InvalidInputError
from xbar_spice.parts import DATA

if TYPE_CHECKING:
    from xbar_spice.cosim import Problem
    from xbar_spice.data import Data
    from xbar_spice.train.samples import LossName, Split
    from xbar_spice.weights import Model
    from xbar_spice.weights.reading import Reading

__all__ = [
    "data_options",
    "file_of",
    "given_data",
    "given_model",
    "given_problem",
    "given_split",
    "given_weights",
    "loss_option",
    "model_options",
    "samples_option",
]

Command = TypeVar("Command", bound=Callable[..., Any])

_FILES = (".npz", ".csv")


@final
class _DataOf(click.ParamType):  # type: ignore[type-arg] # generic for type checkers only
    """A file of samples, the name of a set, or "random"."""

    name = "data"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return f"[FILE|{'|'.join(DATA.names)}|random|FILE.py:CLASS]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if file_of(value) is None and value != "random":
            try:
                DATA.parsed(value)
            except InvalidInputError as error:
                self.fail(f"{error}; or 'random', or a file ending in {' or '.join(_FILES)}", param, ctx)
        return value


@final
class _Pair(click.ParamType):  # type: ignore[type-arg] # generic for type checkers only
    """NAME=VALUE."""

    name = "pair"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        name, equals, held = value.partition("=")
        if not equals or not name.strip():
            self.fail(f"expected NAME=VALUE, got {value!r}", param, ctx)
        return name.strip(), held.strip()


def model_options(command: Command) -> Command:
    """`--map` and `--set`, for `given_model`."""
    for flag, metavar, text in (
        ("--set", "NAME=VALUE", "What the weight file does not say, such as h=0.1, steps=10, activation=tanh."),
        ("--map", "NAME=TENSOR", "What a tensor of the model, such as A, is called in the weight file."),
    ):
        command = click.option(
            flag, type=_Pair(), metavar=metavar, multiple=True, expose_value=False, callback=_kept, help=text
        )(command)
    return command


def _kept(context: click.Context, option: click.Parameter, pairs: tuple[tuple[str, str], ...]) -> None:
    context.meta[f"{__name__}.{option.name}"] = dict(pairs)


def given_model(weights: Path) -> Model:
    """The model of a weight file, as the options of `model_options` want it read; says what it took for what."""
    reading = given_weights(weights)
    model = reading.model()
    if reading.layout.foreign:
        said = ", ".join(f"{name} = {there}" for name, there in reading.layout.taken.items() if name != there)
        rest = f"; not used: {', '.join(reading.layout.unused)}" if reading.layout.unused else ""
        click.echo(f"read from {weights.name}: {said}; {reading.assumed}{rest}", err=True)
    return model


def given_weights(weights: Path) -> Reading:
    """A weight file, as the options of `model_options` want it read."""
    from xbar_spice.weights.reading import read_weights

    meta = click.get_current_context().meta
    settings = {name: _literal(value) for name, value in meta.get(f"{__name__}.set", {}).items()}
    return read_weights(weights, meta.get(f"{__name__}.map", {}), settings)


def _literal(text: str) -> Any:
    """A number, or several with commas between them; a text if it is none."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def samples_option(default: str = "4, or all if there are fewer") -> Callable[[Command], Command]:
    """`--samples`."""
    return click.option(
        "--samples",
        type=click.IntRange(min=1),
        metavar="N",
        show_default=default,
        help="How many samples the model runs on.",
    )


def data_options(command: Command) -> Command:
    """`--data` and what belongs to it."""
    for option in reversed(
        (
            click.option(
                "--data",
                type=_DataOf(),
                help="Samples: a .npz or .csv file, a named set (of which the held-back part is taken), or random "
                "states; what the weight file says when left out.",
            ),
            click.option(
                "--data-map",
                type=_Pair(),
                metavar="NAME=COLUMN",
                multiple=True,
                help="What x, labels, targets or times are called in the file of --data.",
            ),
            click.option(
                "--data-seed",
                type=click.IntRange(min=0),
                metavar="N",
                show_default="of a file the first ones, else --seed",
                help="Draws the samples.",
            ),
        )
    ):
        command = option(command)
    return command


loss_option = click.option(
    "--loss",
    type=click.Choice(["auto", "likelihood"]),
    default="auto",
    show_default=True,
    help="What samples are scored by: their labels or targets, or, of a flow, the likelihood that it gives them.",
)


def file_of(data: str | None) -> Path | None:
    """The file that a value of `--data` names; None if it names none."""
    return Path(data) if data is not None and data.lower().endswith(_FILES) else None


def given_data(data: str | None, data_map: Iterable[tuple[str, str]]) -> Data | None:
    """The samples of the file of `--data`; None if it is no file."""
    from xbar_spice.data import load_data

    path, mapping = file_of(data), dict(data_map)
    if path is None:
        if mapping:
            raise click.UsageError("--data-map says what is what in a file: give --data FILE, too")
        return None
    return load_data(path, mapping or None)


def given_problem(
    model: Model,
    data: str | None,
    data_map: Iterable[tuple[str, str]],
    data_seed: int | None,
    samples: int | None,
    seed: int,
    *,
    loss: LossName = "auto",
    time_gradients: bool = False,
    everything: bool = False,
) -> Problem:
    """What a verb runs: four samples if nobody says how many, or all of a file."""
    from xbar_spice.study.problem import make_problem

    read = given_data(data, data_map)
    if read is None:
        drawn = seed if data_seed is None else data_seed
        return make_problem(
            model, samples=samples or 4, seed=drawn, task=data or "auto", loss=loss, time_gradients=time_gradients
        )
    count = samples or (len(read) if everything else min(4, len(read)))
    return make_problem(model, data=read, samples=count, seed=data_seed, loss=loss, time_gradients=time_gradients)


def given_split(
    model: Model, data: str | None, data_map: Iterable[tuple[str, str]], loss: LossName = "auto"
) -> tuple[Split | None, str]:
    """What a model is trained further with and what is held back, and the latter in words; None for the digits."""
    from xbar_spice.train.digits import DIGITS
    from xbar_spice.train.samples import split_of

    read, name = given_data(data, data_map), data or model.trained_on
    if read is None and (name == DIGITS or (data is None and not DATA.ships(name))):
        return None, "handwritten digits held back"
    if name == "random":
        raise click.UsageError("random states have no classes to train for: give --data FILE or a named set")
    train, test = DATA.get(name).split() if read is None else read.split()
    return split_of(train, test, loss), f"{len(test)} {test.source}"
