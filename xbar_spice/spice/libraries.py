"""The libraries that a deck needs: those of its cells and of its op-amps, the user's own among them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.crossbar import Crossbar
from xbar_spice.hardware.subcircuit import Subcircuit
from xbar_spice.spice.resources import search_path

__all__ = ["libraries", "opamp_subcircuit"]


def libraries(crossbars: Sequence[Crossbar], names: Sequence[str]) -> list[str]:
    """The text of every library that the arrays need, each once.

    Raises:
        InvalidInputError: one deck would have two subcircuits of one name.
    """
    found = [subcircuit for crossbar in crossbars for subcircuit in crossbar.device.subcircuits]
    found += [opamp_subcircuit(crossbar.amplifier) for crossbar in crossbars if crossbar.amplifier.present]
    texts = list(dict.fromkeys(subcircuit.library for subcircuit in found))
    by_text = {subcircuit.library: subcircuit.definitions for subcircuit in found}
    taken = [name.lower() for name in names] + [name for text in texts for name in by_text[text]]
    twice = sorted({name for name in taken if taken.count(name) > 1} - {""})
    if twice:
        raise InvalidInputError(
            f"a deck can hold one subcircuit of a name, and its libraries and arrays have two {twice[0]!r}; rename one"
        )
    return texts


@lru_cache
def opamp_subcircuit(amplifier: Amplifier) -> Subcircuit:
    """The user's own op-amp, or the one of the shipped library that has the gain and the limits of this one."""
    if amplifier.opamp is not None:
        return amplifier.opamp
    library = search_path("models")[0] / "opamp.lib"
    if amplifier.saturation is None:
        return Subcircuit.from_file(library, "opamp_linear", {"gain": amplifier.gain})
    return Subcircuit.from_file(library, "opamp", {"gain": amplifier.gain, "vsat": amplifier.saturation})
