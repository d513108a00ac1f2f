"""Measured conductances of a chip, as a design names them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from xbar_spice.checks import Array
from xbar_spice.disk import ARRAYS, npz_arrays, read_bytes
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
        arrays = npz_arrays(_content(design), InvalidInputError)
    except Exception as error:  # a damaged file brings readers that are not ours to raise anything
        raise InvalidInputError(
            f"conductances {design.conductances!r} must be an .npz file with one array for each matrix: {error}"
        ) from error
    if name not in arrays:
        raise InvalidInputError(
            f"{design.conductances}: an array for each matrix is needed, here {name!r}; got {list(arrays)}"
        )
    return Array()(f"conductances of {name}", arrays[name])


def map_hash(design: Design) -> str:
    """SHA-256 of the file of measured conductances."""
    return hashlib.sha256(_content(design)).hexdigest()


def _content(design: Design) -> bytes:
    path = Path(design.conductances or "").expanduser()
    return read_bytes(path, limit=ARRAYS, error=InvalidInputError, role="map of conductances")
