"""Linear operators as mathematics: what solvers see of a matrix, whatever answers behind it."""

from xbar_spice.linear.compose import (
    BlockDiagonalOperator,
    FirstRows,
    MeanOperator,
    ProductOperator,
    ScaledOperator,
    SumOperator,
)
from xbar_spice.linear.convolution import Padding, convolution_matrix, flat_kernel, kernel_gradient
from xbar_spice.linear.fourier import FourierConvolution, FourierMatrices, fourier_matrices, fourier_transform
from xbar_spice.linear.norms import norms
from xbar_spice.linear.operator import DenseOperator, FloatArray, LinearOperator, TransposedOperator, as_operator

__all__ = [
    "BlockDiagonalOperator",
    "DenseOperator",
    "FirstRows",
    "FloatArray",
    "FourierConvolution",
    "FourierMatrices",
    "LinearOperator",
    "MeanOperator",
    "Padding",
    "ProductOperator",
    "ScaledOperator",
    "SumOperator",
    "TransposedOperator",
    "as_operator",
    "convolution_matrix",
    "flat_kernel",
    "fourier_matrices",
    "fourier_transform",
    "kernel_gradient",
    "norms",
]
