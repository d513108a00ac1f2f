"""Kirchhoff's equations of an array under any biases as one dense system, written independently of the engines.

Unknowns are the voltages of all nodes and the currents of all wires and terminals, so that 0 ohm is a branch like any
other. Cells that are not linear are solved by Newton's method while the sources rise.
"""

import numpy as np

from xbar_spice.hardware.cells import Ohmic

STEPS = 24


def segments(crossbar):
    """(rows, cols + 1) and (rows + 1, cols) ohm."""
    rows, cols = crossbar.shape
    word, bit = np.asarray(crossbar.r_word), np.asarray(crossbar.r_bit)
    word = word[:, np.newaxis] if word.ndim == 1 else word
    return np.broadcast_to(word, (rows, cols + 1)), np.broadcast_to(bit, (rows + 1, cols))


def solve(crossbar, terminals):
    """Currents into every terminal and voltages of all cells.

    Args:
        crossbar: the array.
        terminals: volts and ohm of every connected end, by (edge, line).
    """
    rows, cols = crossbar.shape
    word = np.arange(rows * cols).reshape(rows, cols)
    bit = word + rows * cols
    along, down = segments(crossbar)
    branches = []  # from, to (None is a fixed voltage), ohm, volts at `to`
    for i in range(rows):
        branches += [(word[i, j], word[i, j + 1], along[i, j + 1], 0.0) for j in range(cols - 1)]
    for j in range(cols):
        branches += [(bit[i, j], bit[i + 1, j], down[i + 1, j], 0.0) for i in range(rows - 1)]
    ends = {}
    for (edge, line), (volts, ohm) in terminals.items():
        node, wire = {
            "left": lambda k: (word[k, 0], along[k, 0]),
            "right": lambda k: (word[k, -1], along[k, -1]),
            "top": lambda k: (bit[0, k], down[0, k]),
            "bottom": lambda k: (bit[-1, k], down[-1, k]),
        }[edge](line)
        ends[edge, line] = len(branches)
        branches.append((node, None, ohm + wire, volts))
    nodes, count = 2 * rows * cols, 2 * rows * cols + len(branches)
    fixed, right = np.zeros((count, count)), np.zeros(count)
    for k, (one, other, ohm, volts) in enumerate(branches):
        fixed[one, nodes + k] += 1.0  # the branch takes its current from the node
        fixed[nodes + k, one] += 1.0
        if other is not None:
            fixed[other, nodes + k] -= 1.0
            fixed[nodes + k, other] -= 1.0
        fixed[nodes + k, nodes + k] -= ohm
        right[nodes + k] = volts
    solution = np.zeros(count)
    w, b, g = word.ravel(), bit.ravel(), crossbar.conductance.ravel()
    parts = [1.0] if isinstance(crossbar.device, Ohmic) else np.linspace(0, 1, STEPS + 1)[1:]
    for part in parts:
        for _ in range(50):
            volts = solution[w] - solution[b]
            current = crossbar.device.current(g, volts)
            slope = crossbar.device.differential_conductance(g, volts)
            matrix, rest = fixed.copy(), part * right
            for at, to, sign in ((w, w, 1), (b, b, 1), (w, b, -1), (b, w, -1)):
                np.add.at(matrix, (at, to), sign * slope)
            np.add.at(rest, w, slope * volts - current)
            np.add.at(rest, b, current - slope * volts)
            before, solution = solution, np.linalg.solve(matrix, rest)
            solution += np.linalg.solve(matrix, rest - matrix @ solution)
            if np.abs(solution - before).max() < 1e-14 * max(1.0, np.abs(solution).max()):
                break
    amperes = {end: solution[nodes + k] for end, k in ends.items()}
    return amperes, (solution[w] - solution[b]).reshape(rows, cols)
