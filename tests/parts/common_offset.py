"""A programming error of a user's own: an offset that every device of a chip shares."""

from dataclasses import dataclass

import numpy as np

from xbar_spice.hardware.variation import Programmed, ProgrammingError


@dataclass(frozen=True)
class CommonOffset(ProgrammingError):  # noqa: N818 - no exception
    """All devices are programmed too high by the same random part."""

    spread: float = 0.1

    @property
    def random(self):
        return self.spread > 0

    def program(self, target, g_min, g_max, rng):
        factor = 1.0 + abs(self.spread * rng.standard_normal())
        return Programmed(factor * target, np.full_like(target, factor))
