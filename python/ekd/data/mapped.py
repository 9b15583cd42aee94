"""Arrays that stay on disk: the operating system reads pages on access and drops unused ones.

Such an array is pickled as a reference to its file, so all worker processes share one copy in the
page cache.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard, cast

import numpy as np
from numpy.typing import NDArray

from ekd.errors import DataError


@dataclass(frozen=True)
class Reference:
    """An array in a file, given by its location."""

    path: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    """bytes before the array"""
    size: int
    """size of the file; with ``mtime_ns``, shows whether the file is unchanged"""
    mtime_ns: int

    @classmethod
    def to(
        cls, path: str | os.PathLike[str], dtype: Any, shape: tuple[int, ...], offset: int
    ) -> Reference:
        """Create a reference to an array in the current version of a file."""
        absolute = Path(path).absolute()
        found = absolute.stat()
        kind = np.dtype(dtype).str
        return cls(str(absolute), kind, shape, offset, found.st_size, found.st_mtime_ns)

    def open(self) -> np.memmap[Any, Any]:
        """Map the array, read-only.

        Raises:
            DataError: the file is missing or has changed.
        """
        try:
            found = Path(self.path).stat()
            if (found.st_size, found.st_mtime_ns) != (self.size, self.mtime_ns):
                raise DataError(
                    f"'{self.path}' has changed while it was in use; start again",
                    code="EKD-DATA-018",
                )
            return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)
        except OSError as error:
            raise DataError(
                f"'{self.path}' cannot be mapped: {error}; start again", code="EKD-DATA-018"
            ) from None


class Chained:
    """Concatenation of arrays along rows, some of them mapped, that are never joined in memory.

    It replaces an array where only ``len``, ``shape``, ``dtype`` and a selection of rows (by
    number, slice, mask or index array) are used. Any other use reads everything into memory.

    Args:
        parts: at least one array; all agree in everything but their length.
    """

    def __init__(self, parts: Sequence[NDArray[Any]]) -> None:
        self._parts = list(parts)
        self._starts = np.cumsum([0, *map(len, parts)])
        self.dtype = np.result_type(*(part.dtype for part in parts))
        self.shape: tuple[int, ...] = (int(self._starts[-1]), *parts[0].shape[1:])

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, rows: int | slice | NDArray[Any]) -> NDArray[Any]:
        if isinstance(rows, (int, np.integer)):
            row: NDArray[Any] = self[rows : rows + 1][0]
            return row
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                stop = max(start, stop)
                return np.concatenate(
                    [part[_within(part, start - first, stop - first)] for part, first in self]
                )
            rows = np.arange(start, stop, step)
        rows = np.arange(len(self))[rows] if rows.dtype == bool else rows
        result = np.empty((len(rows), *self.shape[1:]), self.dtype)
        owner = np.searchsorted(self._starts, rows, side="right") - 1
        for number, (part, first) in enumerate(self):
            mine = owner == number
            result[mine] = part[rows[mine] - first]
        return result

    def __iter__(self) -> Iterator[tuple[NDArray[Any], int]]:
        """Yield every part with the number of its first row."""
        return zip(self._parts, self._starts[:-1].tolist(), strict=True)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or self.dtype)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_parts": [_detached(part) for part in self._parts]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _parts=[_attached(part) for part in state["_parts"]])


def _within(part: NDArray[Any], start: int, stop: int) -> slice:
    return slice(min(max(start, 0), len(part)), min(max(stop, 0), len(part)))


def chain(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Concatenate arrays: in memory if none is mapped, otherwise as a :class:`Chained`."""
    if any(is_mapped(part) for part in parts):
        return cast("NDArray[Any]", Chained(parts))
    return np.concatenate(parts)


def is_mapped(array: object) -> bool:
    """Whether a whole array (not a view of a part) is mapped, or one of its parts is."""
    return isinstance(array, Chained) or _is_whole(array)


def _is_whole(array: object) -> TypeGuard[np.memmap[Any, Any]]:
    return isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap)


def row_blocks(array: NDArray[Any], n_rows: int = 1_000_000) -> Iterator[NDArray[Any]]:
    """Yield the rows of an array in blocks of ``n_rows``."""
    for start in range(0, len(array), n_rows):
        yield array[start : start + n_rows]


def read_ahead(
    array: NDArray[Any] | None, starts: NDArray[np.int64], stops: NDArray[np.int64]
) -> None:
    """Let the operating system read these ranges of rows in the background.

    Does nothing for an array in memory.
    """
    if isinstance(array, Chained):
        for part, start in array:
            mine = (starts >= start) & (starts < start + len(part))
            read_ahead(part, starts[mine] - start, stops[mine] - start)
        return
    if not _is_whole(array) or len(starts) == 0:
        return
    file: Any = array.base
    row = array.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))
    lead = array.offset % mmap.ALLOCATIONGRANULARITY  # numpy maps from the start of a page
    first = (lead + starts * row) // mmap.PAGESIZE
    last = (lead + stops * row - 1) // mmap.PAGESIZE
    for page in np.unique(np.stack([first, last], axis=1), axis=0):
        start, stop = (int(number) * mmap.PAGESIZE for number in (page[0], page[1] + 1))
        file.madvise(mmap.MADV_WILLNEED, start, min(stop, len(file)) - start)


def detach(state: dict[str, Any]) -> dict[str, Any]:
    """Replace mapped arrays with references, for pickling."""
    return {name: _detached(value) for name, value in state.items()}


def attach(state: dict[str, Any]) -> dict[str, Any]:
    """Map the arrays again that :func:`detach` replaced.

    Raises:
        DataError: a file is missing or has changed.
    """
    return {name: _attached(value) for name, value in state.items()}


def _detached(value: Any) -> Any:
    if not _is_whole(value) or value.filename is None:
        return value
    return Reference.to(value.filename, value.dtype, value.shape, value.offset)


def _attached(value: Any) -> Any:
    return value.open() if isinstance(value, Reference) else value
