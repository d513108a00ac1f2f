#!/usr/bin/env python3
"""How far two simulators and the exact solver are apart on random circuits.

Each circuit has a size, wires, terminations, a cell law and, in a third of them, amplifiers of its own, and is read in
either direction or under biases.
The error is the largest difference of a current between VACASK and another engine, relative to the largest current.
The exit status is 1 if one is above 1e-9. Needs the extra verilog-a, and says so where it is not there.
"""

from __future__ import annotations

import sys
from pathlib import Path

from common import Arguments, elapsed

import numpy as np
from numpy.typing import NDArray

import xbar_spice as xs
from xbar_spice.engines.base import Engine
from xbar_spice.errors import EngineUnavailableError
from xbar_spice.hardware.behind_via import BehindVia
from xbar_spice.hardware.verilog_a import VerilogACell

ALLOWED = 1e-9
MODULE = """\
`include "disciplines.vams"
module asymmetric(word, bit);
  inout word, bit; electrical word, bit, mid;
  (* type="instance" *) parameter real g = 1e-5 from [0:inf);
  parameter real a2 = 0.6;
  parameter real rs = 250 from (0:inf);
  analog begin
    I(word, mid) <+ g*V(word, mid)*(1.0 + a2*V(word, mid));
    I(mid, bit) <+ V(mid, bit)/rs;
  end
endmodule
"""


def main() -> None:
    parser = Arguments(__doc__, figure=False)
    parser.add_argument("--circuits", type=int, default=200, help="Number of random circuits.")
    parser.add_argument("--seed", type=int, default=0, help="From which they are drawn.")
    options = parser.parse(circuits=5)
    try:
        judge = xs.get_engine("vacask")
    except EngineUnavailableError as error:
        print(f"skipped: {error}")
        return
    engines = {"nodal": xs.get_engine("nodal")}
    try:
        engines["ngspice"] = xs.get_engine("ngspice", workers=1)
    except EngineUnavailableError as error:
        print(f"without ngspice: {error}")
    rng = np.random.default_rng(options.seed)
    source = Path(__file__).resolve().parents[1] / "runs" / "quick" / "asymmetric.va"
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(MODULE, encoding="utf-8")
    errors: dict[str, list[float]] = {name: [] for name in engines}
    worst: dict[str, str] = {}
    for _ in range(options.circuits):
        xbar, what = circuit(rng, source)
        wanted = answer(judge, xbar, what)
        for name, engine in engines.items():
            apart = float(np.abs(answer(engine, xbar, what) - wanted).max() / np.abs(wanted).max())
            if apart >= max(errors[name], default=0.0):
                worst[name] = f"{xbar.shape[0]} x {xbar.shape[1]}, {xbar.device!r}, {xbar.amplifier!r}, {what[0]}"
            errors[name].append(apart)
    print(f"{options.circuits} random circuits, VACASK against")
    for name, found in errors.items():
        print(f"  {name:<8} median {np.median(found):.1e}, worst {max(found):.1e} ({worst[name]})")
    print(f"{elapsed():.0f} s")
    sys.exit(max(max(found) for found in errors.values()) > ALLOWED)


def circuit(rng: np.random.Generator, source: Path) -> tuple[xs.Crossbar, tuple[str, NDArray[np.float64]]]:
    """An array, and how it is read."""
    rows, cols = rng.integers(1, 9, 2)
    devices = (
        xs.Ohmic(),
        xs.Sinh(float(rng.uniform(0.1, 0.5))),
        xs.Polynomial(),
        xs.OneTransistorOneResistor(),
        xs.OneSelectorOneResistor(),
        BehindVia(float(rng.uniform(100.0, 1e3)), xs.Sinh(0.25)),
        VerilogACell.from_file(source, parameters={"a2": float(np.round(rng.uniform(-0.5, 0.5), 1))}),
    )
    # At least one resistance at each terminal: otherwise two sources may meet.
    r_word, r_bit = rng.choice([0.0, 0.1, 2.0, 20.0], 2).tolist()
    r_driver, r_sense = rng.choice([1.0, 50.0, 1e3], 2).tolist()
    ends = xs.Terminations(
        drive=str(rng.choice(["single", "double"])),  # type: ignore[arg-type]
        transposed=str(rng.choice(["same_ends", "swapped_ends", "far_ends"])),  # type: ignore[arg-type]
        sense=str(rng.choice(["single", "double"])),  # type: ignore[arg-type]
    )
    conductance = np.exp(rng.uniform(np.log(5e-5), np.log(2e-4), (rows, cols)))
    device = devices[int(rng.integers(len(devices)))]
    amplifier = (xs.Amplifier(), xs.Amplifier(r_feedback=1e3), xs.Amplifier(r_feedback=2e3, saturation=0.3))[
        int(rng.choice(3, p=[0.67, 0.17, 0.16]))
    ]
    xbar = xs.Crossbar(
        conductance, r_word, r_bit, r_driver, r_sense, terminations=ends, device=device, amplifier=amplifier
    )
    what = str(rng.choice(["rows", "cols", "biases"]))
    length = rows + cols if what == "biases" else xbar.ports(what)  # type: ignore[arg-type]
    return xbar, (what, rng.uniform(-0.3, 0.3, (length, 2)))


def answer(engine: Engine, xbar: xs.Crossbar, what: tuple[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """All currents that an engine finds."""
    how, volts = what
    with engine.program(xbar) as session:
        if how != "biases":
            return session.read(volts, how)  # type: ignore[arg-type]
        rows = xbar.shape[0]
        found = session.bias(xs.Biases(left=volts[:rows], bottom=volts[rows:]))
        return np.concatenate([found.left, found.bottom])


if __name__ == "__main__":
    main()
