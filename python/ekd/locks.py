"""Locks: only one process at a time writes to a folder or file.

A lock is an operating system lock (``flock``) on a dedicated file. It is released when the process
that holds it ends for any reason, so locks cannot become stale. On NFS, Linux uses a lock of the
file server, which other machines see. On file systems without locks, such as Lustre mounted with
``noflock``, a warning is issued.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shlex
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from ekd.errors import EKDError
from ekd.files import cannot_write

_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL}


def lock_file(path: str | os.PathLike[str]) -> Path:
    """Path of the lock file of a folder, in that folder."""
    return Path(path) / ".lock"


@contextlib.contextmanager
def locked_folder(path: str | os.PathLike[str], shared: bool = False) -> Iterator[None]:
    """Prevent other processes from writing to a folder during the block.

    Args:
        path: the folder, which is created if it is missing.
        shared: allow other processes with a shared lock to write at the same time.

    Raises:
        EKDError: another process has the lock, or the folder cannot be written to.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise EKDError(
            f"'{path}' is a file, and a folder is needed there; choose another name",
            code="EKD-RUN-012",
        )
    with _locked(lock_file(path), path, shared):
        yield


@contextlib.contextmanager
def locked_file(path: str | os.PathLike[str]) -> Iterator[None]:
    """Same as :func:`locked_folder` for a file, which need not exist; the lock is next to it."""
    path = Path(path)
    with _locked(path.with_name(f".{path.name}.lock"), path, shared=False):
        yield


@contextlib.contextmanager
def _locked(place: Path, path: Path, shared: bool) -> Iterator[None]:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from None
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context(_opened(place))
        while (held := _lock(lock, path, shared)) and not _is_still(lock, place):
            # The previous holder has removed the file in the meantime.
            lock = stack.enter_context(_opened(place))
        if held:
            _sign(lock, place)
        try:
            yield
        finally:
            if held:
                _remove(lock, place, shared)


def holder(lock: TextIO) -> str:
    """Describe the process that has signed a lock file."""
    lock.seek(0)
    try:
        found = json.loads(lock.read())
        return (
            f"process {found['pid']} on {found['host']}, since {found['since']} "
            f"({found['command']})"
        )
    except (ValueError, KeyError, TypeError, OSError):
        return "a process that has not signed yet"  # it has just acquired the lock


def acquire(lock: TextIO, path: str | os.PathLike[str], shared: bool = False) -> bool:
    """Lock an open file, and sign it.

    Args:
        lock: file that is open for reading and writing; closing it releases the lock.
        path: the locked file or folder, for messages.
        shared: as for :func:`locked_folder`.

    Returns:
        False if the file system has no locks; a warning is then issued.

    Raises:
        EKDError: another process has the lock.
    """
    if not _lock(lock, path, shared):
        return False
    _sign(lock, Path(lock.name))
    return True


def _lock(lock: TextIO, path: str | os.PathLike[str], shared: bool) -> bool:
    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        raise EKDError(
            f"another process is writing to '{path}': {holder(lock)}; wait until it has ended, end "
            "it, or write to another place",
            code="EKD-RUN-010",
        ) from None
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise cannot_write(lock.name, error) from None
        warnings.warn(
            f"'{path}' is on a file system without locks ({error.strerror}): make sure that no "
            "other process writes there",
            RuntimeWarning,
            stacklevel=4,
        )
        return False
    return True


@contextlib.contextmanager
def _opened(place: Path) -> Iterator[TextIO]:
    try:
        # Do not truncate it: another process may have signed it.
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise cannot_write(place, error) from None
    with os.fdopen(descriptor, "r+") as lock:
        yield lock


def _is_still(lock: TextIO, place: Path) -> bool:
    """Whether the open file is still the file at the path."""
    try:
        found = place.stat()
    except FileNotFoundError:
        return False
    own = os.fstat(lock.fileno())
    return (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino)


def _sign(lock: TextIO, place: Path) -> None:
    signature = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "command": _command(),
    }
    try:
        lock.seek(0)
        lock.truncate()
        lock.write(json.dumps(signature))
        lock.flush()
    except OSError as error:
        raise cannot_write(place, error) from None


def _command() -> str:
    """The command line, shortened."""
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name
    return shlex.join([name, *sys.argv[1:]])[:200]


def _remove(lock: TextIO, place: Path, shared: bool) -> None:
    """Remove the file, unless others share it."""
    if shared:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
    with contextlib.suppress(OSError):
        if _is_still(lock, place):
            place.unlink()
