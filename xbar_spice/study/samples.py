"""Which samples a model runs on: those of a file, of a named set, or random states; nobody guesses."""

from __future__ import annotations

import numpy as np

from xbar_spice.data import Data
from xbar_spice.errors import InvalidInputError, StudyError
from xbar_spice.parts import DATA
from xbar_spice.streams import Streams
from xbar_spice.train.digits import DIGITS, IMAGE_SHAPE, load_digits
from xbar_spice.weights import Model

__all__ = ["AUTO", "RANDOM", "SAMPLES", "chosen_task", "taken_samples"]

AUTO, RANDOM = "auto", "random"
SAMPLES = 8
"""How many samples a model runs on, if nobody says so and there are that many."""

_PIXELS = int(np.prod(IMAGE_SHAPE))


def chosen_task(model: Model, task: str = AUTO) -> str:
    """The data that a model runs on: those that were asked for, or those that it says it was trained on.

    Data are never guessed: states of the right length may be anything, such as what an encoder makes of images.

    Raises:
        StudyError: nobody has said which, or the model does not fit the digits.
    """
    if task == RANDOM:
        return task
    if task == AUTO:
        task = model.trained_on
        if not DATA.ships(task):
            said = f"says that it was trained on {task!r}" if task else "does not say"
            others = ", ".join(repr(name) for name in DATA.names if name != DIGITS)
            raise StudyError(
                f"which data is the model of {model.states} states to run on? Its weight file {said}. Ask for 'digits' "
                f"(8 x 8 test images, if raw pixels are its inputs), for another named set ({others}), or for 'random' "
                "(standard normal states, on which a trained model shows little of what it does on its data): --data "
                "on the command line, data.task in a study, task= of make_problem. Samples of your own, a .npz or .csv "
                "file: --data FILE, data.file, data=load_data(path)"
            )
    try:
        DATA.parsed(task)
    except InvalidInputError as error:
        raise StudyError(f"task: {error}") from None
    if task == DIGITS and (model.inputs != _PIXELS or model.classifier is None):
        raise StudyError(
            f"data 'digits' needs a classifier and {_PIXELS} states, got a model of {model.inputs} states "
            f"{'with' if model.classifier else 'without'} a classifier; try 'random'"
        )
    return task


def taken_samples(
    model: Model,
    data: Data | None = None,
    *,
    task: str = AUTO,
    samples: int | None = None,
    seed: int | None = None,
) -> Data:
    """The samples that a model runs on; their `source` says in words which these are.

    Args:
        model: what runs on them.
        data: where they are taken from; None for those of the task.
        task: "random", the name of a set, of which those held back are taken, or "auto", what the model says.
        samples: how many; `SAMPLES` when left out, or all if there are fewer.
        seed: draws them; of given data the first ones are taken when it is left out, else it is 0.

    Raises:
        StudyError: the model does not fit the data or does not say which they are, or there are not that many samples.
    """
    if data is not None:
        if task != AUTO:
            raise StudyError(
                f"either data of one's own or a task says which samples are taken, got both, task {task!r}"
            )
        return _part(data, samples, seed)
    chosen, drawn = chosen_task(model, task), 0 if seed is None else seed
    count = SAMPLES if samples is None else samples
    if chosen == RANDOM:
        z0 = Streams(drawn).data().standard_normal((model.inputs, count))
        said = f"{count} random states (standard normal), drawn with seed {drawn}"
        return Data(z0.T, targets=np.zeros((count, model.states)), source=said)
    if chosen != DIGITS:
        return _part(DATA.get(chosen).split()[1], samples, drawn)
    images = load_digits().test
    if count > len(images):
        raise StudyError(f"data.samples must be <= {len(images)}, the number of test images, got {count}")
    part = images.take(Streams(drawn).data().permutation(len(images))[:count])
    said = f"{count} test images of the handwritten digits, drawn with seed {drawn}"
    return Data(part.x.T, part.labels, source=said)


def _part(data: Data, samples: int | None, seed: int | None) -> Data:
    return data.take(min(SAMPLES, len(data)) if samples is None else samples, seed)
