#!/usr/bin/env python3
"""Which devices' variation costs the loss of the digits-conv model most.

Prints the standard deviation and the expected increase of the loss, predicted and of drawn chips, for programming
errors of 1, 3 and 10 %; the devices that cost most; how much of the variance the top devices hold; where on the tiles
they are; and what the worst stuck devices cost, predicted and with the device really stuck. Writes sensitivity_map.png
and sensitivity_map.svg.
"""

from __future__ import annotations

from dataclasses import replace

from common import NODE_32, Arguments, digits_model, model_line, publish

import numpy as np
from matplotlib.figure import Figure

import xbar_spice as xs
from xbar_spice.cosim import Problem, SensitivityMap, chip_loss, chip_losses, sensitivity_map
from xbar_spice.report.device_maps import draw_device_maps
from xbar_spice.study.problem import make_problem

ERRORS = (0.01, 0.03, 0.1)
DRAWN = 0.03  # of which everything but the first table is
PARTS = (0.0001, 0.001, 0.01, 0.05, 0.1)


def main() -> None:
    parser = Arguments(__doc__, weights=None, samples=8, seed=0, chips=100, tile=32)
    parser.add_argument("--top", type=int, default=10, help="Number of devices to list.")
    options = parser.parse(samples=2, chips=3, top=3)
    model = digits_model(options)
    problem = make_problem(model, samples=options.samples, seed=options.seed)
    designs = {
        error: replace(NODE_32, tile=options.tile, variation=xs.Variation(programming=error)) for error in ERRORS
    }
    maps = {error: sensitivity_map(problem, design) for error, design in designs.items()}
    found = maps[DRAWN]
    print(model_line(model, options))
    print(f"{found.devices} devices; loss {found.loss:.6g} without variation")

    print(f"\nprogramming   std of the loss                increase of the loss, {options.chips} chips")
    print(f"{'error':<14}{'predicted':>10}{'drawn':>11}{'predicted':>22}{'drawn':>11}")
    for error, design in designs.items():
        losses = chip_losses(problem, design, range(options.chips))
        deviation = losses.std(ddof=1)
        print(
            f"{error:<14.0%}{maps[error].loss_std:>10.3e}{deviation:>11.3e}{maps[error].loss_increase:>22.2e}"
            f"{losses.mean() - found.loss:>11.2e} +- {deviation / np.sqrt(options.chips):.1e}"
        )

    print(f"\nthe {options.top} devices that cost most, programming error {DRAWN:.0%}")
    print(
        f"{'matrix':<8}{'array':<8}{'row':>4}{'col':>5}{'weight':>10}{'siemens':>11}{'std of loss':>13}{'increase':>11}"
    )
    for device in found.ranked(options.top):
        print(
            f"{device.matrix:<8}{device.array:<8}{device.row:>4}{device.col:>5}{device.weight:>10.3f}"
            f"{device.conductance:>11.2e}{device.loss_std:>13.2e}{device.loss_increase:>11.1e}"
        )
    print("\npart of all devices  holds of the variance of the loss")
    for part in PARTS:
        print(f"{part:<21.2%}{found.variance_share(part):.1%}")
    print_places(found)
    print_stuck(problem, designs[DRAWN], found)
    publish(lambda: draw(found, options.tile), options.out, "sensitivity_map")


def draw(found: SensitivityMap, tile: int) -> Figure:
    return draw_device_maps(
        {name: part.loss_std for name, part in found.matrices.items()},
        f"standard deviation of the loss by one device, programming error {DRAWN:.0%}",
        tile=tile,
        shares=found.variance_shares,
        places=found.variance_by_place(4),
    )


def print_places(found: SensitivityMap) -> None:
    """Shares of the variance by the quarter of the tile."""
    quarters = found.variance_by_place(2)
    print("\nshare of the variance by quarter of the tile")
    print(f"{'':<22}{'near drivers':>14}{'far from them':>15}")
    print(f"{'far from sensing':<22}{quarters[0, 0]:>14.1%}{quarters[0, 1]:>15.1%}")
    print(f"{'near sensing':<22}{quarters[1, 0]:>14.1%}{quarters[1, 1]:>15.1%}")


def print_stuck(problem: Problem, design: xs.Design, found: SensitivityMap) -> None:
    """The device that costs most when stuck, of each matrix and kind, predicted and with that device really stuck."""
    print("\nincrease of the loss by one stuck device, the worst of each kind")
    print(f"{'stuck at':<10}{'matrix':<8}{'input':>6}{'output':>7}{'weight':>9}{'predicted':>12}{'really':>11}")
    for kind, conductance in (("g_min", design.g_min), ("g_max", design.g_max)):
        for name, part in found.matrices.items():
            predicted = part.stuck(conductance)
            place = np.unravel_index(int(predicted.argmax()), predicted.shape)
            devices = part.conductance.copy()
            devices[place] = conductance
            real = chip_loss(problem, design, {name: devices}) - found.loss
            weight = part.weights[place[2], place[1]]
            print(f"{kind:<10}{name:<8}{place[1]:>6}{place[2]:>7}{weight:>9.3f}{predicted[place]:>12.2e}{real:>11.2e}")


if __name__ == "__main__":
    main()
