"""Hidden units left out: reference values with one draw a run and with one a step, and on a chip in training."""

from __future__ import annotations

import numpy as np
import pytest
from support import relative, truth

import xbar_spice as xs
from xbar_spice.errors import InvalidInputError
from xbar_spice.solve.adjoint.discrete import gradients
from xbar_spice.solve.integrators.integration import integrate
from xbar_spice.train.named import NamedTask
from xbar_spice.train.training import train

CASE = truth("steps")["cases"]["dropout"]
GIVEN = CASE["inputs"]


class Drawn(np.random.Generator):
    """A generator whose units are kept as the reference keeps them."""

    def __init__(self, keep: list[list[float]]) -> None:
        super().__init__(np.random.PCG64(0))
        self.keep = iter(keep)

    def random(self, size=None, dtype=np.float64, out=None):
        return np.array(next(self.keep))


@pytest.mark.parametrize("name", ["one_mask", "mask_per_step"])
def test_reference_values(name: str) -> None:
    wanted, whole = CASE[name], xs.ReluField(GIVEN["A"], GIVEN["B"])
    drawn = {"keep": GIVEN["keep_one"]} if name == "one_mask" else {"rng": Drawn(GIVEN["keep_per_step"])}
    field = xs.DropoutField(whole, GIVEN["p"], **drawn)
    trajectory = integrate(field, GIVEN["z0"], "forward_euler", h=GIVEN["h"], steps=GIVEN["N"])
    assert relative(trajectory.z[-1], wanted["z_N"]) < 1e-12
    found = gradients(trajectory, trajectory.z[-1] - np.array(GIVEN["target"]))
    for value, key in ((found.A, "gA"), (found.B, "gB"), (found.z0, "gz0")):
        assert relative(value, wanted[key]) < 1e-10


def test_training_leaves_units_out_of_minibatches_only() -> None:
    task = NamedTask(
        "two_moons(samples=80)", states=3, hidden=4, steps=2, schedule=xs.Schedule(2, batch=20, jitter=0.0)
    )
    model = task.initial(np.random.default_rng(0))
    for draw in ("run", "evaluation"):
        processor = xs.Dropout(0.5, draw, seed=2)
        with processor.programmed(model, "epoch 1, test") as programmed:
            assert programmed.field is model.field
        with processor.programmed(model, "epoch 1, minibatch 0") as programmed:
            first, second = (programmed.field.evaluate(np.ones((3, 1))).hidden for _ in range(2))
            assert (np.count_nonzero(first) < 4) or (np.count_nonzero(second) < 4)
            assert draw == "evaluation" or (first == second).all()
        assert (train(task, processor=processor).model.A != train(task).model.A).any()


def test_what_cannot_be_thinned_is_refused() -> None:
    field = xs.ReluField(GIVEN["A"], GIVEN["B"])
    for arguments, text in (
        ((xs.hamiltonian_field(np.eye(2)), 0.2, np.random.default_rng(0)), "an ActivationField or a LayerField"),
        ((field, 0.2), "give rng"),
        ((field, 0.2, None, [1, 0.5]), "keep must be 8 numbers"),
        ((field, 1.0, np.random.default_rng(0)), "part must be"),
    ):
        with pytest.raises(InvalidInputError, match=text):
            xs.DropoutField(*arguments)
