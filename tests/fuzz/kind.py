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
