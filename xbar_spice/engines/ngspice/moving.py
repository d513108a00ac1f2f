"""A circuit with states, in which one pulse follows the other: the part of it that lives in the worker process.

Each pulse is a `.tran` analysis of its own, from the states on that the last one left: `alter` sets the capacitors'
initial voltages and the sources, exactly to the last bit but one. The circuit stays loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.engines.ngspice.library import LibraryFailure, Ngspice
from xbar_spice.engines.ngspice.messages import Cause

__all__ = ["MovingCircuit"]


@final
class MovingCircuit:
    """One circuit in the simulator.

    Args:
        ngspice: The simulator.
        cards: The deck.
        nodes: At which states stand.
        sources: Of the terminals.

    Raises:
        LibraryFailure: The circuit cannot be read.
    """

    def __init__(self, ngspice: Ngspice, cards: list[str], nodes: Sequence[str], sources: Sequence[str]) -> None:
        self._ngspice, self._states = ngspice, len(nodes)
        ngspice.give_up_circuit()
        ngspice.load(cards)
        names = ["time", *nodes, *(f"{source.lower()}#branch" for source in sources)]
        ngspice.collect(names, float)

    def pulse(
        self, values: Mapping[str, float], volts: NDArray[np.float64], seconds: float, step: float
    ) -> NDArray[np.float64]:
        """One pulse.

        Args:
            values: What `alter` changes, by the names that it has there.
            volts: (sources,) of the terminals.
            seconds: How long it lasts.
            step: The longest step in time.

        Returns:
            (states + 1,) the states afterwards, and the joule that the terminals delivered.

        Raises:
            LibraryFailure: It was not solved.
        """
        self._ngspice.run(*[f"alter {name} = {value:.17g}" for name, value in values.items()], "destroy all")
        transient = f"tran {step:.17g} {seconds:.17g} 0 {step:.17g} uic"
        self._ngspice.run(transient, tolerated=(Cause.SINGULAR, Cause.SETTLED))
        found = self._ngspice.collected()
        if not np.isfinite(found).all() or abs(found[-1, 0] - seconds) > 1e-6 * seconds:
            raise LibraryFailure(f"the pulse came to {found[-1, 0]:g} s of {seconds:g} s", [])
        watts = -(found[:, 1 + self._states :] @ volts)
        watts[0] = watts[min(1, len(watts) - 1)]  # at the start nothing is solved yet
        joule = float(np.sum(0.5 * (watts[1:] + watts[:-1]) * np.diff(found[:, 0])))
        return np.append(found[-1, 1 : 1 + self._states], joule)
