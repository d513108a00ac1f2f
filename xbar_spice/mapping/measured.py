"""Measured conductances of a chip, as a design names them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.mapping.design import Design

__all__ = ["conductance_map", "map_hash"]


def conductance_map(design: Design, name: str) -> FloatArray | None:
    """(devices, inputs, outputs) siemens that were measured for a matrix; None for a design that names no file.

    Raises:
        InvalidInputError: The file cannot be read, or has no array of this name.
    """
    if design.conductances is None:
        return None
    try:
        with np.load(Path(design.conductances).expanduser(), allow_pickle=False) as file:
            if name not in file.files:
                raise InvalidInputError(
                    f"{design.conductances}: an array for each matrix is needed, here {name!r}; got {file.files}"
                )
            return np.asarray(file[name], dtype=np.float64)
    except (OSError, ValueError, EOFError, AttributeError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(
            f"conductances {design.conductances!r} must be an .npz file with one array for each matrix: {error}"
        ) from error


def map_hash(design: Design) -> str:
    """SHA-256 of the file of measured conductances."""
    try:
        return hashlib.sha256(Path(design.conductances or "").expanduser().read_bytes()).hexdigest()
    except OSError as error:
        raise InvalidInputError(f"conductances {design.conductances!r} cannot be read: {error}") from error
