#!/usr/bin/env python3
"""Do 10^5 reads of 10 ns disturb the weights of a network?

A random neural ODE of --states states on pairs of devices of each dynamic set, programmed to 1 % and then read again
and again: every read puts up to 0.2 V across a device for 10 ns, with the voltages of its input, uniform and of either
sign or of one sign only, as behind a ReLU. States follow their law at these voltages; wires are left out, which takes
no voltage away. For each set and number of reads the largest change of a conductance, as a part of the range, and by how
much the gradient dL/dA turns away from what the same chip gives before the reads; medians over the chips with the least
and the largest. Draws read_disturb.png.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from common import Arguments, publish

import numpy as np
from matplotlib.figure import Figure

import xbar_spice as xs
from xbar_spice.hardware.dynamic import DynamicDevice, moved
from xbar_spice.hardware.variation import Programmed
from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.spread import spread
from xbar_spice.report.style import colours, new_figure

SETS = "vteam_read", "yakopcic_fast", "pershin", "stanford_gap_dynamic", "hp_biolek", "yakopcic_i"
VOLTS, SECONDS = 0.2, 1e-8  # of a read
SIGNS = {"one sign": 0.0, "both signs": -1.0}  # least input, relative to the largest
ROUNDS = 32  # different inputs that follow each other; 10^5 reads are some thousand of each


@dataclass(frozen=True)
class AfterReads(xs.ProgrammingError):
    """A programming error of one per cent, and what reads made of it."""

    device: DynamicDevice
    reads: int
    least: float
    random = True

    def program(self, target: FloatArray, g_min: float, g_max: float, rng: np.random.Generator | None) -> Programmed:
        assert rng is not None
        error = 0.01 * (g_max - g_min) * rng.standard_normal(target.shape)
        found = np.clip(target + error, *self.device.conductance_range)
        state = self.device.state_of(found)
        for _ in range(ROUNDS if self.reads else 0):  # (devices, inputs, outputs): a row of devices has one voltage
            volts = VOLTS * rng.uniform(self.least, 1.0, (1, target.shape[1], 1))
            state = moved(self.device, state, np.broadcast_to(volts, state.shape), self.reads * SECONDS / ROUNDS)
        return Programmed(self.device.conductance_of(state) if self.reads else found, np.ones_like(target))


def main() -> None:
    parser = Arguments(__doc__, chips=8)
    parser.add_argument("--states", type=int, default=8, help="States of the neural ODE.")
    parser.add_argument("--reads", type=int, nargs="+", default=[10**3, 10**4, 10**5, 10**6], help="How many.")
    options = parser.parse(chips=1, states=4, reads=[10**3, 10**5])
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((2, options.states, options.states)) / options.states**0.5
    problem = xs.make_problem(xs.Model(A, B, h=0.25, steps=4), task="random", samples=4)
    turned: dict[tuple[str, str], list[list[float]]] = {}
    print(f"{'':<36}{'reads':>8}{'conductance, of the range':>32}{'dL/dA':>32}")
    for sign, least in SIGNS.items():
        for name in SETS:
            for reads in options.reads:
                found = [after(problem, name, reads, least, chip) for chip in range(options.chips)]
                conductance, gradient = zip(*found, strict=True)
                turned.setdefault((sign, name), []).append(list(gradient))
                said = spread(conductance, ".2g"), spread(gradient, ".2g")
                print(f"{name:<22}, {sign:<12}{reads:>8}", *(f"{one:>31}" for one in said), flush=True)
    publish(lambda: draw(turned, options.reads), options.out, "read_disturb")


def after(problem: xs.Problem, name: str, reads: int, least: float, chip: int) -> tuple[float, float]:
    """The largest change of a conductance, and that of the gradient, of one chip."""
    device = xs.load_device(name)
    assert isinstance(device, DynamicDevice)
    low, high = device.conductance_range
    base = xs.Design(device=device, g_min=low + 0.05 * (high - low), g_max=low + 0.9 * (high - low), v_read=VOLTS)
    runs = []
    for count in (0, reads):
        design = replace(base, variation=AfterReads(device, count, least))
        with xs.program(problem.model.A, design, engine="nodal", rng=np.random.default_rng(chip)) as on_arrays:
            drawn = on_arrays.mapped.drawn
        runs.append((drawn, xs.cosimulate(problem, design, engine="nodal", seed=chip).gradients["A"]))
    (before, first), (later, second) = runs
    change = float(np.abs(later - before).max() / (high - low))
    return change, float(np.linalg.norm(second - first) / np.linalg.norm(first))


def draw(turned: dict[tuple[str, str], list[list[float]]], reads: list[int]) -> Figure:
    figure, panels = new_figure(1, len(SIGNS), width=4.2, height=3.3)
    for axes, sign in zip(panels, SIGNS, strict=True):
        for name, colour in zip(SETS, colours(SETS, ordered=False), strict=True):
            values = 100 * np.array(turned[sign, name])
            if values.any():
                axes.plot(reads, np.median(values, axis=1), "o-", color=colour, label=name)
                axes.fill_between(reads, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.15)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(f"inputs of {sign}")
        axes.set_xlabel("reads of 0.2 V, 10 ns")
    panels[0].set_ylabel("change of dL/dA, %")
    panels[0].legend()
    return figure


if __name__ == "__main__":
    main()
