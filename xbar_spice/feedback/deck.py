"""Feedback circuits as SPICE decks, hierarchical: op-amp, inverter, gate and every array are subcircuits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.errors import InvalidInputError
from xbar_spice.feedback.amplified import AmplifiedMatrix
from xbar_spice.feedback.wiring import ArrayWiring, Wiring
from xbar_spice.hardware.reads import read_ends
from xbar_spice.linear.operator import FloatArray
from xbar_spice.spice.libraries import cell_templates, libraries
from xbar_spice.spice.netlist import array_variables, one_solution
from xbar_spice.spice.render import render
from xbar_spice.spice.tolerances import newton_options

__all__ = ["FeedbackDeck", "Sheet", "Slopes", "array_deck", "loop_deck"]

Slopes = NDArray[np.bool_] | FloatArray

SUBCIRCUITS = ["feedback_opamp", "inverter", "gate"]
INVERTER_OHM = 1e4  # of the two equal resistances around the op-amp of an inverter; it cancels


@final
@dataclass(frozen=True)
class FeedbackDeck:
    """A deck and the names in it.

    Attributes:
        text: runs by hand with `ngspice -b`.
        sources: voltage sources of the right-hand side, then those of the slopes.
        nodes: nodes whose voltages are the solution.
        unique: whether its cells let it have one solution at most.
    """

    text: str
    sources: tuple[str, ...]
    nodes: tuple[str, ...]
    unique: bool = True


@final
@dataclass(frozen=True)
class Sheet:
    """What a deck says beside the circuit.

    Attributes:
        title: first line.
        comments: further lines of the head.
        netlists: folders of the user's own templates, searched first.
        tran: step and end, seconds, of a transient analysis from 0 V; the operating point when left out.
    """

    title: str
    comments: Mapping[str, object] = field(default_factory=dict)
    netlists: Sequence[Path] = ()
    tran: tuple[float, float] | None = None


def array_deck(stage: AmplifiedMatrix, volts: FloatArray, sheet: Sheet) -> FeedbackDeck:
    """The deck of a feedback array: op-amp k holds output k and drives input k.

    Args:
        stage: the matrix.
        volts: (outputs,) of the sources of the right-hand side.
        sheet: what else the deck says.
    """
    solved = _stage_variables(stage, "x", "x", "p", "W")
    return _deck("feedback.cir.j2", stage, [solved], volts, sheet, "x", {"stage": solved})


def loop_deck(
    stages: tuple[AmplifiedMatrix, AmplifiedMatrix],
    volts: FloatArray,
    slopes: Slopes,
    sheet: Sheet,
    *,
    transposed: bool = False,
) -> FeedbackDeck:
    """The deck of a loop of two matrices.

    Args:
        stages: the matrix that the solution drives, and the one whose op-amps hold it.
        volts: (outputs of the second,) of the sources of the right-hand side.
        slopes: (outputs of the first,) volts at the gates: bits, which make them switches, or numbers.
        sheet: what else the deck says.
        transposed: whether the stages are B^T and A^T instead of A and B; only names depend on it.
    """
    names = ("B", "A") if transposed else ("A", "B")
    first = _stage_variables(stages[0], "d", "s", "sum_s", names[0])
    second = _stage_variables(stages[1], "r", "d", "sum_d", names[1])
    ohm = stages[1].arrays.r_source
    more = {
        "first": first,
        "second": second,
        "slopes": slopes.astype(float).tolist(),
        "gate": {"switched": slopes.dtype == np.bool_ and ohm > 0, "ohm": ohm},
    }
    return _deck("feedback_loop.cir.j2", stages[1], [first, second], volts, sheet, "d", more)


def _deck(
    template: str,
    held: AmplifiedMatrix,
    stages: list[dict[str, Any]],
    volts: FloatArray,
    sheet: Sheet,
    solution: str,
    more: dict[str, Any],
) -> FeedbackDeck:
    if not np.isfinite(held.opamp.gain):
        raise InvalidInputError("an op-amp of a netlist needs a finite gain, such as 1e6")
    arrays = [array for stage in stages for array in stage["arrays"]]
    crossbars = [array["crossbar"] for array in arrays]
    nodes = tuple(f"{solution}{k}" for k in range(held.arrays.outputs))
    variables = {
        "title": sheet.title,
        "comments": dict(sheet.comments),
        "cell_templates": cell_templates(array["device"] for array in arrays),
        "libraries": libraries(crossbars, [array["name"] for array in arrays] + SUBCIRCUITS),
        "options": newton_options(crossbars),
        "opamp": held.opamp,
        "inverter_ohm": INVERTER_OHM,
        "volts": volts.tolist(),
        "injection_ohm": 1.0 / held.injection,
        "nodes": nodes,
        "tran": sheet.tran,
        **more,
    }
    sources = tuple(f"Vf{k}" for k in range(len(volts)))
    sources += tuple(f"Vslope{k}" for k in range(len(more.get("slopes", ()))))
    return FeedbackDeck(render(template, variables, netlists=sheet.netlists), sources, nodes, one_solution(crossbars))


def _stage_variables(stage: AmplifiedMatrix, rail: str, out: str, node: str, matrix: str) -> dict[str, Any]:
    """What the templates may use of one matrix; rail, out and node are the stems of the names of nets."""
    wiring = stage.arrays.wiring
    return {
        "matrix": f"{matrix}^T" if wiring.side == "cols" else matrix,
        "inputs": wiring.inputs,
        "outputs": wiring.outputs,
        "rail": rail,
        "out": out,
        "node": node,
        "inverts_inputs": wiring.inverts_inputs,
        "inverts_outputs": wiring.inverts_outputs,
        "feedback_ohm": 1.0 / stage.feedback if stage.feedback else None,
        "crossing_ohm": 1.0 / stage.crossing,
        "arrays": [_array(wired, wiring, f"{matrix}_", rail, node) for wired in wiring.arrays],
    }


def _array(wired: ArrayWiring, wiring: Wiring, prefix: str, rail: str, node: str) -> dict[str, Any]:
    """The variables of an array, and the net at each of its pins."""
    crossbar = wired.array.crossbar
    nothing = read_ends(crossbar, wiring.side)
    array: dict[str, Any] = array_variables(0, f"{prefix}{wired.array.name}", crossbar, nothing, wiring.side)
    rails = [_net(rail, line, wiring.inputs) for line in wired.rails.tolist()]
    nodes = [_net(node, line, wiring.outputs) for line in wired.nodes.tolist()]
    nets = [
        (rails if connection["driven"] else nodes)[terminal.line]
        for connection in array["connections"]
        for terminal in connection["terminals"]
    ]
    return array | {"nets": nets, "crossbar": crossbar}


def _net(stem: str, line: int, count: int) -> str:
    """The net of a rail or node; that of its inverted partner ends on m."""
    return f"{stem}{line}" if line < count else f"{stem}{line - count}m"
