"""Does a run at constant energy keep its energy, and do molecules stay whole?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Drift:
    """How the total energy of a run at constant energy moves.

    ``slope`` is the systematic part, eV/atom/ps. ``max_deviation`` (eV/atom) also holds the
    fluctuation that any finite time step brings with it.
    """

    slope: float
    max_deviation: float


def energy_drift(time: ArrayLike, total_energy: ArrayLike, n_atoms: int) -> Drift:
    """Fit a straight line to the total energy.

    Args:
        time: [n_samples] ps, at least two different times.
        total_energy: [n_samples] eV, of the whole system.
        n_atoms: atoms in the system.

    Returns:
        the slope of the line, and the largest distance of any sample from the first one.
    """
    time, energy = np.asarray(time, dtype=float), np.asarray(total_energy, dtype=float)
    if len(time) < 2 or time.shape != energy.shape or np.ptp(time) == 0:
        raise ValueError("the drift needs the total energy at two or more different times")
    # Energies are thousands of eV, the drift is micro-eV: take the offset away before the fit.
    deviation = (energy - energy[0]) / n_atoms
    centred = time - time.mean()
    slope = float(centred @ deviation / (centred @ centred))
    return Drift(slope=slope, max_deviation=float(np.max(np.abs(deviation))))


def intact_waters(atoms: Atoms, bond_length: float = 1.35) -> float:
    """Return the share of oxygen atoms that hold exactly two hydrogen atoms.

    Args:
        atoms: a structure with H and O.
        bond_length: O-H distance (Å) that counts as a bond; half way between the covalent bond
            (0.97) and the hydrogen bond (1.8).
    """
    numbers = atoms.get_atomic_numbers()
    centres, neighbors = neighbor_list("ij", atoms, bond_length)
    bonds = centres[(numbers[centres] == 8) & (numbers[neighbors] == 1)]
    n_bonds = np.bincount(bonds, minlength=len(atoms))[numbers == 8]
    return float(np.mean(n_bonds == 2))
