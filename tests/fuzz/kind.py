"""Base class of the kinds of files that are damaged."""

from __future__ import annotations

import hashlib
import random
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from mutations import Mutation

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"


class Wrong(Exception):  # noqa: N818  # describes a reader, not an error
    """The behavior of a reader is a finding."""


class Kind(ABC):
    """A kind of file.

    Attributes:
        name: name in the table.
        suffix: suffix of the files.
        outside: folders of packages whose crashes are not findings.
    """

    name: str
    suffix: str
    outside: tuple[str, ...] = ()

    @abstractmethod
    def make(self, folder: Path) -> None:
        """Write valid files to an empty folder."""

    @abstractmethod
    def mutate(self, content: bytes, rng: random.Random) -> Mutation:
        """Damage a file."""

    @abstractmethod
    def read(self, path: Path) -> str:
        """Read a file; returns a digest of its contents.

        Raises:
            EKDError: the file is refused.
            Wrong: the file is accepted, but should be refused.
        """


def digest(value: Any) -> str:
    """SHA-256 of plain types and arrays, including their types."""
    found = hashlib.sha256()

    def add(part: Any) -> None:
        found.update(type(part).__name__.encode())
        if isinstance(part, dict):
            for key in part:
                add(key)
                add(part[key])
        elif isinstance(part, (list, tuple)):
            found.update(str(len(part)).encode())
            for each in part:
                add(each)
        elif hasattr(part, "detach"):
            add(part.detach().cpu().numpy())
        elif isinstance(part, np.ndarray):
            found.update(f"{part.dtype} {part.shape}".encode())
            data = part.tolist() if part.dtype.kind in "OU" else part.tobytes()
            found.update(data if isinstance(data, bytes) else repr(data).encode())
        else:
            found.update(repr(part).encode())

    add(value)
    return found.hexdigest()


def digest_of_data(data: Any) -> str:
    """Digest of a dataset; types of integers may differ."""
    names = ("atomic_numbers", "positions", "offsets", "energies", "groups", "forces")
    arrays = [np.asarray(getattr(data, name)) for name in names]
    arrays[0] = arrays[0].astype(np.int64)
    rest = [data.cells, data.pbc, dict(data.reference_energies or {}), data.fingerprint]
    return digest([*arrays, *rest])


def digest_of_data_file(path: Path, **request: str) -> str:
    """Digest of a file that ``ekd.load_dataset`` reads.

    Raises:
        EKDError: the file is refused.
        Wrong: there are numbers that are not finite.
    """
    from ekd.data import load_dataset

    data = load_dataset(path, **request)
    if not np.isfinite(data.positions).all() or not np.isfinite(data.energies).all():
        raise Wrong("numbers that are not finite")
    return digest_of_data(data)
