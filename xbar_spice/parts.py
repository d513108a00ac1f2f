"""Every extension point, with its built-in parts by their shorthands.

One table a kind: the command line, study files, the guide and error texts take their choices from here. A built-in part
is one class in one file; its line here is all that makes its shorthand known. Nothing is imported before it is asked
for, so that `xbar-spice --help` stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xbar_spice.registry import Registry

if TYPE_CHECKING:
    from xbar_spice.engines.base import Engine
    from xbar_spice.hardware.drift import DriftLaw
    from xbar_spice.hardware.technology import Technology
    from xbar_spice.hardware.variation import ProgrammingError
    from xbar_spice.mapping.base import Mapping
    from xbar_spice.train.tasks import Task

__all__ = ["DRIFT_LAWS", "ENGINES", "MAPPINGS", "PROGRAMMING_ERRORS", "TASKS", "TECHNOLOGIES"]

ENGINES: Registry[Engine] = Registry(
    "engine",
    "xbar_spice.engines.base:Engine",
    {
        "ideal": "xbar_spice.engines.ideal:IdealEngine",
        "nodal": "xbar_spice.engines.nodal.engine:NodalEngine",
        "ngspice": "xbar_spice.engines.ngspice.engine:NgspiceEngine",
    },
)
"""Who answers the reads of arrays."""

MAPPINGS: Registry[Mapping] = Registry(
    "mapping",
    "xbar_spice.mapping.base:Mapping",
    {
        "differential": "xbar_spice.mapping.pairs:Differential",
        "interleaved": "xbar_spice.mapping.pairs:Interleaved",
        "signed_rows": "xbar_spice.mapping.pairs:SignedRows",
        "offset": "xbar_spice.mapping.offset:Offset",
        "bit_sliced": "xbar_spice.mapping.slices:BitSliced",
    },
)
"""How signed weights become devices on lines."""

PROGRAMMING_ERRORS: Registry[ProgrammingError] = Registry(
    "variation",
    "xbar_spice.hardware.variation:ProgrammingError",
    {
        "relative": "xbar_spice.hardware.variation:Variation",
        "published": "xbar_spice.hardware.statistics:PublishedError",
        "measured": "xbar_spice.hardware.statistics:MeasuredProgramming",
        "levels": "xbar_spice.hardware.statistics:Levels",
        "stuck": "xbar_spice.hardware.statistics:Stuck",
        "correlated": "xbar_spice.hardware.statistics:Correlated",
        "table": "xbar_spice.hardware.statistics:programming_table",
        "in_turn": "xbar_spice.hardware.statistics:InTurn",
    },
)
"""What makes programmed devices differ from their targets."""

DRIFT_LAWS: Registry[DriftLaw] = Registry(
    "drift",
    "xbar_spice.hardware.drift:DriftLaw",
    {
        "none": "xbar_spice.hardware.drift:NoDrift",
        "power_law": "xbar_spice.hardware.drift:Drift",
        "pcm": "xbar_spice.hardware.drift:PcmDrift",
        "cmo_hfox": "xbar_spice.hardware.drift:CmoDrift",
    },
)
"""What becomes of programmed devices with time."""

TECHNOLOGIES: Registry[Technology] = Registry(
    "technology",
    "xbar_spice.hardware.technology:Technology",
    {
        "node": "xbar_spice.hardware.technology:technology",
        "geometry": "xbar_spice.hardware.technology:wire_technology",
    },
)
"""Whose wires an array has; a node is also written as its name, such as "22nm"."""

TASKS: Registry[Task] = Registry(
    "task",
    "xbar_spice.train.tasks:Task",
    {
        "digits-conv": "xbar_spice.train.digits:digits_conv",
        "digits-dense": "xbar_spice.train.digits:digits_dense",
    },
)
"""What models are trained for."""
