"""Circuit-level SPICE co-simulation of memristor crossbars that run neural ODEs.

    >>> import xbar_spice as xs
    >>> A, B = [[1.0, -0.5], [0.5, 1.0]], [[-1.0, 0.5], [0.5, -1.0]]
    >>> with xs.program(A, r_word=1.0) as A_hw, xs.program(B, r_word=1.0) as B_hw:
    ...     trajectory = xs.integrate(xs.ReluField(A_hw, B_hw), [1.0, 0.5], h=0.25, steps=4)
    ...     gradient = xs.gradients(trajectory, cotangent=[1.0, 0.0])
    >>> trajectory.z.shape, gradient.A.shape
    ((5, 2), (2, 2))

Names are imported when they are first used: simulator workers and `xbar-spice --help` start without SciPy.
"""

import lazy_loader

import xbar_spice.train  # noqa: F401 - callable, and there before the function of its name could take its place

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
