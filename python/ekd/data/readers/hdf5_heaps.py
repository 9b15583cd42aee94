"""Reading text of variable length from HDF5 files.

HDF5 keeps such text, the default of h5py for ``str``, in global heap collections (HDF5 File Format
Specification, III.E). They have no checksum, and HDF5 may loop without end over a damaged one. So
the collections of a file are checked before their first text is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"GCOL\x01\0\0\0"
"""Start of a collection: signature, version and reserved bytes."""
_BLOCK = 2**24
"""bytes that are searched at a time"""


class Attributes(Mapping[str, Any]):
    """Attributes of a group or an array; see :func:`values_of` for errors.

    Args:
        item: a group or an array of an open file.
    """

    def __init__(self, item: h5py.Group | h5py.Dataset) -> None:
        self._item = item

    def __getitem__(self, name: str) -> Any:
        attributes = self._item.attrs
        if not _is_checked(self._item) and attributes.get_id(name).dtype.hasobject:
            _check_file(self._item)
        return attributes[name]

    def __contains__(self, name: object) -> bool:
        return name in self._item.attrs

    def __iter__(self) -> Iterator[str]:
        return iter(self._item.attrs)

    def __len__(self) -> int:
        return len(self._item.attrs)


def values_of(dataset: h5py.Dataset) -> NDArray[Any]:
    """Read all values of an array of any type.

    Raises:
        OSError: the array has a variable length, and a heap collection of its file is damaged.
    """
    if not _is_checked(dataset) and dataset.dtype.hasobject:
        _check_file(dataset)
    return np.asarray(dataset)


_checked: set[int] = set()
"""Open files that have been checked, by the number that HDF5 gives to each opening of a file."""


def _is_checked(item: h5py.Group | h5py.Dataset) -> bool:
    return h5py.h5o.get_info(item.id).fileno in _checked


def _check_file(item: h5py.Group | h5py.Dataset) -> None:
    path = Path(os.fsdecode(h5py.h5f.get_name(item.id)))
    status = path.stat()
    _, size_of_sizes = item.file.id.get_create_plist().get_sizes()
    _check(path, size_of_sizes, (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
    _checked.add(h5py.h5o.get_info(item.id).fileno)


@lru_cache(maxsize=256)
def _check(path: Path, size_of_sizes: int, identity: tuple[int, ...]) -> None:
    """Check all collections, once for each state of a file."""
    with path.open("rb") as file:
        for start in _collections(file):
            _check_collection(file, start, size_of_sizes, file_size=identity[2])


def _collections(file: IO[bytes]) -> Iterator[int]:
    """Positions of all collections in a file."""
    start = 0
    overlap = len(_SIGNATURE) - 1
    while True:
        file.seek(start)
        block = file.read(_BLOCK + overlap)
        found = block.find(_SIGNATURE)
        while found >= 0:
            yield start + found
            found = block.find(_SIGNATURE, found + 1)
        if len(block) < _BLOCK + overlap:
            return
        start += _BLOCK


def _check_collection(file: IO[bytes], start: int, size_of_sizes: int, file_size: int) -> None:
    def aligned(n_bytes: int) -> int:
        return -(-n_bytes // 8) * 8

    def damaged(reason: str) -> OSError:
        return OSError(f"the text of variable length at byte {start} is damaged: {reason}")

    header = aligned(len(_SIGNATURE) + size_of_sizes)
    object_header = aligned(8 + size_of_sizes)
    file.seek(start + len(_SIGNATURE))
    size = int.from_bytes(file.read(size_of_sizes), "little")
    if not header <= size <= file_size - start:
        raise damaged(f"a collection of {size} bytes")
    at = header
    while at + object_header <= size:
        file.seek(start + at)
        entry = file.read(8 + size_of_sizes)
        index = int.from_bytes(entry[:2], "little")
        length = int.from_bytes(entry[8:], "little")
        # The size of free space, which has the index 0, includes the header.
        step = object_header + aligned(length) if index else length
        if not object_header <= step <= size - at:
            raise damaged(f"an entry of {length} bytes, {size - at} before the end")
        at += step
