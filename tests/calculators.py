"""Calculators for ASE teachers in tests: analytic, slow, incomplete, or broken."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes


class Springs(Calculator):
    """Every atom on a spring to the center of its molecule: ``E = k/2 sum |r - mean r|^2``.

    Args:
        k: spring constant, eV/Å².
        path: file with an additional factor.
        seconds: duration of a calculation.
        knows: supported elements; others raise a KeyError, as in many calculators.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(
        self, k: float = 1.0, path: str = "", seconds: float = 0.0, knows: str = "", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.k = k * (float(Path(path).read_text()) if path else 1.0)
        self.seconds = seconds
        self.knows = knows.split()

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        time.sleep(self.seconds)
        for symbol in self.atoms.symbols:
            if self.knows and symbol not in self.knows:
                raise KeyError(symbol)
        shifts = self.atoms.positions - self.atoms.positions.mean(axis=0)
        self.results = {"energy": 0.5 * self.k * (shifts**2).sum(), "forces": -self.k * shifts}


class Drifting(Springs):
    """Returns another energy every time, like a calculator with internal state."""

    count = 0

    def calculate(self, *arguments: Any, **kwargs: Any) -> None:
        super().calculate(*arguments, **kwargs)
        self.count += 1
        self.results["energy"] += self.count


class EnergyOnly(Springs):
    """Calculator without forces."""

    implemented_properties: ClassVar[list[str]] = ["energy"]


class NotFinite(Springs):
    """Fails silently with NaN."""

    def calculate(self, *arguments: Any, **kwargs: Any) -> None:
        super().calculate(*arguments, **kwargs)
        self.results["forces"] = self.results["forces"] * np.nan


class OneForce(Springs):
    """Returns the force on one atom only."""

    def calculate(self, *arguments: Any, **kwargs: Any) -> None:
        super().calculate(*arguments, **kwargs)
        self.results["forces"] = self.results["forces"][0]


class Crashing(Springs):
    """Ends the process, like a crash in compiled code."""

    def calculate(self, *arguments: Any, **kwargs: Any) -> None:
        os._exit(7)


def springs(k: float) -> Springs:
    """Function that returns a calculator."""
    return Springs(k)


def nothing() -> None:
    """Function that does not return a calculator."""
