"""A wall where teachers disagree: it leads back to what they know.

Far from the data an ensemble has holes, and so has the student that learns its forces. Where the
teachers disagree about the energy, a wall rises instead.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ekd.config import WallConfig

Array = NDArray[np.float64]


def wall_of_spread(
    energies: Array, forces: Array, n_atoms: NDArray[np.int64], wall: WallConfig
) -> tuple[Array, Array]:
    """Energy and forces of the wall.

    ``W = strength * (s - s0)^2 / s`` where ``s > s0``, otherwise zero: s is the population standard
    deviation of the energies, ``s0 = onset * sqrt(n_atoms)``. Value and slope are continuous, and
    far above s0 the wall rises by ``strength`` times what s does. The forces are its exact negative
    gradient, ``ds/dr = mean((E_m - mean E) dE_m/dr) / s``. (Uncertainty-driven dynamics, Kulichenko
    et al., Nat. Comput. Sci. 3, 230 (2023), lowers the energy there, in order to visit what is not
    known.)

    Args:
        energies: of every teacher, [n_teachers, n_configs] eV.
        forces: of every teacher, [n_teachers, n_atoms, 3] eV/Å.
        n_atoms: of every configuration, [n_configs].
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
    # The slope of W over the spread, and that of the spread over the energies of the teachers.
    slope = np.divide(
        wall.strength * (1 - ratio**2), spread, out=np.zeros_like(spread), where=above
    )
    by_member = np.repeat(slope * deviation / len(energies), n_atoms, axis=1)
    return energy, np.einsum("mi,mix->ix", by_member, forces)
