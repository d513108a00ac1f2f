#!/usr/bin/env python3
"""Every dynamic parameter set: its loop, its pulses against an independent integration, its steps, and a read of it.

Prints for each set how far one pulse is from an integration of its rate by another method (DOP853 of SciPy), how the
error of ngspice falls with its steps (where ngspice is there), and by which part of its conductance a read of 0.2 V and
10 ns changes a cell in the middle of its range, and 10^5 of them. Draws the current over a sine of the voltage:
dynamic_devices.png. There is no chance in it: one device of each set.
"""

from __future__ import annotations

from itertools import islice

from common import Arguments, publish

import numpy as np
from matplotlib.figure import Figure
from scipy.integrate import solve_ivp

import xbar_spice as xs
from xbar_spice.errors import EngineUnavailableError
from xbar_spice.hardware.dynamic import DynamicDevice, moved
from xbar_spice.linear.operator import FloatArray
from xbar_spice.programming import pulses
from xbar_spice.programming import simulated as by_simulator
from xbar_spice.report.style import new_figure

# Volts and hertz of the loop; volts and seconds of the pulse.
SETS: dict[str, tuple[float, float, float, float]] = {
    "vteam_read": (0.6, 2e6, 0.5, 2e-8),
    "yakopcic_i": (0.45, 100.0, 0.4, 2e-4),
    "yakopcic_fast": (1.0, 5e5, 0.9, 1e-7),
    "stanford_gap_dynamic": (1.1, 1e3, 1.0, 1e-6),
    "hp_joglekar": (0.5, 0.5, 1.0, 0.02),
    "hp_biolek": (0.5, 0.5, -1.0, 0.02),
    "hp_prodromakis": (1.0, 0.2, 1.0, 0.05),
    "pershin": (3.0, 1e5, 2.0, 2e-6),
    "vteam": (0.25, 1e7, 0.1, 2e-7),
}
READ = 0.2, 1e-8  # volts and seconds


def main() -> None:
    parser = Arguments(__doc__)
    parser.add_argument("--points", type=int, default=1000, help="Steps of a period of a loop.")
    options = parser.parse(points=40)
    print(
        f"{'set':<22}{'pulse moves':>13}{'error':>10}{'20, 100, 500 steps of ngspice':>34}"
        f"{'a read':>11}{'1e5 reads':>11}"
    )
    sets = dict(islice(SETS.items(), 3 if options.quick else None))
    for name, (_, _, volts, seconds) in sets.items():
        device = dynamic(name)
        state = middle(device)
        found = moved(device, state, np.array(volts), seconds)
        change, error = (
            float(found - state) / device.span,
            abs(float(found - integrated(device, state, volts, seconds))),
        )
        reads = [read_change(device, state, READ[1] * count) for count in (1, 10**5)]
        steps = " ".join(f"{error:9.1e}" for error in step_errors(device, state, volts, seconds))
        print(
            f"{name:<22}{change:>13.3g}{error / device.span:>10.1e}{steps or 'no ngspice':>34}"
            f"{reads[0]:>11.1e}{reads[1]:>11.1e}"
        )
    publish(lambda: draw(options.points), options.out, "dynamic_devices")


def dynamic(name: str) -> DynamicDevice:
    device = xs.load_device(name)
    assert isinstance(device, DynamicDevice)
    return device


def middle(device: DynamicDevice) -> FloatArray:
    return device.state_of(np.array(0.5 * sum(device.conductance_range)))


def integrated(device: DynamicDevice, state: FloatArray, volts: float, seconds: float) -> float:
    def rate(_: float, x: FloatArray) -> FloatArray:
        return device.rate(x, np.full_like(x, volts))

    run = solve_ivp(rate, (0, seconds), [float(state)], "DOP853", rtol=1e-12, atol=1e-14, max_step=seconds / 200)
    return float(run.y[0, -1])


def read_change(device: DynamicDevice, state: FloatArray, seconds: float) -> float:
    """Part of its conductance by which a read changes a cell."""
    after = device.conductance_of(moved(device, state, np.array(READ[0]), seconds))
    return float(after / device.conductance_of(state) - 1.0)


def step_errors(device: DynamicDevice, state: FloatArray, volts: float, seconds: float) -> list[float]:
    """Of ngspice, for steps of a 20th, a 100th and a 500th of the pulse, behind a tenth of the cell's resistance."""
    ohm = 0.1 / float(device.conductance_of(state))
    crossbar = xs.Crossbar(device.conductance_of(state).reshape(1, 1), r_driver=ohm, device=device)
    biases, start = xs.Biases(left=[volts], bottom=[0.0]), state.reshape(1, 1)
    fine = pulses.FastPulses(1e-9).apply(crossbar, start, biases, seconds).state
    try:
        with by_simulator.SimulatedPulses() as engine:
            found = [engine.apply(crossbar, start, biases, seconds, steps=steps).state for steps in (20, 100, 500)]
    except EngineUnavailableError:
        return []
    return [float(np.abs(state - fine).max()) / device.span for state in found]


def loop(device: DynamicDevice, amplitude: float, hertz: float, points: int) -> tuple[FloatArray, FloatArray]:
    """Volts and amperes of two periods of a sine, in steps of constant voltage."""
    times = (np.arange(2 * points) + 0.5) / points / hertz
    volts = amplitude * np.sin(2 * np.pi * hertz * times)
    low, high = device.conductance_range
    state, currents = device.state_of(np.array(low + 0.2 * (high - low))), np.empty_like(volts)
    for k, volt in enumerate(volts):
        half = moved(device, state, np.array(volt), 0.5 / points / hertz)
        currents[k] = device.current(device.conductance_of(half), volt)
        state = moved(device, half, np.array(volt), 0.5 / points / hertz)
    return volts, currents


def draw(points: int) -> Figure:
    figure, panels = new_figure(3, 3, width=2.7, height=2.3, share=False)
    for axes, (name, (amplitude, hertz, _, _)) in zip(panels, SETS.items(), strict=True):
        volts, currents = loop(dynamic(name), amplitude, hertz, points)
        axes.plot(volts, 1e6 * currents, lw=1.0)
        axes.set_title(f"{name}, {hertz:g} Hz")
        axes.set_xlabel("V")
        axes.set_ylabel("uA")
    return figure


if __name__ == "__main__":
    main()
