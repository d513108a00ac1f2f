"""Cells whose law was measured: currents at some voltages and conductances, interpolated monotonically in both.

At each measured conductance the current is a monotone cubic of the voltage, piece by piece (Fritsch and Carlson, SIAM
J. Numer. Anal. 17 (1980) 238); between two of them it is linear in the conductance. Decks carry the very same
polynomials, so that every engine has the same cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self, final

import numpy as np
import scipy
from numpy.typing import NDArray

from xbar_spice.checks import Many, Real, settle
from xbar_spice.errors import DeviceError, InvalidInputError
from xbar_spice.hardware.device import Device
from xbar_spice.hardware.tables import read_table
from xbar_spice.linear.operator import FloatArray

__all__ = ["LeftOut", "TableCell"]

MARGIN = 1e-9  # of the range of conductances, for rounding
OFFSET = 1e-6  # of the largest current of a curve: what 0 V may carry


class LeftOut(NamedTuple):
    """The largest errors of interpolated currents where a measurement is left out, as parts of a curve's largest one.

    Attributes:
        voltage: Of a voltage between others of its curve; 0 if there are no such ones.
        conductance: Of a curve between two others; 0 if there are no such ones.
    """

    voltage: float
    conductance: float


@final
@dataclass(frozen=True)
class TableCell(Device):
    """A cell that was measured.

    Attributes:
        conductance: (levels,) siemens, ascending: what programming calls each measured curve.
        volts: For each level, the voltages of its curve, ascending.
        amperes: For each level, the currents at these voltages; 0 A at 0 V.

    A table of one polarity is mirrored: I(G, -V) = -I(G, V). Where 0 V was not measured, the curve is led through the
    origin. Reads that may take a cell beyond the voltages of the table are refused, and conductances beyond it, too; a
    cell of 0 S conducts nothing.

    Raises:
        DeviceError: Fewer than two levels or two voltages, values that do not ascend, currents that fall with the
            voltage or with the conductance, or no number.
    """

    conductance: tuple[float, ...]
    volts: tuple[tuple[float, ...], ...]
    amperes: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        number = Real(least=-1e30, most=1e30)
        curves = Many(Many(number, least=2))
        settle(self, DeviceError, conductance=Many(Real("S", above=0), least=2), volts=curves, amperes=curves)
        levels = np.array(self.conductance)
        if not (np.diff(levels) > 0).all():
            raise DeviceError(f"the conductances of a table must ascend, got {self.conductance}")
        if not len(self.volts) == len(self.amperes) == len(levels):
            raise DeviceError(f"{len(levels)} conductances need as many curves, got {len(self.volts)} of volts and "
                              f"{len(self.amperes)} of amperes")  # fmt: skip
        for level, volts, amperes in zip(self.conductance, self.volts, self.amperes, strict=True):
            _check_curve(level, np.array(volts), np.array(amperes))
        ends = [self._curves[i][0][[0, -1]] for i in range(len(levels))]
        if np.ptp(np.array(ends), axis=0).max() > 1e-12 * np.abs(ends).max():
            raise DeviceError(f"all curves of a table must end at the same voltages, got {np.array(ends).tolist()}")
        places = np.linspace(*self.voltage_range, 501)
        currents = np.sign(places) * self._by_level(places)
        if (np.diff(currents, axis=0) < -1e-9 * np.abs(currents).max()).any():
            level = int(np.argmax((np.diff(currents, axis=0) < -1e-9 * np.abs(currents).max()).any(axis=1)))
            raise DeviceError(
                f"the currents of a table must not fall with the conductance, got smaller ones at "
                f"{self.conductance[level + 1]:g} S than at {self.conductance[level]:g} S"
            )

    @classmethod
    def from_csv(cls, path: str | Path) -> Self:
        """Read a table with the columns conductance_S, volts and amperes, in any order of rows.

        Raises:
            DeviceError: The file is no such table; the text says why.
        """
        try:
            rows = read_table(path, ("conductance_S", "volts", "amperes"))
        except InvalidInputError as error:
            raise DeviceError(str(error)) from error
        levels = np.unique(rows["conductance_S"])
        curves = []
        for level in levels:
            here = rows["conductance_S"] == level
            order = np.argsort(rows["volts"][here], kind="stable")
            curves.append((rows["volts"][here][order].tolist(), rows["amperes"][here][order].tolist()))
        try:
            return cls(tuple(levels.tolist()), tuple(tuple(v) for v, _ in curves), tuple(tuple(i) for _, i in curves))
        except DeviceError as error:
            raise DeviceError(f"{path}: {error}") from error

    def __repr__(self) -> str:
        (low, high), levels = self.voltage_range, self.conductance
        return (
            f"TableCell({len(levels)} conductances from {levels[0]:g} to {levels[-1]:g} S, "
            f"{low:g} to {high:g} V{', mirrored' if self.mirrored else ''})"
        )

    @property
    def linear(self) -> bool:
        return False

    @property
    def template(self) -> str:
        return "cells/table.cir.j2"

    @property
    def mirrored(self) -> bool:
        """Whether the table is of one polarity, and taken for both."""
        return min(volts[0] for volts in self.volts) >= 0 or max(volts[-1] for volts in self.volts) <= 0

    @property
    def voltage_range(self) -> tuple[float, float]:
        """Volts between which the law is known."""
        return float(self._breaks[0]), float(self._breaks[-1])

    def require_known(self, conductance: FloatArray) -> None:
        self._level(conductance)

    def left_out(self) -> LeftOut:
        """How well the interpolation foretells what it was not told: the error of the fit.

        Each measured voltage between others, and each conductance between others, is left out in turn, and its
        currents are taken from the rest.
        """
        by_voltage = by_conductance = 0.0
        for volts, amperes in self._curves:
            for k in range(1, len(volts) - 1):
                if volts[k] and len(volts) > 3:
                    rest = scipy.interpolate.PchipInterpolator(np.delete(volts, k), np.delete(amperes, k))
                    by_voltage = max(by_voltage, abs(float(rest(volts[k])) - amperes[k]) / np.abs(amperes).max())
        levels, currents = np.array(self.conductance), self._by_level(self._breaks)
        for k in range(1, len(levels) - 1):
            part = (levels[k] - levels[k - 1]) / (levels[k + 1] - levels[k - 1])
            missed = (1 - part) * currents[k - 1] + part * currents[k + 1] - currents[k]
            by_conductance = max(by_conductance, float(np.abs(missed).max() / np.abs(currents[k]).max()))
        return LeftOut(by_voltage, by_conductance)

    def current(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        return self._mixed(conductance, voltage, self._coefficients, 0)

    def differential_conductance(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        return self._mixed(conductance, voltage, self._coefficients, 1)

    def conductance_sensitivity(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        conductance, voltage = np.broadcast_arrays(conductance, voltage)
        level, _, used = self._level(conductance)
        width = np.diff(np.array(self.conductance))[level]
        upper, lower = (self._evaluated(self._coefficients, level + k, voltage, 0) for k in (1, 0))
        return np.where(used, (upper - lower) / width, 0.0)

    def pieces(self, conductance: float) -> list[tuple[float, tuple[float, ...]]]:
        """The cell of one conductance as a deck writes it, from the lowest voltages to the highest.

        Returns:
            For each piece the voltage u from which its polynomial in v - u counts, and its coefficients, constant
            first; the first and the last piece go on as straight lines beyond the table.
        """
        level, part, used = self._level(np.array(conductance))
        coefficients = (1 - part) * self._coefficients[level] + part * self._coefficients[level + 1]
        scale = float(used)
        starts = [float(self._breaks[0]), *map(float, self._breaks)]
        return [(u, tuple(float(scale * c) for c in row)) for u, row in zip(starts, coefficients, strict=True)]

    @cached_property
    def _curves(self) -> list[tuple[FloatArray, FloatArray]]:
        """Voltages and currents of every level, both polarities."""
        found = []
        for volts, amperes in zip(self.volts, self.amperes, strict=True):
            v, i = np.array(volts), np.array(amperes)
            if self.mirrored and v[-1] <= 0:
                v, i = -v[::-1], -i[::-1]
            if (at := int(np.searchsorted(v, 0.0))) < v.size and v[at] == 0:
                i[at] = 0.0
            else:  # every law passes through the origin
                v, i = np.insert(v, at, 0.0), np.insert(i, at, 0.0)
            if self.mirrored:
                v, i = np.append(-v[:0:-1], v), np.append(-i[:0:-1], i)
            found.append((v, i))
        return found

    @cached_property
    def _breaks(self) -> FloatArray:
        return np.asarray(np.unique(np.concatenate([volts for volts, _ in self._curves])))

    @cached_property
    def _coefficients(self) -> FloatArray:
        """(levels, pieces, 4) constant first; the first and the last piece are straight."""
        found = []
        for volts, amperes in self._curves:
            curve = scipy.interpolate.PchipInterpolator(volts, amperes)
            starts = self._breaks[:-1]
            taylor = np.stack([curve(starts, d) / scale for d, scale in ((0, 1), (1, 1), (2, 2), (3, 6))], axis=1)
            ends = [[float(curve(u)), float(curve(u, 1)), 0.0, 0.0] for u in self._breaks[[0, -1]]]
            found.append(np.vstack([ends[0], taylor, ends[1]]))
        return np.array(found)

    def _level(self, conductance: FloatArray) -> tuple[NDArray[np.int64], FloatArray, NDArray[np.bool_]]:
        """The level below each conductance, the part of the way to the next one, and whether there is a device."""
        levels, used = np.array(self.conductance), np.asarray(conductance != 0)
        outside = used & ((conductance < levels[0] * (1 - MARGIN)) | (conductance > levels[-1] * (1 + MARGIN)))
        if outside.any():
            raise DeviceError(
                f"{self!r} knows no cell of {np.asarray(conductance)[outside].flat[0]:g} S; set g_min and g_max of the "
                "design within the table, and a programming error that stays there"
            )
        level = np.clip(np.searchsorted(levels, conductance, side="right") - 1, 0, len(levels) - 2)
        part = np.clip((conductance - levels[level]) / np.diff(levels)[level], 0.0, 1.0)
        return level, part, used

    def _mixed(
        self, conductance: FloatArray, voltage: FloatArray, coefficients: FloatArray, derivative: int
    ) -> FloatArray:
        level, part, used = self._level(np.asarray(conductance))
        piece, u = self._places(np.asarray(voltage))
        # The very polynomial that a deck has, see `pieces`.
        parts = np.where(used, 1 - part, 0.0)[..., np.newaxis], np.where(used, part, 0.0)[..., np.newaxis]
        return _value(parts[0] * coefficients[level, piece] + parts[1] * coefficients[level + 1, piece], u, derivative)

    def _evaluated(
        self, coefficients: FloatArray, level: NDArray[np.int64], voltage: FloatArray, derivative: int
    ) -> FloatArray:
        piece, u = self._places(voltage)
        return _value(coefficients[level, piece], u, derivative)

    def _places(self, voltage: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
        """The piece of the curves in which each voltage lies, and how far it is from the piece's voltage."""
        piece = np.searchsorted(self._breaks, voltage, side="right")
        return piece, np.asarray(voltage - np.append(self._breaks[0], self._breaks)[piece])

    def _by_level(self, voltage: FloatArray) -> FloatArray:
        """(levels, voltages) currents."""
        levels = np.arange(len(self.conductance))[:, np.newaxis] + np.zeros(voltage.shape, dtype=np.int64)
        return self._evaluated(self._coefficients, levels, np.broadcast_to(voltage, levels.shape), 0)


