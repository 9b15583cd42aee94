"""Atomic numbers in the forms found in files: numbers or chemical symbols."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ekd.data.readers.source import check_numbers, mismatch
from ekd.elements import atomic_number
from ekd.errors import DataError

PADDING = 0
"""Fill value after the last atom, in arrays of molecules of different sizes."""


def read_numbers(key: str, array: NDArray[np.generic], path: Path, where: str) -> NDArray[np.int64]:
    """Return atomic numbers [n], equal for all configurations; or [m, n], possibly padded.

    Args:
        key: key of the array, for errors.
        array: [n] or [m, n]: atomic numbers, integers of any type; or symbols, bytes or text
            in any case. A row may be padded with 0 or -1 after the last atom.
        path: the file, for errors.
        where: the group, for errors.

    Raises:
        DataError: the array has another shape or type, or a value is not an element.
    """
    if array.ndim not in (1, 2):
        raise mismatch(path, where, key, array.shape, "(n,) or (m, n)")
    if array.dtype.kind in "fiu":
        values = np.asarray(array, dtype=np.float64)
        if not np.isfinite(values).all() or (values != np.round(values)).any():
            raise DataError(
                f"'{key}' of {where} in '{path}' are not whole numbers", code="EKD-DATA-029"
            )
        numbers = values.astype(np.int64)
        if array.ndim == 2 and array.shape[0]:
            numbers[numbers == -1] = PADDING
            filled = numbers == PADDING
            # Only after the last atom: before an atom it means something else, e.g. a ghost atom.
            behind = np.logical_and.accumulate(filled[:, ::-1], axis=1)[:, ::-1]
            check_numbers(path, numbers[~behind])
        else:
            check_numbers(path, numbers.reshape(-1))
        return numbers
    if array.dtype.kind not in "SUO":
        raise DataError(
            f"'{key}' of {where} in '{path}' is of type {array.dtype}; expected atomic numbers or "
            "chemical symbols",
            code="EKD-DATA-029",
        )
    symbols, inverse = np.unique(
        [text(entry).strip().capitalize() for entry in array.reshape(-1)], return_inverse=True
    )
    try:
        numbers = np.array([atomic_number(str(symbol)) for symbol in symbols], dtype=np.int64)
    except DataError as error:
        raise error.within(f"'{key}' of {where} in '{path}'") from None
    return numbers[inverse].reshape(array.shape)


def text(entry: object) -> str:
    """Convert text stored as text or bytes to a string."""
    return entry.decode("ascii", "replace") if isinstance(entry, bytes) else str(entry)
