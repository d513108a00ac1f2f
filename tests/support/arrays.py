"""Random arrays in all terminations, and the dense equations that judge every engine."""

from itertools import product

import numpy as np

from xbar_spice.hardware.crossbar import Crossbar, Terminations

WIRES = [
    (0, 0, 0, 0),
    (0, 2, 0, 0),
    (1, 0, 0, 0),
    (1, 2, 0, 0),
    (0, 0, 50, 25),
    (0, 2, 50, 0),
    (1, 0, 0, 25),
    (1, 2, 50, 25),
]


TERMINATIONS = [
    Terminations(*ends) for ends in product(["single", "double"], ["same_ends", "swapped_ends", "far_ends"])
] + [Terminations(transposed=transposed, sense="double") for transposed in ("same_ends", "swapped_ends", "far_ends")]


TOPOLOGIES = list(product(WIRES, TERMINATIONS))


def name_of(value):
    return "-".join(vars(value).values()) if isinstance(value, Terminations) else "-".join(map(str, value))


def random_array(rng, wires=(1, 2, 50, 25), terminations=None, shape=(5, 3)):
    conductance = 10 ** rng.uniform(-6, -3, shape)
    conductance[rng.random(shape) < 0.2] = 0.0
    return Crossbar(conductance, *wires, terminations=terminations or Terminations())


def transfer(engine, crossbar, side="rows"):
    with engine.program(crossbar) as session:
        return session.read(np.eye(crossbar.ports(side)), side)


def transfers(engine, crossbars):
    """The transfer matrices of a bank of arrays, by side: one start of a simulator for all of them."""
    with engine.program_bank(crossbars) as bank:
        return {
            side: bank.read([np.eye(crossbar.ports(side)) for crossbar in crossbars], side) for side in ("rows", "cols")
        }


def kirchhoff(crossbar, side):
    """Transfer matrix by dense modified nodal analysis, written independently of the engines.

    Every resistor is a branch between named nodes; 0 ohm is a branch that forces equal voltages, with its current
    as an unknown, so no node is ever merged. A word line with neither terminals nor cells is left out.
    """
    rows, cols = crossbar.shape
    bare = [row for row in crossbar.open_rows if not crossbar.conductance[row].any()]
    branches = [(("w", i, j), ("b", i, j), 1 / g) for (i, j), g in np.ndenumerate(crossbar.conductance) if g > 0]
    branches += [
        (("w", i, j), ("w", i, j + 1), crossbar.r_word) for i in range(rows) if i not in bare for j in range(cols - 1)
    ]
    branches += [(("b", i, j), ("b", i + 1, j), crossbar.r_bit) for i in range(rows - 1) for j in range(cols)]
    hookup = crossbar.hookup(side)
    sources = []
    for role, edges in (("drive", hookup.driven), ("sense", hookup.sensed)):
        for edge in edges:
            of = "rows" if edge in ("left", "right") else "cols"
            swapped = side == "cols" and crossbar.terminations.transposed != "same_ends"
            resistance = crossbar.r_driver if (of == "rows") != swapped else crossbar.r_sense
            for line in crossbar.connected(of):
                inner = {
                    "left": ("w", line, 0),
                    "right": ("w", line, cols - 1),
                    "top": ("b", 0, line),
                    "bottom": ("b", rows - 1, line),
                }[edge]
                pin, joint = (edge, line), (edge, line, "joint")
                branches += [
                    (pin, joint, resistance),
                    (joint, inner, crossbar.segment_resistance(of)),
                ]
                sources.append((pin, role, line))
    nodes = {node: k for k, node in enumerate(dict.fromkeys(n for a, b, _ in branches for n in (a, b)))}
    n, extra = len(nodes), [branch for branch in branches if branch[2] == 0]
    size = n + len(extra) + len(sources)
    system = np.zeros((size, size))
    for a, b, r in branches:
        if r > 0:
            p, q = nodes[a], nodes[b]
            system[[p, q], [p, q]] += 1 / r
            system[[p, q], [q, p]] -= 1 / r
    for k, (a, b) in enumerate([branch[:2] for branch in extra], start=n):
        system[nodes[a], k] = system[k, nodes[a]] = 1
        system[nodes[b], k] = system[k, nodes[b]] = -1
    right = np.zeros((size, crossbar.ports(side)))
    for k, (pin, role, line) in enumerate(sources, start=n + len(extra)):
        system[nodes[pin], k] = system[k, nodes[pin]] = 1
        if role == "drive":
            right[k, line] = 1
    solution = np.linalg.solve(system, right)
    currents = np.zeros((crossbar.ports("cols" if side == "rows" else "rows"), right.shape[1]))
    for k, (_, role, line) in enumerate(sources, start=n + len(extra)):
        if role == "sense":
            currents[line] += solution[k]  # flows from the pin into the source
    return currents
