"""New HDF5 files, written so that a disk that is full is an error and no more.

A write that fails leaves the HDF5 library with data that it can neither write nor drop: h5py
reports the error, and then the process ends by a segmentation fault when the file is closed. So the
library never sees a write fail here. What the disk refuses is kept in memory, and the error is
raised by us.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import h5py


@contextlib.contextmanager
def new_file(
    path: str | os.PathLike[str], **options: Any
) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """Create an HDF5 file; it is not atomic, the caller renames it.

    Args:
        path: the file, replaced if it exists.
        options: of :class:`h5py.File`.

    Yields:
        the file, and a function to be called after each large piece: it raises the error of a write
        that has failed.

    Raises:
        OSError: the file cannot be written. It is damaged then, for the caller to remove.
    """
    sink = _Sink(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666), os.fspath(path))
    try:
        with h5py.File(sink, "w", **options) as file:
            yield file, sink.check
        sink.check()
    finally:
        os.close(sink.descriptor)


class _Sink:
    """A file as h5py wants it, whose writes never fail."""

    def __init__(self, descriptor: int, name: str) -> None:
        self.descriptor = descriptor
        self._name = name
        self._position = 0
        self._size = 0
        self._error: OSError | None = None
        self._kept: list[tuple[int, bytes]] = []  # what could not be written, in order

    def check(self) -> None:
        if self._error is not None:
            raise OSError(self._error.errno, self._error.strerror, self._name)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        buffer = bytearray(self._size - self._position if size < 0 else size)
        return bytes(buffer[: self.readinto(buffer)])

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        n_bytes = max(0, min(len(view), self._size - self._position))
        done = 0
        while done < n_bytes and (
            n_read := os.preadv(self.descriptor, [view[done:n_bytes]], self._position + done)
        ):
            done += n_read
        view[done:n_bytes] = bytes(n_bytes - done)
        for start, content in self._kept:
            first = max(start, self._position)
            end = min(start + len(content), self._position + n_bytes)
            if first < end:
                piece = content[first - start : end - start]
                view[first - self._position : end - self._position] = piece
        self._position += n_bytes
        return n_bytes

    def write(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view) and self._error is None:
            try:
                done += os.pwrite(self.descriptor, view[done:], self._position + done)
            except OSError as error:
                self._error = error
        if done < len(view):
            self._kept.append((self._position + done, bytes(view[done:])))
        self._position += len(view)
        self._size = max(self._size, self._position)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        self._size = self._position if size is None else size
        if self._error is None:
            try:
                os.ftruncate(self.descriptor, self._size)
            except OSError as error:
                self._error = error
        return self._size

    def flush(self) -> None:
        pass  # nothing is buffered; the caller forces the file to disk
