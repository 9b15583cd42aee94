"""Energy drift of runs at constant energy, and intact water molecules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Drift:
    """Change of the total energy of a run at constant energy.

    ``slope`` is the systematic part, eV/atom/ps. ``max_deviation`` (eV/atom) also includes
    fluctuations due to the finite time step.
    """

    slope: float
    max_deviation: float


def energy_drift(time: ArrayLike, total_energy: ArrayLike, n_atoms: int) -> Drift:
    """Fit a straight line to the total energy.

    Args:
        time: at least two different times, [n_samples] ps.
        total_energy: total energy of the system, [n_samples] eV.
        n_atoms: number of atoms.

    Returns:
        The slope of the line, and the largest deviation from the first sample.
    """
    time, energy = np.asarray(time, dtype=float), np.asarray(total_energy, dtype=float)
    if len(time) < 2 or time.shape != energy.shape or np.ptp(time) == 0:
        raise ValueError("the drift needs the total energy at two or more different times")
    # Energies are thousands of eV, but the drift is micro-eV: subtract the offset before the fit.
    deviation = (energy - energy[0]) / n_atoms
    centred = time - time.mean()
    slope = float(centred @ deviation / (centred @ centred))
    return Drift(slope=slope, max_deviation=float(np.max(np.abs(deviation))))


def intact_waters(atoms: Atoms, bond_length: float = 1.35) -> float:
    """Return the fraction of oxygen atoms with exactly two bonded hydrogen atoms.

    Args:
        atoms: a structure with H and O.
        bond_length: maximum O-H distance of a bond, Å; the default is halfway between the covalent
            bond (0.97) and the hydrogen bond (1.8).
    """
    numbers = atoms.get_atomic_numbers()
    centres, neighbors = neighbor_list("ij", atoms, bond_length)
    bonds = centres[(numbers[centres] == 8) & (numbers[neighbors] == 1)]
    n_bonds = np.bincount(bonds, minlength=len(atoms))[numbers == 8]
    return float(np.mean(n_bonds == 2))
