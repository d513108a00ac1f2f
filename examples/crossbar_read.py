"""From conductances to currents, and the array drawn: crossbar.png and crossbar.svg in the current folder."""

from pathlib import Path

import numpy as np

import xbar_spice as xs
from xbar_spice.report.crossbar import draw_crossbar
from xbar_spice.report.style import save

microsiemens = np.array([[80, 20, 50], [10, 90, 30], [60, 40, 5]])  # (word lines, bit lines)
crossbar = xs.Crossbar(1e-6 * microsiemens, r_word=50.0, r_bit=50.0, r_driver=100.0, r_sense=100.0)  # ohm
drive = np.array([0.2, 0.1, 0.15])  # volts at the word lines
solution = xs.solve_array(crossbar, drive)
print("amperes at the bit lines: ", solution.sense_currents)
print("without wires they would be", crossbar.conductance.T @ drive)
save(draw_crossbar(solution, drive), Path.cwd(), "crossbar")
