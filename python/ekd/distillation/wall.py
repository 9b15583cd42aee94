"""Disagreement penalty (wall): raises the energy where the teachers disagree.

Far from the data, the energy of an ensemble can be much too low, and that of a student trained on
its forces too. The wall keeps the dynamics in the region where the teachers agree.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ekd.config import WallConfig

Array = NDArray[np.float64]


def wall_of_spread(
    energies: Array, forces: Array, n_atoms: NDArray[np.int64], wall: WallConfig
) -> tuple[Array, Array]:
    """Compute energy and forces of the wall.

    ``W = strength * (s - s0)^2 / s`` if ``s > s0``, otherwise zero, where s is the population
    standard deviation of the energies and ``s0 = onset * sqrt(n_atoms)``. W and dW/ds are
    continuous, and dW/ds approaches ``strength`` far above s0. The forces are the exact negative
    gradient, with ``ds/dr = mean((E_m - mean E) dE_m/dr) / s``. (In contrast, uncertainty-driven
    dynamics, Kulichenko et al., Nat. Comput. Sci. 3, 230 (2023), lowers the energy where models
    disagree, in order to explore these regions.)

    Args:
        energies: energies of each teacher, [n_teachers, n_configs] eV.
        forces: forces of each teacher, [n_teachers, n_atoms, 3] eV/Å.
        n_atoms: number of atoms of each configuration, [n_configs].
        wall: strength and onset.

    Returns:
        Energies [n_configs] eV and forces [n_atoms, 3] eV/Å, to be added to the means.
    """
    deviation = energies - energies.mean(0)
    spread = energies.std(0)
    onset = wall.onset * np.sqrt(n_atoms)
    above = spread > onset
    ratio = np.divide(onset, spread, out=np.ones_like(spread), where=above)
    energy = wall.strength * spread * np.where(above, (1 - ratio) ** 2, 0.0)
    # slope = (dW/ds) / s, because ds/dE_m = deviation_m / (n_teachers s).
    slope = np.divide(
        wall.strength * (1 - ratio**2), spread, out=np.zeros_like(spread), where=above
    )
    by_member = np.repeat(slope * deviation / len(energies), n_atoms, axis=1)
    return energy, np.einsum("mi,mix->ix", by_member, forces)
