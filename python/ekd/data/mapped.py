"""Arrays that stay on disk: the operating system reads what is touched and drops what is not.

Such an array travels to another process as a reference to its file, so that any number of worker
processes share one copy in the page cache.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd.errors import DataError


@dataclass(frozen=True)
class Reference:
    """An array in a file, by its place there."""

    path: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    """bytes before the array"""
    size: int
    """of the file, with ``mtime_ns`` what tells that it is still the same"""
    mtime_ns: int

    @classmethod
    def to(
        cls, path: str | os.PathLike[str], dtype: Any, shape: tuple[int, ...], offset: int
    ) -> Reference:
        """Refer to an array of a file as it is now."""
        absolute = Path(path).absolute()
        found = absolute.stat()
        kind = np.dtype(dtype).str
        return cls(str(absolute), kind, shape, offset, found.st_size, found.st_mtime_ns)

    def open(self) -> np.memmap[Any, Any]:
        """Map the array, read-only.

        Raises:
            DataError: the file is gone, or another one than it was.
        """
        try:
            found = Path(self.path).stat()
            if (found.st_size, found.st_mtime_ns) != (self.size, self.mtime_ns):
                raise DataError(f"'{self.path}' has changed while it was in use; start again")
            return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)
        except OSError as error:
            raise DataError(f"'{self.path}' cannot be mapped: {error}; start again") from None


def is_mapped(array: object) -> bool:
    """Whether this is a whole mapped array, and no view of a part of one."""
    return isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap)


def read_ahead(
    array: NDArray[Any] | None, starts: NDArray[np.int64], stops: NDArray[np.int64]
) -> None:
    """Have the operating system read these ranges of rows in the background.

    Does nothing for an array in memory.
    """
    if not isinstance(array, np.memmap) or not is_mapped(array):
        return
    file: Any = array.base
    row = array.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))
    lead = array.offset % mmap.ALLOCATIONGRANULARITY  # numpy maps from a page on
    first = (lead + starts * row) // mmap.PAGESIZE
    last = (lead + stops * row - 1) // mmap.PAGESIZE
    for page in np.unique(np.stack([first, last], axis=1), axis=0):
        start, stop = (int(number) * mmap.PAGESIZE for number in (page[0], page[1] + 1))
        file.madvise(mmap.MADV_WILLNEED, start, min(stop, len(file)) - start)


def detach(state: dict[str, Any]) -> dict[str, Any]:
    """Replace mapped arrays by references, for pickling."""
    return {
        name: Reference.to(value.filename, value.dtype, value.shape, value.offset)
        if is_mapped(value)
        else value
        for name, value in state.items()
    }


def attach(state: dict[str, Any]) -> dict[str, Any]:
    """Map again what :func:`detach` replaced.

    Raises:
        DataError: a file is gone or has changed.
    """
    return {
        name: value.open() if isinstance(value, Reference) else value
        for name, value in state.items()
    }
