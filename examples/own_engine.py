"""An engine of one's own: whatever can be given voltages and returns currents, such as a chip on a bench."""

from collections.abc import Sequence

import numpy as np

import xbar_spice as xs
from xbar_spice.engines.base import Bank, Engine
from xbar_spice.hardware.crossbar import Crossbar, Side
from xbar_spice.linear.operator import FloatArray


class Bench(Engine):
    """A chip behind an instrument that resolves a tenth of a microampere; here one without wires."""

    name = "bench"

    def program_bank(self, crossbars: Sequence[Crossbar]) -> Bank:
        return BenchBank(crossbars)


class BenchBank(Bank):
    """Programmed arrays. The protocol has checked shapes and numbers before it asks."""

    def _read(self, drives: Sequence[FloatArray], side: Side) -> list[FloatArray]:
        matrices = [x.conductance.T if side == "rows" else x.conductance for x in self.crossbars]
        return [np.round(matrix @ drive, 7) for matrix, drive in zip(matrices, drives, strict=True)]


W = np.array([[1.0, -0.5], [0.25, 2.0]])
with xs.program(W, xs.Design(tile=1), engine=Bench()) as W_hw:
    print("the matrix that the bench answers with:")
    print(W_hw.to_dense())
