"""Files as people have them: each with where it is found, and what must happen when it is read.

The files are written by the functions here, so that the repository holds no binary files, and so
that each oddity stands in one line. ``tests/unit/test_odd_files.py`` reads all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Read:
    """The file is read: these values, and these warnings but no others.

    Attributes:
        energies: eV.
        formulas: of the configurations; None: all are water.
        n_dropped: configurations that are left out.
        positions: Å, of the first configuration; None: not compared.
        forces: eV/Å, of the first configuration; None: not compared.
        pbc: of the first configuration; None: nothing is periodic.
        cell: Å, of the first configuration; None: not compared.
        warnings: one pattern for each warning.
    """

    energies: Sequence[float]
    formulas: Sequence[str] | None = None
    n_dropped: int = 0
    positions: Any = None
    forces: Any = None
    pbc: Sequence[bool] | None = None
    cell: Any = None
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Refused:
    """The file is refused with a message that has this pattern."""

    message: str


@dataclass(frozen=True)
class OddFile:
    """One file.

    Attributes:
        name: what is odd.
        found: where files like this come from.
        write: writes it into a folder and returns its path.
        outcome: what must happen.
        request: arguments of :func:`ekd.load_dataset`.
    """

    name: str
    found: str
    write: Callable[[Path], Path]
    outcome: Read | Refused
    request: Mapping[str, Any] = field(default_factory=dict)


WATER = np.array([[0.0, 0.0, 0.117], [0.0, 0.757, -0.471], [0.0, -0.757, -0.471]])
"""Å, of O, H, H."""

ENERGY = -2078.5127
"""eV, about the total energy of water."""


def waters(n: int, seed: int = 0) -> np.ndarray:
    """Distorted water molecules, [n, 3, 3] Å."""
    generator = np.random.default_rng(seed)
    return (WATER + generator.normal(scale=0.02, size=(n, 3, 3))).round(6)
