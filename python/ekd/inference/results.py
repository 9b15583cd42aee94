"""What a model predicts for one structure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Results:
    """What a model predicts for one structure.

    Attributes:
        energy: total energy, eV.
        atomic_energies: (n_atoms), eV; they sum to ``energy``.
        forces: (n_atoms, 3), eV/Å.
        virial: (3, 3), eV; ``-sum_p pair_vector ⊗ dE/dpair_vector``, symmetric. The stress in
            ASE's sign is ``-virial / volume``.
        forces_std: of a committee, ``sqrt(mean over members of |F - mean F|^2 / 3)``, (n_atoms)
            eV/Å: the population standard deviation of a force component. None for one model.
        energy_std: of a committee, population standard deviation of the energy, eV; or None.
        uncertainty: of students that have learned it, the error that is expected of a force
            component, (n_atoms) eV/Å; of a committee the mean over
            its students. None for others.
    """

    energy: float
    atomic_energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    virial: NDArray[np.float64]
    forces_std: NDArray[np.float64] | None = None
    energy_std: float | None = None
    uncertainty: NDArray[np.float64] | None = None
