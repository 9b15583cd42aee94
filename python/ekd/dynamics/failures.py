"""Failure criteria of runs: broken bonds, close contacts, temperature, energy, NaN."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.data import covalent_radii
from ase.geometry import find_mic
from numpy.typing import NDArray
from scipy import stats

from ekd.dynamics.stability_settings import FailureConfig
from ekd.errors import StructureError
from ekd.neighbor_list import neighbor_list

Array = NDArray[np.float64]

KINDS = {
    "bond": "a bond broke",
    "contact": "atoms came too close",
    "temperature": "too hot",
    "energy": "the potential energy changed too much",
    "numbers": "energy or forces were not finite",
    "engine": "the calculator or LAMMPS failed",
}
"""Kinds of failures, with descriptions."""


class Watch:
    """Checks the frames of runs that start from one structure.

    Args:
        atoms: starting structure, whose bonds are the reference.
        limits: failure criteria.
        temperature: temperature of the thermostat, K.
    """

    def __init__(self, atoms: Atoms, limits: FailureConfig, temperature: float) -> None:
        self.atoms, self.limits = atoms, limits
        self._radii = covalent_radii[atoms.numbers]
        closest = 2 * float(self._radii.max())
        found = neighbor_list(
            atoms.positions, limits.bond_factor * closest, atoms.cell.array, atoms.pbc
        )
        i, j = found.pairs
        length = np.linalg.norm(found.pair_vectors, axis=1)
        bonded = (length < limits.bond_factor * (self._radii[i] + self._radii[j])) & (i < j)
        self.bonds: NDArray[np.int64] = np.unique(found.pairs[:, bonded], axis=1)
        """Pairs of bonded atoms, [2, n_bonds]."""
        self._longest = limits.broken_factor * self._radii[self.bonds].sum(axis=0)
        self._contact_range = limits.contact_factor * closest
        freedom = 3 * len(atoms)
        factor = float(stats.chi2.isf(limits.false_alarm, freedom)) / freedom
        self.hottest = factor * temperature
        """Temperature above which a run is too hot, K."""

    def look(self, positions: Array, temperature: float, energy_change: float) -> str | None:
        """Return the failure of a frame, a key of :data:`KINDS`; None if it has not failed.

        Args:
            positions: positions of the atoms, [n_atoms, 3] Å.
            temperature: temperature of the frame, K.
            energy_change: change of the potential energy since the start, eV.
        """
        if not (np.isfinite(positions).all() and np.isfinite(temperature + energy_change)):
            return "numbers"
        if self.bonds.size and (self._lengths(positions) > self._longest).any():
            return "bond"
        if self._in_contact(positions):
            return "contact"
        if abs(energy_change) > self.limits.energy_limit * len(self.atoms):
            return "energy"
        return "temperature" if temperature > self.hottest else None

    def _lengths(self, positions: Array) -> Array:
        vectors = positions[self.bonds[1]] - positions[self.bonds[0]]
        if self.atoms.pbc.any():
            vectors, _ = find_mic(vectors, self.atoms.cell, self.atoms.pbc)
        lengths: Array = np.linalg.norm(vectors, axis=1)
        return lengths

    def _in_contact(self, positions: Array) -> bool:
        if self._contact_range <= 0 or np.abs(positions).max() > 1e6:
            return False
        try:
            found = neighbor_list(
                positions, self._contact_range, self.atoms.cell.array, self.atoms.pbc
            )
        except StructureError:  # on top of each other
            return True
        i, j = found.pairs
        allowed = self.limits.contact_factor * (self._radii[i] + self._radii[j])
        return bool((np.linalg.norm(found.pair_vectors, axis=1) < allowed).any())


def temperature_of(momenta: Array, masses: Array) -> float:
    """Return the kinetic temperature for 3 N degrees of freedom, K."""
    return float(np.sum(momenta**2 / masses[:, None]) / (3 * len(masses) * units.kB))
