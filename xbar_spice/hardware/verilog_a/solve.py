"""Currents and slopes of two-terminal cells whose module may have nodes and branches inside.

What is inside is solved for each cell by Newton's method, all cells at once; the slope between the terminals is then
the Schur complement of the module's Jacobian.
"""

from __future__ import annotations

from typing import final

import numpy as np

from xbar_spice.errors import DeviceError
from xbar_spice.hardware.verilog_a.osdi import STATIC, TERMINALS, Evaluation, Floats, Instance

__all__ = ["StaticLaw"]

ITERATIONS = 100
HALVINGS = 30
STEPS = 10  # from 0 V, where the straight way does not settle
SETTLED = 1e-13  # of the largest change inside since the start
ROUNDED = 1e-14  # of the terms of a residual


@final
class StaticLaw:
    """I(G, V) of an instance at an operating point, or at rest in another analysis.

    Args:
        instance: of a module.
        analysis: what it is told.
        time: seconds that it is told.
        level: volts of the second terminal above ground.
    """

    def __init__(self, instance: Instance, analysis: int = STATIC, time: float = 0.0, level: float = 0.0) -> None:
        self._instance, self._level = instance, level
        self._told = analysis, time
        self._nodes = len(instance.library.nodes)
        self._differ = bool(instance.library.joinable)

    def __call__(self, values: Floats, volts: Floats) -> tuple[Floats, Floats]:
        """Amperes from the first terminal to the second, and their slopes in siemens.

        Args:
            values: (cells,) of the programmed parameter.
            volts: (cells,) first terminal minus second.

        Raises:
            DeviceError: nothing settles inside a cell, or the module refuses a value.
        """
        if self._nodes == TERMINALS:
            full = np.stack([volts + self._level, np.full_like(volts, self._level)], axis=1)
            found = self._instance.evaluate(values, full, *self._told)
            return found.residual[:, 0], found.jacobian[:, 0, 0]
        currents, slopes = np.zeros_like(volts), np.zeros_like(volts)
        for nodes, cells in self._alike(values):
            _, at = self.point(values[cells], volts[cells], nodes)
            inner = self.inner(nodes)
            currents[cells], slopes[cells] = at.residual[:, 0], _slope(at.jacobian, inner)
        return currents, slopes

    def point(self, values: Floats, volts: Floats, nodes: tuple[int, ...]) -> tuple[Floats, Evaluation]:
        """(cells, nodes) volts inside, and what the module gives there; of cells whose nodes are joined alike.

        Raises:
            DeviceError: nothing settles inside a cell.
        """
        start = np.where(self._instance.library.currents, 0.0, np.full((len(volts), self._nodes), self._level))
        settled, state, found = self._settle(values, volts, start, nodes)
        if not settled.all():
            rest = np.flatnonzero(~settled)
            again = start[rest]
            for part in np.linspace(0.0, 1.0, STEPS + 1):
                done, again, _ = self._settle(values[rest], part * volts[rest], again, nodes)
            if not done.all():
                worst = int(rest[np.flatnonzero(~done)[0]])
                raise DeviceError(
                    f"nothing settles inside its module at {volts[worst]:g} V, programmed to {values[worst]:g}: the "
                    "equations of its inner nodes have no solution that Newton's method finds; try lower voltages"
                )
            state[rest] = again
            found = self._instance.evaluate(values, state, *self._told, nodes=nodes)
        return state, found

    def inner(self, nodes: tuple[int, ...]) -> list[int]:
        """The nodes and branches inside that are unknown where nodes are joined like this."""
        return [node for node in range(TERMINALS, self._nodes) if nodes[node] == node]

    def joined(self, value: float) -> tuple[int, ...]:
        """How the nodes of a cell are joined."""
        self._instance.program(value)
        return self._instance.joined()

    def _alike(self, values: Floats) -> list[tuple[tuple[int, ...], np.ndarray]]:
        """The cells whose nodes are joined alike."""
        if not self._differ:
            return [(tuple(range(self._nodes)), np.arange(len(values)))]
        distinct, which = np.unique(values, return_inverse=True)
        kinds = [self.joined(value) for value in distinct.tolist()]
        return [
            (kind, np.flatnonzero(np.array([one == kind for one in kinds])[which])) for kind in dict.fromkeys(kinds)
        ]

    def _settle(
        self, values: Floats, volts: Floats, start: Floats, nodes: tuple[int, ...]
    ) -> tuple[np.ndarray, Floats, Evaluation]:
        """Which cells have settled, their state, and what the module gives there."""
        inner = self.inner(nodes)
        state = start.copy()
        state[:, 0], state[:, 1] = volts + self._level, self._level
        found = self._instance.evaluate(values, state, *self._told, nodes=nodes)
        settled = np.full(len(volts), not inner)
        lost = np.zeros(len(volts), dtype=bool)
        for _ in range(ITERATIONS if inner else 0):
            residual = found.residual[:, inner]
            aim = _solved(found.jacobian[:, inner][:, :, inner], residual)
            usable = np.asarray(np.isfinite(aim).all(axis=1))
            step: Floats = np.where(usable[:, np.newaxis], aim, 0.0)
            size = np.abs(residual).sum(axis=1)
            terms: Floats = np.abs(found.jacobian[:, inner] * state[:, np.newaxis]).max(axis=(1, 2))
            scale = np.maximum(np.abs(state[:, inner]), np.abs(volts)[:, np.newaxis])
            small = (np.abs(step) <= SETTLED * scale).all(axis=1) | (size <= ROUNDED * terms) | (size == 0.0)
            settled = np.asarray(usable & small)
            lost |= ~usable
            if (settled | lost).all():
                break
            length, fallen = np.where(settled | lost, 0.0, 1.0), lost
            for _ in range(HALVINGS):
                tried = state.copy()
                tried[:, inner] -= length[:, np.newaxis] * step
                after = self._instance.evaluate(values, tried, *self._told, nodes=nodes)
                fallen = np.asarray(np.abs(after.residual[:, inner]).sum(axis=1) <= (1 - 1e-4 * length) * size)
                fallen |= length == 0.0
                if fallen.all():
                    break
                length = np.where(fallen, length, 0.5 * length)
            lost |= ~fallen
            state, found = tried, after
        return settled & ~lost, state, found


def _solved(matrices: Floats, sides: Floats) -> Floats:
    """Solutions of many small systems; not a number for those that are singular."""
    try:
        return np.asarray(np.linalg.solve(matrices, sides[:, :, np.newaxis])[:, :, 0])
    except np.linalg.LinAlgError:
        found = np.full(sides.shape, np.nan)
        for k, (matrix, side) in enumerate(zip(matrices, sides, strict=True)):
            try:
                found[k] = np.linalg.solve(matrix, side)
            except np.linalg.LinAlgError:
                continue
        return found


def _slope(jacobian: Floats, inner: list[int]) -> Floats:
    """dI/dV between the terminals, where what is inside follows."""
    direct = jacobian[:, 0, 0]
    if not inner:
        return direct
    follows = _solved(jacobian[:, inner][:, :, inner], jacobian[:, inner, 0])
    return np.asarray(direct - (jacobian[:, 0, inner] * follows).sum(axis=1))
