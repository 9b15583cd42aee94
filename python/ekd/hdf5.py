"""New HDF5 files, written so that a full disk raises an error instead of crashing the process.

After a failed write, the HDF5 library holds data that it can neither write nor discard: h5py
reports the error, and the process then crashes with a segmentation fault when the file is closed.
Here the library therefore never sees a write fail: data that cannot be written are kept in memory,
and the error is raised afterwards.
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
    """Create an HDF5 file. This is not atomic: the caller renames it.

    Args:
        path: the file, replaced if it exists.
        options: options of :class:`h5py.File`.

    Yields:
        The file, and a function to call after each large piece, which raises the error of a failed
        write.

    Raises:
        OSError: the file cannot be written. It is then damaged, and the caller must remove it.
    """
    sink = _Sink(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666), os.fspath(path))
    try:
        with h5py.File(sink, "w", **options) as file:
            yield file, sink.check
        sink.check()
    finally:
        os.close(sink.descriptor)


class _Sink:
    """File-like object for h5py whose writes never fail."""

    def __init__(self, descriptor: int, name: str) -> None:
        self.descriptor = descriptor
        self._name = name
        self._position = 0
        self._size = 0
        self._error: OSError | None = None
        self._kept: list[tuple[int, bytes]] = []  # data that could not be written, in order

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
        pass  # nothing is buffered; the caller syncs the file
