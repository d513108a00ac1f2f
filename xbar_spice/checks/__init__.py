"""How every public constructor and function looks at what it is given, and how it says no."""

from xbar_spice.checks.annotations import ANYTHING, checked, rule_of, settle
from xbar_spice.checks.arrays import Array
from xbar_spice.checks.doubts import warn
from xbar_spice.checks.idle import idle_fields, refuse_idle
from xbar_spice.checks.rules import (
    DEVIATION,
    PART,
    SEED,
    Either,
    Flag,
    Function,
    Instance,
    Many,
    OneOf,
    Optional,
    Place,
    Real,
    Rule,
    Text,
    Whole,
    given,
)

__all__ = [
    "ANYTHING",
    "DEVIATION",
    "PART",
    "SEED",
    "Array",
    "Either",
    "Flag",
    "Function",
    "Instance",
    "Many",
    "OneOf",
    "Optional",
    "Place",
    "Real",
    "Rule",
    "Text",
    "Whole",
    "checked",
    "given",
    "idle_fields",
    "refuse_idle",
    "rule_of",
    "settle",
    "warn",
]
