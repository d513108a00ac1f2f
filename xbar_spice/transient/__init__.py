"""Reads in time: a pulse charges the lines of an array, its currents settle, energy is spent.

`read_pulse` solves one read. `modal` does so for ohmic cells by the modes of the network, in closed form in time;
`simulated` lets ngspice run the deck of the pulse, for cells of any law. Both answer as a `PulseRead`.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.biases import Biases, require_held, require_resistance
from xbar_spice.hardware.crossbar import Crossbar, Side
from xbar_spice.hardware.pulse import LineCapacitance, Pulse
from xbar_spice.linear.operator import FloatArray
from xbar_spice.spice.pulse_netlist import require_pulsable
from xbar_spice.transient.modal import ModalRead
from xbar_spice.transient.read import Energy, PulseRead

__all__ = ["Energy", "ModalRead", "PulseRead", "read_pulse"]


@checked()
def read_pulse(
    crossbar: Crossbar,
    drive: ArrayLike | Biases,
    pulse: Pulse,
    capacitance: LineCapacitance,
    side: Side = "rows",
    *,
    engine: Literal["modal", "ngspice"] = "modal",
    **options: Any,
) -> PulseRead:
    """Solve a read of an array as a pulse.

    Args:
        crossbar: the array.
        drive: (ports,) volts of the pulse at the driven side, or biases, whose volts all rise and fall together: what a
            selected cell and its neighbours get in a pulse of programming.
        pulse: its shape.
        capacitance: of the lines.
        side: the driven side; as in a read, the other one is sensed.
        engine: "modal" for ohmic cells, in closed form in time; "ngspice" for cells of any law, by `.tran` of the deck
            that `xbar_spice.spice.pulse_netlist.pulse_deck` writes.
        **options: of "ngspice": `accuracy` (about the relative error of the time to settle to 1 %; energies are
            better), `time_limit` in seconds, and `netlists`, folders of the user's own templates.

    Returns:
        Waveforms, settling times and energies.

    Raises:
        InvalidInputError: a drive of the wrong shape, an unknown engine or option, a pulse that the engine cannot
            make, or amplifiers.
        DeviceError: the modes of cells that are not ohmic were asked for.
        ConvergenceError: too many modes are excited.
        SimulationError: the simulator failed.

    Example:
        >>> line = Crossbar([[1e-4] * 64], r_word=2.0)  # one word line
        >>> read = read_pulse(line, [0.2], Pulse(width=10e-12, rise=1e-13), LineCapacitance(c_word=2e-16))
        >>> round(read.settling_time(0.01) * 1e12, 2), round(read.energy().total * 1e15, 2)
        (2.53, 2.29)
    """
    require_pulsable(crossbar)
    volts: FloatArray | Biases = drive if isinstance(drive, Biases) else _drive(crossbar, drive, side)
    if isinstance(volts, Biases):
        _require_pulsable_biases(crossbar, volts)
    if engine == "modal":
        if options:
            raise InvalidInputError(f"engine='modal' takes no options, got {', '.join(options)}")
        return ModalRead(crossbar, side, volts, pulse, capacitance)
    if engine == "ngspice":
        from xbar_spice.transient.simulated import SimulatedRead  # noqa: PLC0415 - without ngspice the modes still work

        if unknown := sorted(set(options) - {"accuracy", "time_limit", "netlists"}):
            raise InvalidInputError(
                f"engine='ngspice' takes accuracy, time_limit and netlists, got {', '.join(unknown)}"
            )
        return SimulatedRead(crossbar, side, volts, pulse, capacitance, **options)
    raise InvalidInputError(f"engine must be 'modal' or 'ngspice', got {engine!r}")


def _drive(crossbar: Crossbar, drive: ArrayLike, side: Side) -> FloatArray:
    volts = np.array(drive, dtype=float)
    if volts.shape != (crossbar.ports(side),) or not np.isfinite(volts).all():
        raise InvalidInputError(
            f"side={side!r} of this array takes one finite drive of shape ({crossbar.ports(side)},), got {volts.shape}"
        )
    return crossbar.applied(volts, side)


def _require_pulsable_biases(crossbar: Crossbar, biases: Biases) -> None:
    if biases.batch is not None:
        raise InvalidInputError(f"a pulse has one set of voltages, got a batch of {biases.batch}; take one column")
    ends = biases.ends(crossbar)
    require_held(ends, crossbar.conductance > 0)
    require_resistance(crossbar, ends)
