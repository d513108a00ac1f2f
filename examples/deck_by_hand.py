"""The SPICE deck of one read, and its run by hand: writes read.cir into the current folder and gives it to ngspice."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np

import xbar_spice as xs

crossbar = xs.Crossbar(np.full((4, 3), 5e-5), r_word=10.0, r_bit=10.0)
drive = np.array([0.2, 0.1, 0.0, 0.15])
deck = Path("read.cir")
deck.write_text(xs.netlist(crossbar, drive, title="four word lines, three bit lines"))
print(f"wrote {deck}: {len(deck.read_text().splitlines())} lines; by hand: ngspice -b {deck}")

with xs.get_engine("nodal").program(crossbar) as session:
    expected = session.read(drive)
print("the nodal engine: ", expected)
if command := shutil.which("ngspice"):
    printed = subprocess.run([command, "-b", deck], capture_output=True, text=True, check=True).stdout
    rows = re.findall(r"^\s+(v\w+)#branch\s+(\S+)$", printed, re.MULTILINE)
    sensed = np.array([float(value) for name, value in rows])[-len(expected) :]
    print("ngspice, by hand: ", sensed)
