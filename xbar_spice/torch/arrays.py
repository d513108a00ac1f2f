"""The arrays of one weight matrix of a module, which are written anew whenever the weights have changed."""

from __future__ import annotations

import hashlib
import os
import weakref
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, final, get_args

import numpy as np

from xbar_spice.checks import SEED, Optional, Real, warn
from xbar_spice.cosim.gradients.read_derivative import ReadDerivative
from xbar_spice.engines.base import Engine
from xbar_spice.engines.registry import get_engine
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.mapping.analog_matrix import AnalogMatrix, program
from xbar_spice.mapping.design import Design
from xbar_spice.streams import Streams

__all__ = ["ArraySettings", "Arrays", "GradientKind"]

GradientKind = Literal["transposed", "true", "digital"]

HEADROOM = 1.25
"""How many times the arrays hold the largest weight at the time at which their scale is fixed, at least."""


@final
@dataclass(frozen=True)
class ArraySettings:
    """What the arrays of a module have in common.

    Attributes:
        design: How the arrays are built.
        engine: Who answers the reads.
        gradient: Where the backward pass comes from: "transposed" reads the other side of the same arrays, "true"
            differentiates the forward reads through the circuit down to every device, "digital" multiplies with the
            weights as they were meant (straight-through).
        seed: From which devices and read noise are drawn; None takes one from the first weights, so that the layers of
            a network are different chips, and `torch.manual_seed` rules them as it rules the weights.
        weight_range: The largest |weight| that the arrays hold; larger ones are clipped. None follows the weights.

    Raises:
        InvalidInputError: A setting is unknown or out of range, or the gradient of such a design is not known.
    """

    design: Design
    engine: str | Engine = "nodal"
    gradient: GradientKind = "true"
    seed: int | None = None
    weight_range: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.design, Design):
            raise InvalidInputError(f"design must be a Design, such as Design(r_word=1.0), got {self.design!r}")
        get_engine(self.engine)
        if self.gradient not in get_args(GradientKind):
            allowed = ", ".join(map(repr, get_args(GradientKind)))
            raise InvalidInputError(f"gradient must be one of {allowed}, got {self.gradient!r}")
        Optional(SEED)("seed", self.seed)
        Optional(Real(above=0), "to follow the weights")("weight_range", self.weight_range)
        if self.design.conductances is not None:
            raise InvalidInputError(
                f"measured conductances ({self.design.conductances}) do not follow the weights of a module; leave them "
                "out, and give the programming error of the chip"
            )
        if self.gradient == "true" and (self.design.compensated or self.design.scale != "matrix"):
            raise InvalidInputError(
                "the true gradient is known for arrays that are not compensated and have one scale, got "
                f"compensated={self.design.compensated} and scale={self.design.scale!r}; try gradient='transposed'"
            )


@final
class Arrays:
    """One weight matrix on arrays.

    What a weight of 1 takes in siemens is fixed when the arrays are first written, and again when the weights outgrow
    the range or `fix_scale` asks for it; in between it is a constant, and so it is for the gradients. A device keeps
    its programming factor, and stays stuck if it is, however often it is written.

    Args:
        chip: How they are built, who reads them, and what comes back.
        name: Of the matrix in traces and decks.
        stream: Of its random numbers; matrices of one seed and different streams have different devices.
    """

    def __init__(self, chip: ArraySettings, name: str, stream: str = "") -> None:
        self.chip, self.name, self.stream = chip, name, stream or name
        self.seed = chip.seed
        self.range = chip.weight_range
        self.writes = 0
        self._forget()

    def _forget(self) -> None:
        """Begin without anything that lives."""
        self._live = ExitStack()
        self._end = weakref.finalize(self, self._live.close)
        self._matrix: AnalogMatrix | None = None
        self._derivative: ReadDerivative | None = None
        self._process = os.getpid()

    def close(self) -> None:
        """Free what stands behind the arrays; the next read writes them again."""
        if self._process == os.getpid():
            self._end()
        else:  # what a parent process opened is not a fork's to close
            self._end.detach()
        self._forget()

    def fix_scale(self) -> None:
        """Let the next writing fix the siemens of a unit weight anew, unless the range was given."""
        self.range = self.chip.weight_range
        self.close()

    def written(self, weights: FloatArray) -> AnalogMatrix:
        """The arrays that hold these weights.

        Args:
            weights: (m, n).
        """
        if self._matrix is not None and self._process == os.getpid() and np.array_equal(self._matrix.weights, weights):
            return self._matrix
        self.close()
        if not np.isfinite(weights).all():
            raise InvalidInputError(f"the weights {self.name!r} have NaN or infinity and cannot be written to arrays")
        design, occasion = self.chip.design, f"write {self.writes}"
        if self.seed is None:
            self.seed = int.from_bytes(hashlib.sha256(weights.tobytes()).digest()[:6], "big")
        streams = Streams(self.seed)
        self._matrix = self._live.enter_context(
            program(
                weights,
                design,
                engine=self.chip.engine,
                rng=streams.devices(self.stream),
                noise_rng=streams.read_noise(self.stream, occasion),
                cycle_rng=streams.cycle(self.stream, occasion),
                name=self.name,
                siemens_per_weight=design.mapping.window(design.g_min, design.g_max) / self._range_of(weights),
            )
        )
        self.writes += 1
        return self._matrix

    def _range_of(self, weights: FloatArray) -> float:
        design = self.chip.design
        sizes = np.abs(weights)
        largest = float(sizes.max() if design.coverage == 1 else np.quantile(sizes, design.coverage))
        if self.range is None or (self.chip.weight_range is None and largest > self.range):
            self.range = max(design.headroom, HEADROOM) * (largest or 1.0)
        elif largest > self.range:
            warn(
                f"weights {self.name!r} reach {largest:.4g}, beyond weight_range={self.range:g}: the arrays clip them; "
                "give a larger weight_range, or None to follow the weights"
            )
        return self.range

    def pull(self, weights: FloatArray, x: FloatArray, cotangent: FloatArray) -> FloatArray:
        """The gradient of sum(cotangent * y(x)) with respect to x.

        Args:
            weights: (m, n) that were read.
            x: (n, batch).
            cotangent: (m, batch).

        Returns:
            (n, batch).
        """
        if self.chip.gradient == "digital":
            return weights.T @ cotangent
        matrix = self.written(weights)
        if self.chip.gradient == "transposed":
            return matrix.T.mv(cotangent)
        return self._read_derivative(matrix).pull(x, cotangent)

    def weight_gradient(self, weights: FloatArray, x: FloatArray, cotangent: FloatArray) -> FloatArray:
        """The gradient of sum(cotangent * y(x)) with respect to the weights, (m, n); arguments as for `pull`."""
        outer = cotangent @ x.T
        if self.chip.gradient != "true":
            return outer
        matrix = self.written(weights)
        derivative = self._read_derivative(matrix)
        devices = derivative.devices_of(outer) if derivative.linear else derivative.device_gradient(x, cotangent)
        return matrix.mapped.weight_gradient(weights, devices)

    def _read_derivative(self, matrix: AnalogMatrix) -> ReadDerivative:
        """One for each writing; for nonlinear cells, which are linearised at each input, for each call."""
        found = self._derivative or ReadDerivative(matrix.mapped)
        self._derivative = found if found.linear else None
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles know what to write, and write it themselves."""
        return {key: vars(self)[key] for key in ("chip", "name", "stream", "seed", "range", "writes")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget()
