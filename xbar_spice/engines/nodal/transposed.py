"""The transposed equations of cells between word lines, bit lines and gate lines, which no array of such cells obeys.

A cell that carries s (w - b) + r b, with the slope s by the voltage across it and r by its bit line, takes s U from its
word line in the transposed network and gives (s - r) U to its bit line, U being its voltage there.
"""

from __future__ import annotations

from collections.abc import Mapping

from xbar_spice.engines.nodal.extended import exact
from xbar_spice.engines.nodal.wiring import State, Tangent, Wiring, turned
from xbar_spice.hardware.biases import End
from xbar_spice.hardware.crossbar import Edge

__all__ = ["transposed"]


def transposed(wiring: Wiring, tangent: Tangent, ends: Mapping[Edge, End]) -> State:
    """The state of the transposed network at the first of the voltages of these ends.

    Args:
        wiring: lines and terminals.
        tangent: of the cells, whose current does not count.
        ends: what stands at every edge.
    """
    rest = wiring.apply(ends, slice(0, 1))
    from_word = tangent.slope
    to_bit = from_word if tangent.by_bit is None else from_word - tangent.by_bit
    across = rest.volts.rounded()
    factor = wiring.factor(from_word[0], None if tangent.by_bit is None else tangent.by_bit[0])
    nodes = wiring.solve(factor, -from_word * across, to_bit * across, transpose=True)
    across = across + wiring.across(nodes)
    word, bit = wiring.raised(rest.levels, nodes)
    cells = exact(from_word * across)
    given = exact(to_bit * across)
    return State(cells, (word, bit), wiring.word.state(cells, word), wiring.bit.state(-turned(given), bit))