def _value(coefficients: FloatArray, u: FloatArray, derivative: int) -> FloatArray:
    c0, c1, c2, c3 = np.moveaxis(coefficients, -1, 0)
    if derivative:
        return np.asarray(c1 + u * (2 * c2 + u * 3 * c3))
    return np.asarray(c0 + u * (c1 + u * (c2 + u * c3)))


def _check_curve(level: float, volts: FloatArray, amperes: FloatArray) -> None:
    where = f"at {level:g} S"
    if volts.shape != amperes.shape:
        raise DeviceError(f"{where}: a curve needs as many amperes as volts, got {amperes.size} and {volts.size}")
    if not (np.diff(volts) > 0).all():
        raise DeviceError(f"{where}: every voltage may occur once, got {volts[:-1][np.diff(volts) <= 0][0]:g} V twice")
    if (np.diff(amperes) < 0).any():
        at = volts[1:][np.diff(amperes) < 0][0]
        raise DeviceError(f"{where}: the current falls at {at:g} V; a table of a static cell must not, smooth it first")
    slack = OFFSET * np.abs(amperes).max()
    if (np.abs(amperes[volts == 0]) > slack).any():
        zero = amperes[volts == 0][0]
        raise DeviceError(f"{where}: a cell carries no current at 0 V, got {zero:g} A; take the offset away first")
    against = np.sign(volts) * amperes < -slack
    if against.any():
        raise DeviceError(
            f"{where}: the current flows against the voltage, {amperes[against][0]:g} A at {volts[against][0]:g} V; "
            "take the offset away first"
        )
