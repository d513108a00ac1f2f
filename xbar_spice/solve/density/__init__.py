"""Densities that neural ODEs carry, with their exact gradients: continuous normalising flows."""

from xbar_spice.solve.density.inverse import inverse_flow
from xbar_spice.solve.density.likelihood import DensityGradients, density_gradients, log_density

__all__ = ["DensityGradients", "density_gradients", "inverse_flow", "log_density"]
