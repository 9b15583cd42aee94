"""Checks of HDF5 files before their arrays are read, and storage of text in files of ekd."""

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
"""Largest compression ratio that is accepted; gzip compresses zeros by a factor of 1032."""
_ALWAYS_POSSIBLE = 2**22
"""bytes"""

WRITTEN_AS = ("v110", "v110")
"""Versions of the file layout, for ``libver`` of h5py. In this version HDF5 protects its metadata
by checksums; with older versions, the effect of damage is unpredictable."""

SEAL = "attributes_sha256"
"""Attribute with the SHA-256 of all other attributes; files of earlier versions lack it."""


def require_possible_size(array: h5py.Dataset) -> None:
    """Refuse an array whose stated size is larger than its file can hold.

    HDF5 returns zeros for data that were never written, so a damaged size in a small file could
    fill the memory.

    Raises:
        DataError: the array is too large for its file.
    """
    if not isinstance(array, h5py.Dataset) or array.is_virtual or array.external:
        return  # the values are in other files
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
    """Convert text to fixed-length UTF-8, which HDF5 stores inside the array or attribute.

    By default, h5py stores a ``str`` in a heap for text of variable length. That heap has no
    checksum, and HDF5 may hang when it reads a damaged one.

    Args:
        values: one text or a sequence of texts.

    Returns:
        array for h5py, shape () or (number of values,).
    """
    encoded = values.encode() if isinstance(values, str) else [value.encode() for value in values]
    longest = max(map(len, [encoded] if isinstance(encoded, bytes) else encoded), default=0)
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", max(longest, 1)))


def plain_text(value: Any) -> Any:
    """Convert an attribute to ``str`` if it is text of either kind; return others unchanged."""
    return value.decode() if isinstance(value, bytes) else value


def seal(file: h5py.File) -> None:
    """Write the checksum of all attributes that the file has at this point."""
    file.attrs[SEAL] = fixed_text(_digest(file))


def check_seal(file: h5py.File) -> None:
    """Verify the checksum of the attributes, if the file has one.

    Raises:
        ValueError: the checksum does not match.
    """
    if SEAL in file.attrs and plain_text(file.attrs[SEAL]) != _digest(file):
        raise ValueError("its attributes are not those that were written")


def _digest(file: h5py.File) -> str:
    def plain(value: Any) -> Any:
        value = plain_text(value)
        return value.item() if hasattr(value, "item") else value

    attributes = {name: plain(value) for name, value in file.attrs.items() if name != SEAL}
    return hashlib.sha256(json.dumps(attributes, sort_keys=True).encode()).hexdigest()
