"""What `xbar-spice netlist --feedback` writes: the circuits that solve the first Newton step of a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xbar_spice.cosim import program_model
from xbar_spice.disk import border
from xbar_spice.errors import InvalidInputError
from xbar_spice.feedback import FeedbackLoop, FeedbackSolver
from xbar_spice.feedback.export import write_feedback
from xbar_spice.mapping.design import Design
from xbar_spice.mapping.export import design_comments
from xbar_spice.mapping.matrix import map_weights
from xbar_spice.solve.fields.field import ActivationField
from xbar_spice.streams import random_stream
from xbar_spice.weights import Model

__all__ = ["feedback_decks", "write_first_step"]


def feedback_decks(folder: Path) -> list[Path]:
    """The decks that `write_first_step` has left in a folder."""
    names = ("loop.forward.cir", "loop.transposed.cir", "feedback.cir")
    with border(folder, "read"):
        return [folder / name for name in names if (folder / name).exists()]


def write_first_step(
    model: Model, design: Design, folder: Path, *, seed: int, weights: str, netlists: Sequence[Path]
) -> list[Path]:
    """The decks of (I - h B D A) d = h f(z), the first Newton step of implicit Euler from a random state z.

    Args:
        model: the weights.
        design: how the arrays are built.
        folder: where to.
        seed: of the devices and of the state.
        weights: name of the weight file, for the heads of the decks.
        netlists: folders of the user's own templates, searched first.

    Returns:
        The decks.
    """
    state = random_stream(seed, "feedback", "state").standard_normal(model.states)
    if not isinstance(model.field, ActivationField) or not {"A", "B"} <= model.written.keys():
        raise InvalidInputError(
            f"the circuit solves steps of fields B sig(A z), got {type(model.field).__name__}; leave feedback out"
        )
    at = model.field.evaluate(state[:, np.newaxis])
    slopes, rhs = at.slope[:, 0], model.h * model.B @ at.hidden[:, 0]
    if model.field.output_bias is not None:
        rhs = model.h * at.value[:, 0]
    system = np.eye(model.states) - model.h * (model.B * slopes) @ model.A
    mapped = map_weights(system, design, rng=random_stream(seed, "devices", "I - h B D A"))
    A, B = program_model(model, design, "nodal", seed=seed)
    with (
        A,
        B,
        FeedbackLoop(A, B, check_stability=False) as loop,
        FeedbackSolver(mapped, check_stability=False) as solver,
    ):
        files = write_feedback(
            loop,
            solver,
            folder,
            slopes=slopes,
            c=model.h,
            rhs=rhs,
            comments={"weights": weights, "seed": seed, "state": f"random (standard normal), drawn with seed {seed}"}
            | design_comments(design),
            netlists=netlists,
        )
    return [path for path in files if path.suffix == ".cir"]
