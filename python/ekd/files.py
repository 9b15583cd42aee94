"""Files that are either complete or absent, and their checksums."""

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
    """Yield a temporary path beside ``path`` that replaces it when the block succeeds.

    A reader sees the old file or the new one, never a part: whatever stops the block, the old
    file stays. Missing parent folders are made. The temporary name keeps the suffix, because
    some writers choose the format by it.

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
        sync(path.parent)  # the rename itself must outlive a power cut
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if temporary.parent.is_dir():
            temporary.unlink(missing_ok=True)


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_json(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Write a JSON file that is complete or absent."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def cannot_write(path: str | os.PathLike[str], error: OSError) -> EKDError:
    """The error of a file or folder that the operating system does not let us write."""
    if error.errno in _FULL:
        return EKDError(
            f"cannot write '{path}': {os.strerror(error.errno or 0)} ({_room(Path(path))}); "
            "what was there before is intact. Make room, or raise the quota, and run the same "
            "command again",
            code="EKD-RUN-002",
        )
    return EKDError(
        f"cannot write '{path}': {error}; check the folder, its permissions and free space",
        code="EKD-RUN-002",
    )


def _room(path: Path) -> str:
    """How much room there is where a file is to be, in words."""
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
    """Remove a file or a folder with all that is in it; a link, but not what it leads to.

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
    """Remove temporary files that :func:`atomic_write` left beside ``path`` when it was killed.

    Only for files that nobody else writes at the time.
    """
    path = Path(path)
    for temporary in path.parent.glob(f".{path.stem}-{'[0-9a-f]' * 8}{path.suffix}"):
        with suppress(OSError):  # it does no harm; writing what takes its place tells the reason
            temporary.unlink(missing_ok=True)


@contextmanager
def exclusive(path: str | os.PathLike[str]) -> Iterator[None]:
    """Let one process at a time into the block; the others wait. A kill sets the next one free.

    Args:
        path: of a file that is made for this, and removed in the end.
    """
    while True:
        with Path(path).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                if os.fstat(lock.fileno()).st_ino != Path(path).stat().st_ino:
                    continue  # the one before has removed it, and another one may hold a new one
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
    """Make sure that nobody writes to a file while the block reads it.

    Raises:
        DataError: somebody has; what was read may be of two files.
    """
    before = state_of(path)
    yield
    require_state(path, before)


def require_state(path: str | os.PathLike[str], state: tuple[int, ...] | None) -> None:
    """Make sure that a file is still what it was, see :func:`state_of`.

    Raises:
        DataError: it is not.
    """
    if state_of(path) != state:
        raise DataError(
            f"'{path}' has changed while it was read; wait until it is complete, and start again",
            code="EKD-DATA-018",
        )


def state_of(path: str | os.PathLike[str]) -> tuple[int, ...] | None:
    """What tells a file from a changed one; None: it is not there."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def sync(path: str | os.PathLike[str]) -> None:
    """Wait until a file, or the names in a folder, would outlive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
