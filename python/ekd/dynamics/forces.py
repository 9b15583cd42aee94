"""Energies and forces of many copies of one structure that move simultaneously."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from numpy.typing import NDArray

from ekd.errors import EKDError
from ekd.inference import ExportedModel
from ekd.neighbor_list import batched_neighbor_list

Array = NDArray[np.float64]

_FURTHEST = 1e5
"""Å; copies with atoms beyond are lost, because the neighbor list would need too much memory."""


class Copies(Protocol):
    """Evaluates copies of a structure."""

    def evaluate(self, positions: Array) -> tuple[Array, Array]:
        """Return energies [n_copies] eV and forces [n_copies, n_atoms, 3] eV/Å."""


class FileCopies:
    """Evaluates all copies in one call of an exported model, without pairs between copies."""

    def __init__(self, path: Path, atoms: Atoms) -> None:
        self._model = ExportedModel(path)
        self._atoms = atoms
        self._species = self._model.species(atoms.numbers)

    def evaluate(self, positions: Array) -> tuple[Array, Array]:
        """See :class:`Copies`."""
        n_copies, n_atoms, _ = positions.shape
        pbc = self._atoms.pbc
        periodic = bool(pbc.any())
        pairs = batched_neighbor_list(
            positions.reshape(-1, 3),
            np.arange(n_copies + 1) * n_atoms,
            self._model.metadata.cutoff,
            np.tile(self._atoms.cell.array, (n_copies, 1, 1)) if periodic else None,
            np.tile(pbc, (n_copies, 1)) if periodic else None,
        )
        results = self._model.evaluate_pairs(np.tile(self._species, n_copies), pairs)
        energies = results.atomic_energies.reshape(n_copies, n_atoms).sum(axis=1)
        return energies, results.forces.reshape(positions.shape)


class CalculatorCopies:
    """Evaluates copies one by one with an ASE calculator."""

    def __init__(self, calculator: Calculator, atoms: Atoms) -> None:
        self._atoms = atoms.copy()
        self._atoms.calc = calculator

    def evaluate(self, positions: Array) -> tuple[Array, Array]:
        """See :class:`Copies`."""
        energies, forces = np.empty(len(positions)), np.empty_like(positions)
        for k, one in enumerate(positions):
            self._atoms.set_positions(one)
            energies[k] = self._atoms.get_potential_energy()
            forces[k] = self._atoms.get_forces()
        return energies, forces


class CopiesCalculator(Calculator):
    """Copies of a structure as one structure for the integrators of ASE.

    For a copy that cannot be evaluated, or has forces that are not finite, the kind of failure is
    stored in ``lost``. Its forces are then zero, and the other copies continue.

    Args:
        copies: evaluator of the copies.
        rest: positions of the structure.
        n_copies: number of copies.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, copies: Copies, rest: Array, n_copies: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._copies, self._rest = copies, rest
        self.lost: list[str | None] = [None] * n_copies
        self.energies = np.zeros(n_copies)
        """Energies of the last evaluation, [n_copies] eV."""

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """Check only positions: the complete check of ASE takes longer than a step."""
        if self.atoms is None:
            return list(all_changes)
        return [] if np.array_equal(self.atoms.positions, atoms.positions) else ["positions"]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Evaluate all copies that are not lost."""
        super().calculate(atoms, properties, system_changes)
        n_copies = len(self.lost)
        positions = self.atoms.positions.reshape(n_copies, -1, 3)
        with np.errstate(invalid="ignore"):
            sane = np.isfinite(positions).all(axis=(1, 2)) & (
                np.abs(positions).max(axis=(1, 2)) < _FURTHEST
            )
        for k in np.flatnonzero(~sane):
            self._lose(int(k), "numbers")
        alive = [k for k, lost in enumerate(self.lost) if lost is None]
        forces = np.zeros((n_copies, *self._rest.shape))
        if alive:
            energies, found = self._evaluate(positions, alive)
            self.energies[alive] = energies
            forces[alive] = found
            finite = np.isfinite(self.energies) & np.isfinite(forces).all(axis=(1, 2))
            for k in np.flatnonzero(~finite):
                self._lose(int(k), "numbers")
            forces[[lost is not None for lost in self.lost]] = 0.0
        self.results = {
            "energy": float(np.nan_to_num(self.energies).sum()),
            "forces": forces.reshape(-1, 3),
        }

    def _evaluate(self, positions: Array, alive: list[int]) -> tuple[Array, Array]:
        try:
            return self._copies.evaluate(positions[alive])
        except EKDError:
            pass  # caused by one copy: find out which below
        except Exception:  # from a third-party calculator
            pass
        energies, forces = np.zeros(len(alive)), np.zeros((len(alive), *self._rest.shape))
        for row, k in enumerate(alive):
            try:
                (energies[row],), (forces[row],) = self._copies.evaluate(positions[[k]])
            except Exception:  # any exception of the calculator ends the run
                self._lose(k, "engine")
        return energies, forces

    def _lose(self, k: int, how: str) -> None:
        if self.lost[k] is None:
            self.lost[k] = how
