"""Kirchhoff's equations of small arrays in decimal numbers of 50 digits, written independently of the engines.

Every node of every line is an unknown voltage; lines without resistance and open lines are nodes like others. Newton's
method is undamped and starts where it is told to, so it only confirms a solution, to far more digits than floats have.
"""

from decimal import Decimal, getcontext

import numpy as np

getcontext().prec = 50
ITERATIONS = 60
EXACT = np.vectorize(Decimal, otypes=[object])  # Decimal takes floats and decimals as they are


class Ohmic:
    def law(self, g, v):
        return g * v, g


class Sinh:
    def __init__(self, v0):
        self.v0 = Decimal(v0)

    def law(self, g, v):
        up = (v / self.v0).exp()
        return g * self.v0 * (up - 1 / up) / 2, g * (up + 1 / up) / 2


class Cubic:
    """I = G V + a V^2 + b V^3."""

    def __init__(self, a, b):
        self.a, self.b = Decimal(a), Decimal(b)

    def law(self, g, v):
        return g * v + self.a * v**2 + self.b * v**3, g + 2 * self.a * v + 3 * self.b * v**2


def currents(crossbar, drive, side, law, cell_volts=None):
    """(sense currents, sums of |cell currents| of their lines) of one read, with terminals at left and bottom.

    Every line that has terminals meets them through some resistance, which keeps the equations simple.
    """
    word, bit, (fixed, source) = _equations(crossbar, drive, side)
    conductance, size = EXACT(crossbar.conductance), len(source)
    volts = np.full(size, Decimal(0))
    for iteration in range(ITERATIONS):
        across = volts[word] - volts[bit]
        if iteration == 0 and cell_volts is not None:
            across = EXACT(cell_volts)
        system, right = fixed.copy(), source.copy()
        flows = np.full(crossbar.shape, Decimal(0))
        for i, j in np.ndindex(crossbar.shape):
            flows[i, j], slope = law.law(conductance[i, j], across[i, j])
            a, b, rest = word[i, j], bit[i, j], flows[i, j] - slope * across[i, j]
            system[[a, b, a, b], [a, b, b, a]] += np.array([slope, slope, -slope, -slope], dtype=object)
            right[a] -= rest
            right[b] += rest
        before, volts = volts, _solve(system, right)
        if np.abs(volts - before).max() <= Decimal("1e-40") * np.abs(volts).max():
            break
    else:
        raise AssertionError("the decimal equations did not converge")
    gross = np.abs(flows).sum(axis=0 if side == "rows" else 1)
    at_word, at_bit = _terminals(crossbar)
    if side == "rows":
        return np.array([volts[node] / at_bit for node in bit[-1]]), gross
    sensed = [Decimal(0) if i in crossbar.open_rows else volts[word[i, 0]] / at_word for i in range(len(word))]
    return np.array(sensed), gross


def _terminals(crossbar):
    """Ohm between the terminals of word and bit lines and their first nodes."""
    return tuple(
        Decimal(end) + Decimal(segment)
        for end, segment in ((crossbar.r_driver, crossbar.r_word), (crossbar.r_sense, crossbar.r_bit))
    )


def _equations(crossbar, drive, side):
    """Node numbers of all cells on word and bit lines, and what wires and terminals contribute."""
    rows, cols = crossbar.shape
    long_word, long_bit = crossbar.r_word > 0, crossbar.r_bit > 0
    word = np.add.outer(np.arange(rows) * (cols if long_word else 1), np.arange(cols) * long_word)
    bit = np.add.outer(np.arange(rows) * long_bit, np.arange(cols) * (rows if long_bit else 1)) + word.max() + 1
    drive, size = EXACT(np.asarray(drive, dtype=float)), bit.max() + 1
    fixed, source = np.full((size, size), Decimal(0)), np.full(size, Decimal(0))
    for nodes, ohm in ((word, crossbar.r_word), (bit.T, crossbar.r_bit)):
        for a, b in zip(nodes[:, :-1].ravel(), nodes[:, 1:].ravel(), strict=True):
            if ohm:
                fixed[[a, b, a, b], [a, b, b, a]] += np.array([1, 1, -1, -1]) / Decimal(ohm)
    ends = {"rows": (word[:, 0], crossbar.open_rows), "cols": (bit[-1], ())}
    for (name, (nodes, skipped)), ohm in zip(ends.items(), _terminals(crossbar), strict=True):
        for line, node in enumerate(nodes):
            if line not in skipped:
                fixed[node, node] += 1 / ohm
                source[node] += drive[line] / ohm if name == side else 0
    return word, bit, (fixed, source)


def misses(found, wanted, gross):
    """By how many times the promise is missed: 1e-10 of each current, or 1e-15 of what cancels in it."""
    allowed = np.maximum(Decimal("1e-10") * np.abs(wanted), Decimal("1e-15") * gross)
    return float((np.abs(EXACT(found) - wanted) / np.maximum(allowed, Decimal("1e-300"))).max())


def _solve(system, right):
    size = len(right)
    table = np.hstack([system, right[:, np.newaxis]])
    for k in range(size):
        pivot = k + int(np.argmax(np.abs(table[k:, k])))
        table[[k, pivot]] = table[[pivot, k]]
        table[k + 1 :, k:] -= (table[k + 1 :, k] / table[k, k])[:, np.newaxis] * table[k, k:]
    solution = np.full(size, Decimal(0))
    for k in range(size - 1, -1, -1):
        solution[k] = (table[k, size] - (table[k, k + 1 : size] * solution[k + 1 :]).sum()) / table[k, k]
    return solution
