"""Options of what moves weights in `train` and `tune`, and of the numbers that they are kept in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from xbar_spice.hardware.fixed_point import Rounding
    from xbar_spice.train.descent import Epoch
    from xbar_spice.train.processor import Processor
    from xbar_spice.train.tasks import Schedule

__all__ = ["descent_options", "descent_settings", "evaluations_line", "given_processor", "given_schedule"]

Command = TypeVar("Command", bound=Callable[..., Any])
_OF_SCHEDULE = (
    "batch",
    "optimiser",
    "momentum",
    "weight_decay",
    "smoothness",
    "levels",
    "prolongation",
    "unroll",
    "adjoint",
)
_NAMES = (*_OF_SCHEDULE, "fixed_point", "rounding", "dropout")
_OF_MINIBATCHES = ("batch", "momentum", "learning_rate", "dropout")


class _Format(click.ParamType):  # type: ignore[type-arg] # generic for type checkers only
    """IL,FL of numbers of a fixed point."""

    name = "IL,FL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        parts = str(value).split(",")
        if len(parts) != 2 or not all(part.strip().isdigit() for part in parts):
            self.fail(f"two numbers of bits, such as 4,12, are needed, got {value}", param, ctx)
        return int(parts[0]), int(parts[1])


def descent_options(command: Command) -> Command:
    """Add the options."""
    for option in reversed(
        (
            click.option("--batch", type=click.IntRange(min=1), metavar="N", help="Samples of a minibatch."),
            click.option(
                "--optimiser",
                type=click.Choice(["adam", "descent", "lbfgs", "gauss-newton"]),
                help="Adam or stochastic gradient descent on minibatches; L-BFGS, or Newton steps of the classifier "
                "and Gauss-Newton steps of the layers in turn, on all samples. Their iterations count as epochs.",
            ),
            click.option(
                "--momentum",
                type=click.FloatRange(0, 1, max_open=True),
                metavar="PART",
                help="Of descent: the part of the last move that goes on.",
            ),
            click.option(
                "--weight-decay",
                type=click.FloatRange(min=0),
                metavar="BETA",
                help="By which weights are kept small.",
            ),
            click.option(
                "--smoothness",
                type=click.FloatRange(min=0),
                metavar="ALPHA",
                help="By which weights that change in time are kept smooth.",
            ),
            click.option(
                "--levels",
                type=click.IntRange(min=1),
                metavar="N",
                help="Grids in time to train on, one after the other, each with twice the steps of the last.",
            ),
            click.option(
                "--prolongation",
                type=click.Choice(["constant", "linear"]),
                help="Of --levels: the weights of new steps, those before or the mean of both.  [default: linear]",
            ),
            click.option("--unroll", is_flag=True, default=None, help="Give every step weights of its own."),
            click.option(
                "--adjoint",
                type=click.Choice(["discrete", "augmented"]),
                help="Exact, of the steps, or by one solve of the adjoint equation backwards.  [default: discrete]",
            ),
            click.option(
                "--fixed-point",
                type=_Format(),
                help="Bits before and behind the point of weights, products and gradients.",
            ),
            click.option(
                "--rounding",
                type=click.Choice(["nearest", "stochastic"]),
                help="Of --fixed-point.  [default: nearest]",
            ),
            click.option(
                "--dropout",
                type=click.FloatRange(0, 1, max_open=True),
                metavar="PART",
                help="Of the hidden units that minibatches leave out.",
            ),
        )
    ):
        command = option(command)
    return command


def descent_settings(given: dict[str, Any]) -> dict[str, Any]:
    """What the options say; taken out of what is given."""
    return {name: given.pop(name) for name in _NAMES}


def given_schedule(schedule: Schedule, told: dict[str, Any]) -> Schedule:
    """The schedule with what the options say.

    Raises:
        click.UsageError: An option would have no effect.
    """
    own = ("epochs", "learning_rate", *_OF_SCHEDULE)
    made = replace(schedule, **{name: told[name] for name in own if told.get(name) is not None})
    idle = [name for name in _OF_MINIBATCHES if told.get(name) is not None] if made.whole else []
    if idle:
        raise click.UsageError(
            f"--{idle[0].replace('_', '-')} is of minibatches, and --optimiser {made.optimiser} takes all samples at "
            "once: leave one of them out"
        )
    if told.get("prolongation") is not None and made.levels == 1:
        raise click.UsageError("--prolongation is of --levels, of which there is one: give --levels 2 or more")
    return made


def given_processor(on: Processor, schedule: Schedule, told: dict[str, Any], seed: int) -> Processor:
    """A processor as the options say, on another one."""
    from xbar_spice.train.dropout import Dropout
    from xbar_spice.train.rounding import FixedPoint

    if told["rounding"] is not None and told["fixed_point"] is None:
        raise click.UsageError("--rounding is of --fixed-point, which is not given")
    if told["fixed_point"] is not None:
        rounding: Rounding = told["rounding"] or "nearest"
        before, behind = told["fixed_point"]
        on = FixedPoint(before, behind, rounding, loss_scale=float(schedule.batch), on=on, seed=seed)
    return Dropout(told["dropout"], on=on, seed=seed) if told["dropout"] else on


def evaluations_line(history: Sequence[Epoch]) -> str:
    """How many evaluations of f a sample took, forwards and backwards, at both ends of a training."""
    first, last = (f"{one.evaluations:.4g} and {one.adjoint_evaluations:.4g}" for one in (history[0], history[-1]))
    noise = history[-1].noise
    allowed = f"; solves stop at the noise of reads, {noise:.1e} of a state" if noise else ""
    return f"NFE              {first} back in the first epoch, {last} back in the last{allowed}"
