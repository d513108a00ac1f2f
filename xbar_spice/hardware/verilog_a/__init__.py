"""Cells written in Verilog-A: compiled, looked at by a process of its own, and evaluated."""

from xbar_spice.hardware.verilog_a.cell import VerilogACell

__all__ = ["VerilogACell"]
