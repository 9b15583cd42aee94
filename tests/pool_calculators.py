"""Fast calculators for tests of pools, which can be made to fail."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes

DEATH = "EKD_TEST_DEATH"
"""Environment variable: ``FILE:N``; the process ends at the N-th geometry counted in the file."""


class PairSprings(Calculator):
    """A weak repulsion of all pairs: ``E = sum over pairs of 0.1 eV Å / r``.

    Args:
        fails_beyond: number of atoms; larger structures fail like those of tblite.
        memory: eV; error of an energy per previous calculation.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, fails_beyond: int = 10**6, memory: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fails_beyond, self.memory = fails_beyond, memory
        self.n_calls = 0

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        if DEATH in os.environ:
            path, _, number = os.environ[DEATH].rpartition(":")
            with Path(path).open("a") as file:
                file.write(".")
            if Path(path).stat().st_size >= int(number):
                os._exit(9)
        if len(self.atoms) > self.fails_beyond:
            raise CalculationFailed("SCF not converged\nin 250 cycles")
        vectors = self.atoms.positions[:, None] - self.atoms.positions
        distances = np.linalg.norm(vectors, axis=-1)
        np.fill_diagonal(distances, np.inf)
        self.results = {
            "energy": 0.05 * (1 / distances).sum() + self.memory * self.n_calls,
            "forces": 0.1 * (vectors / distances[..., None] ** 3).sum(1),
        }
        self.n_calls += 1


class Broken(PairSprings):
    """Always fails."""

    def calculate(self, *arguments: Any, **kwargs: Any) -> None:
        raise KeyError("no parameters")


class Uncertain(PairSprings):
    """Returns NaN for structures with oxygen."""

    def calculate(self, *arguments: Any, **kwargs: Any) -> None:
        super().calculate(*arguments, **kwargs)
        if 8 in self.atoms.numbers:
            self.results["forces"] = self.results["forces"] * np.nan
