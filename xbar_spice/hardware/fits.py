"""Published standard deviations of programmed conductances, with their sources and ranges."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.polynomial import Polynomial

__all__ = ["FITS", "MICRO", "Fit"]


class Fit(NamedTuple):
    """A published standard deviation: `law` of G in `unit`, in microsiemens, for targets in `valid`, microsiemens."""

    law: Polynomial
    unit: float | None  # siemens; None for g_max, by which the deviation then scales, too
    scale: float  # microsiemens of g_max at which the law was fitted, where the unit is g_max
    valid: tuple[float, float]
    source: str


MICRO = 1e-6

FITS: Mapping[str, Fit] = MappingProxyType(
    {
        "pcm": Fit(
            Polynomial([0.26348, 1.9650, -1.1731]), None, 25.0, (0.0, np.inf),
            "phase-change memory, Joshi et al., Nat. Commun. 11 (2020) 2473, as fitted in aihwkit",
        ),
        "hfox_wan_crosssim": Fit(
            Polynomial([1.053, 0.2374, -1.167e-2, 1.536e-4]), MICRO, 1.0, (0.0, 39.26),
            "HfOx 1 s after programming, Wan et al., Nature 608 (2022) 504, as fitted in CrossSim",
        ),
        "hfox_wan_aihwkit_1s": Fit(
            Polynomial([0.348, 16.030, -43.853, 45.393, -16.815]), 40 * MICRO, 1.0, (0.0, 40.0),
            "HfOx 1 s after programming, Wan et al., Nature 608 (2022) 504, as fitted in aihwkit",
        ),
        "hfox_wan_aihwkit_1d": Fit(
            Polynomial([0.701, 22.086, -50.773, 47.095, -16.458]), 40 * MICRO, 1.0, (0.0, 40.0),
            "HfOx a day after programming, Wan et al., Nature 608 (2022) 504, as fitted in aihwkit",
        ),
        "hfox_wan_aihwkit_2d": Fit(
            Polynomial([0.782, 20.274, -43.507, 37.062, -11.934]), 40 * MICRO, 1.0, (0.0, 40.0),
            "HfOx two days after programming, Wan et al., Nature 608 (2022) 504, as fitted in aihwkit",
        ),
        "hfox_milo": Fit(
            Polynomial([4.7823, -0.009107]), MICRO, 1.0, (50.0, 225.0),
            "HfO2, Milo et al., IRPS 2021, as fitted in CrossSim",
        ),
        "cmo_hfox_2pct": Fit(
            Polynomial([0.0112185391, 0.01129027418]), MICRO, 1.0, (8.0, 90.0),
            "CMO/HfOx written to within 2 %, as fitted in aihwkit",
        ),
        "cmo_hfox_0.2pct": Fit(
            Polynomial([0.00081107, 0.00106879]), MICRO, 1.0, (8.0, 90.0),
            "CMO/HfOx written to within 0.2 %, as fitted in aihwkit",
        ),
    }
)  # fmt: skip
"""Published standard deviations of programmed conductances by name."""
