#!/usr/bin/env python3
"""Do both engines of programming by pulses write the same array, and how long do they take?

First an array of --size x --size of every family of cells, written row by row from the middle of its range, by the
fast engine and by ngspice: whether the pulses are the same, and the largest differences of conductances and disturb
(parts of the largest conductance) and of the energy. hp_biolek moves at half the voltage, and so far that verifying
reads decide otherwise for the last digits of a state: its cells get one pulse each. Then processor time of the fast
engine by array size, cell after cell and row by row. One chip each: targets are uniform over the middle nine tenths of
the range.
"""

from __future__ import annotations

import time
from typing import Any, Literal

from common import Arguments

import numpy as np

import xbar_spice as xs
from xbar_spice.programming import Written

FAMILIES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("yakopcic_fast", {"scheme": "v/2"}),
    ("yakopcic_fast", {"scheme": "1t1r", "v_gate": 1.2}),
    ("yakopcic_i", {"scheme": "v/3"}),
    ("vteam", {"scheme": "v/2"}),
    ("vteam_read", {"scheme": "v/3"}),
    ("stanford_gap_dynamic", {"scheme": "v/2"}),
    ("pershin", {"scheme": "v/2"}),
    ("hp_joglekar", {"scheme": "1t1r"}),
    ("hp_prodromakis", {"scheme": "1t1r"}),
    ("hp_biolek", {"scheme": "v/2", "most": 1}),
)
TIMED: tuple[tuple[str, int, Literal["cell", "row"]], ...] = (
    ("yakopcic_fast", 4, "cell"),
    ("stanford_gap_dynamic", 4, "cell"),
    ("yakopcic_fast", 16, "cell"),
    ("yakopcic_fast", 16, "row"),
    ("vteam_read", 16, "cell"),
    ("pershin", 16, "cell"),
    ("stanford_gap_dynamic", 16, "row"),
    ("stanford_gap_dynamic", 16, "cell"),
    ("yakopcic_fast", 64, "row"),
    ("vteam_read", 64, "row"),
    ("stanford_gap_dynamic", 64, "row"),
)


def main() -> None:
    parser = Arguments(__doc__, figure=False)
    parser.add_argument("--size", type=int, default=8, help="Lines of the arrays that both engines write; 0 for none.")
    parser.add_argument("--largest", type=int, default=64, help="Lines of the largest array that is timed; 0 for none.")
    options = parser.parse(size=2, largest=4)
    if options.size:
        compare(options.size)
    if options.largest:
        measure(options.largest)


def compare(size: int) -> None:
    """Print how far the engines are apart."""
    print(
        f"{f'{size} x {size}':<38}{'pulses':>7} {'same':>5}{'conductance':>13}{'disturb':>9}{'energy':>9}{'fast, s':>9}"
    )
    for name, more in FAMILIES:
        target = array(name, size)
        low, high = target.device.conductance_range  # type: ignore[attr-defined]  # of a dynamic cell
        start = np.full(target.shape, low + 0.5 * (high - low))
        both: list[Written] = []
        taken = []
        for engine in ("fast", "ngspice"):
            begin = time.process_time()
            both.append(xs.write_verify(target, start, engine=engine, tolerance=0.05, together="row", passes=1, **more))
            taken.append(time.process_time() - begin)
        fast, slow = both
        same = bool((fast.pulses == slow.pulses).all())
        apart = [
            np.abs(a - b).max() / high for a, b in ((fast.conductance, slow.conductance), (fast.disturb, slow.disturb))
        ]
        energy = abs(fast.energy / slow.energy - 1)
        what = f"{name}, {more['scheme']}" + (f", gate {more['v_gate']} V" if "v_gate" in more else "")
        print(f"{what:<38}{fast.pulses.sum():>7} {'yes' if same else 'no':>5}{apart[0]:>13.0e}{apart[1]:>9.0e}"
              f"{energy:>9.0e}{taken[0]:>9.2f}", flush=True)  # fmt: skip


def measure(largest: int) -> None:
    """Print the processor time of the fast engine, V/2, tolerance 1 %, until nothing moves."""
    print(f"\n{'':<24}{'size':>5} {'together':>9}{'pulses a cell':>15}{'passes':>8}{'near enough':>13}{'time, s':>9}")
    for name, size, together in TIMED:
        if size <= largest:
            crossbar = array(name, size)
            begin = time.process_time()
            found = xs.write_verify(crossbar, together=together)
            taken = time.process_time() - begin
            print(f"{name:<24}{size:>5} {together:>9}{found.pulses.mean():>15.1f}{found.passes:>8}"
                  f"{found.reached.mean():>13.1%}{taken:>9.1f}", flush=True)  # fmt: skip


def array(name: str, size: int) -> xs.Crossbar:
    """Targets, with wires of a 5000th of the resistance of a device that is on, and terminals of a 500th."""
    device = xs.load_device(name)
    low, high = device.conductance_range  # type: ignore[attr-defined]  # of a dynamic cell
    target = low + (high - low) * np.random.default_rng(0).uniform(0.05, 0.95, (size, size))
    ohm = 2e-4 / high
    return xs.Crossbar(target, r_word=ohm, r_bit=ohm, r_driver=10 * ohm, r_sense=10 * ohm, device=device)


if __name__ == "__main__":
    main()
