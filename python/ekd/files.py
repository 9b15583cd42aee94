"""Atomic file writes, file locks for short blocks, and checksums."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ekd.errors import DataError, EKDError


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path next to ``path``; it replaces ``path`` when the block succeeds.

    Readers see either the old or the new file, never an incomplete one: if the block fails, the old
    file is kept. Missing parent folders are created. The temporary name keeps the suffix, because
    some writers use it to choose the format.

    Raises:
        EKDError: the operating system refuses (no permission, disk full).
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)  # the rename itself must survive a power failure
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if temporary.parent.is_dir():
            temporary.unlink(missing_ok=True)


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_json(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def cannot_write(path: str | os.PathLike[str], error: OSError) -> EKDError:
    """Return the error for a file or folder that cannot be written."""
    if error.errno in _FULL:
        return EKDError(
            f"cannot write '{path}': {os.strerror(error.errno or 0)} ({_room(Path(path))}); "
            "previous files are intact. Free disk space, or raise the quota, and run the same "
            "command again",
            code="EKD-RUN-002",
        )
    return EKDError(
        f"cannot write '{path}': {error}; check the folder, its permissions and free space",
        code="EKD-RUN-002",
    )


def _room(path: Path) -> str:
    """Describe the free disk space in the folder of a path."""
    folder = path.absolute().parent
    while not folder.is_dir():
        folder = folder.parent
    found = shutil.disk_usage(folder)
    return f"{_size(found.free)} free of {_size(found.total)} in '{folder}'"


def _size(n_bytes: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.4g} TiB"


def remove(path: str | os.PathLike[str]) -> None:
    """Remove a file, or a folder with its contents; of a symbolic link, only the link itself.

    Raises:
        EKDError: the operating system refuses.
    """
    path = Path(path)
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise EKDError(
            f"cannot remove '{path}': {error}; check its permissions", code="EKD-RUN-011"
        ) from None


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove temporary files next to ``path`` that a killed :func:`atomic_write` left behind.

    No other process may be writing the file at the same time.
    """
    path = Path(path)
    for temporary in path.parent.glob(f".{path.stem}-{'[0-9a-f]' * 8}{path.suffix}"):
        with suppress(OSError):  # harmless; the next write to the folder reports the reason
            temporary.unlink(missing_ok=True)


@contextmanager
def exclusive(path: str | os.PathLike[str]) -> Iterator[None]:
    """Let one process at a time enter the block; the others wait. A kill releases the lock.

    Args:
        path: lock file, which is created and finally removed.
    """
    while True:
        with Path(path).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                if os.fstat(lock.fileno()).st_ino != Path(path).stat().st_ino:
                    continue  # the previous holder removed it; another process may hold a new one
            except FileNotFoundError:
                continue
            try:
                yield
            finally:
                Path(path).unlink(missing_ok=True)
            return


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def unchanged(path: str | os.PathLike[str]) -> Iterator[None]:
    """Check that a file does not change while the block reads it.

    Raises:
        DataError: it has changed, so the block may have read parts of two versions.
    """
    before = state_of(path)
    yield
    require_state(path, before)


def require_state(path: str | os.PathLike[str], state: tuple[int, ...] | None) -> None:
    """Check that a file has not changed since :func:`state_of`.

    Raises:
        DataError: it has changed.
    """
    if state_of(path) != state:
        raise DataError(
            f"'{path}' has changed while it was read; wait until it is complete, and start again",
            code="EKD-DATA-018",
        )


def state_of(path: str | os.PathLike[str]) -> tuple[int, ...] | None:
    """Return values that change when a file changes; None if it does not exist."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def sync(path: str | os.PathLike[str]) -> None:
    """Flush a file, or the entries of a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
