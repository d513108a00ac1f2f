"""Reports of stored results: figures, tables and a static HTML page. Nothing is simulated here."""

from xbar_spice.report.html import write_report
from xbar_spice.report.table import load_results, load_traces

__all__ = ["load_results", "load_traces", "write_report"]
