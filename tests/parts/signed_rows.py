"""A mapping of a user's own: both devices of a pair on one bit line, on rows that are driven with + and - the input."""

from dataclasses import dataclass

import numpy as np

from xbar_spice.mapping.base import Layout, Lines, Mapping


@dataclass(frozen=True)
class RowPairs(Mapping):
    """G+ on a row at +V and G- on the row below at -V, so that their currents cancel on the bit line."""

    gain: float = 1.0  # part of the window that the largest weight takes
    title = "pairs of rows"
    layout = "tI_J: tile I of the inputs and J of the outputs; its word lines are plus and minus devices in turn"

    def targets(self, weights, siemens_per_weight, g_min, g_max):
        return g_min + siemens_per_weight * np.maximum(np.stack([weights, -weights]), 0.0)

    def slopes(self, weights):
        sign = np.sign(weights)
        return np.stack([0.5 * (1 + sign), -0.5 * (1 - sign)])

    def layouts(self, inputs, outputs):
        rows = Lines(np.repeat(np.arange(inputs), 2), np.tile([1.0, -1.0], inputs))
        return [Layout("", np.tile([0, 1], inputs)[:, np.newaxis], rows, Lines.plain(outputs))]

    def window(self, g_min, g_max):
        return self.gain * (g_max - g_min)


NOT_A_CLASS = 3
