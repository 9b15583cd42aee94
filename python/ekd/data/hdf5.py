"""What is checked of an HDF5 file before its arrays are read, and texts in ours."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ekd.errors import DataError

_RATIO = 2000
"""How much smaller than its content an array may be: gzip makes zeros 1032 times smaller."""
_ALWAYS_POSSIBLE = 2**22
"""bytes"""

WRITTEN_AS = ("v110", "v110")
"""Versions of the layout, for ``libver`` of h5py: in this one HDF5 has a checksum of all that says
where things are. What it makes of damage in older ones depends on the damage."""

SEAL = "attributes_sha256"
"""Attribute with the SHA-256 of all others; files of earlier versions lack it."""


def require_possible_size(array: h5py.Dataset) -> None:
    """Refuse an array that says that it holds more than its file can.

    HDF5 gives zeros for what was never written, so that a damaged size of a small file could fill
    the memory.

    Raises:
        DataError: it does.
    """
    if not isinstance(array, h5py.Dataset) or array.is_virtual or array.external:
        return  # its numbers are in other files
    n_bytes = max(array.size or 0, len(array) if array.ndim else 0) * max(array.dtype.itemsize, 1)
    path = array.file.filename
    size = Path(path).stat().st_size
    if n_bytes > max(_RATIO * size, _ALWAYS_POSSIBLE):
        raise DataError(
            f"'{array.name}' in '{path}' has the shape {array.shape}, which is {n_bytes} bytes, "
            f"but the file has {size}: it is damaged; copy or download it again",
            code="EKD-DATA-027",
        )


def fixed_text(values: str | Sequence[str]) -> NDArray[np.bytes_]:
    """Texts of one length, UTF-8, as HDF5 stores them where the rest of an array or attribute is.

    What h5py makes of a ``str`` lies in a heap of texts of different lengths. That heap has no
    checksum, and HDF5 may not come back from reading a damaged one.

    Args:
        values: one, or any number of them.

    Returns:
        an array for h5py, with a shape of () or (number of values,).
    """
    encoded = values.encode() if isinstance(values, str) else [value.encode() for value in values]
    longest = max(map(len, [encoded] if isinstance(encoded, bytes) else encoded), default=0)
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", max(longest, 1)))


def plain_text(value: Any) -> Any:
    """An attribute as ``str`` if it is a text of either kind, otherwise as it is."""
    return value.decode() if isinstance(value, bytes) else value


def seal(file: h5py.File) -> None:
    """Write the checksum of the attributes that the file has by now."""
    file.attrs[SEAL] = fixed_text(_digest(file))


def check_seal(file: h5py.File) -> None:
    """Compare the checksum of the attributes, where the file has one.

    Raises:
        ValueError: it is not that of the attributes.
    """
    if SEAL in file.attrs and plain_text(file.attrs[SEAL]) != _digest(file):
        raise ValueError("its attributes are not those that were written")


def _digest(file: h5py.File) -> str:
    def plain(value: Any) -> Any:
        value = plain_text(value)
        return value.item() if hasattr(value, "item") else value

    attributes = {name: plain(value) for name, value in file.attrs.items() if name != SEAL}
    return hashlib.sha256(json.dumps(attributes, sort_keys=True).encode()).hexdigest()
