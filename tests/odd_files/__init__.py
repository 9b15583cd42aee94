"""Unusual files that occur in practice, each with its origin and the required outcome.

The files are written by functions, so that the repository contains no binary files and each
peculiarity can be seen in the code. ``tests/unit/test_odd_files.py`` reads all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Read:
    """The file is read, with these values and exactly these warnings.

    Attributes:
        energies: energies, eV.
        formulas: formulas of the configurations; None: all are water.
        n_dropped: number of configurations that are dropped.
        positions: positions of the first configuration, Å; None: not compared.
        forces: forces on the first configuration, eV/Å; None: not compared.
        pbc: periodic directions of the first configuration; None: not periodic.
        cell: cell of the first configuration, Å; None: not compared.
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
    """The file is refused with a message that matches this pattern."""

    message: str


@dataclass(frozen=True)
class OddFile:
    """An unusual file.

    Attributes:
        name: what is unusual.
        found: where files like this come from.
        write: writes the file to a folder and returns its path.
        outcome: required outcome of reading the file.
        request: arguments of :func:`ekd.load_dataset`.
    """

    name: str
    found: str
    write: Callable[[Path], Path]
    outcome: Read | Refused
    request: Mapping[str, Any] = field(default_factory=dict)


WATER = np.array([[0.0, 0.0, 0.117], [0.0, 0.757, -0.471], [0.0, -0.757, -0.471]])
"""Positions of O, H and H, Å."""

ENERGY = -2078.5127
"""Approximate total energy of water, eV."""


def waters(n: int, seed: int = 0) -> np.ndarray:
    """Distorted water molecules, [n, 3, 3] Å."""
    generator = np.random.default_rng(seed)
    return (WATER + generator.normal(scale=0.02, size=(n, 3, 3))).round(6)
