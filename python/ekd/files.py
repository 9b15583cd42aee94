"""Files that are either complete or absent, and their checksums."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ekd.errors import EKDError


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
        raise EKDError(
            f"cannot write '{path}': {error}; check the folder, its permissions and free space",
            code="EKD-RUN-002",
        ) from error
    finally:
        if temporary.parent.is_dir():
            temporary.unlink(missing_ok=True)


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove temporary files that :func:`atomic_write` left beside ``path`` when it was killed.

    Only for files that nobody else writes at the time.
    """
    path = Path(path)
    for temporary in path.parent.glob(f".{path.stem}-{'[0-9a-f]' * 8}{path.suffix}"):
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


def sync(path: str | os.PathLike[str]) -> None:
    """Wait until a file, or the names in a folder, would outlive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
