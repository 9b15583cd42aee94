"""Predictions of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ClosePair:
    """Two atoms that are closer than any pair of their elements in the training data of a model.

    Attributes:
        elements: chemical symbols, in the order of the elements of the model.
        atoms: indices of the atoms in the order of ``elements``; equal for an atom and its own
            periodic image.
        distance: Å.
        training_distance: shortest distance of the two elements in the training data, Å; infinity
            if they contain no such pair within the cutoff.
    """

    elements: tuple[str, str]
    atoms: tuple[int, int]
    distance: float
    training_distance: float


@dataclass(frozen=True)
class Results:
    """Predictions for one structure.

    Attributes:
        energy: total energy, eV.
        atomic_energies: (n_atoms), eV; they sum to ``energy``.
        forces: (n_atoms, 3), eV/Å.
        virial: (3, 3), eV; ``-sum_p pair_vector ⊗ dE/dpair_vector``, symmetric. The stress in
            ASE's sign is ``-virial / volume``.
        forces_std: for a committee, ``sqrt(mean over members of |F - mean F|^2 / 3)``, (n_atoms)
            eV/Å: the population standard deviation of a force component. None for one model.
        energy_std: for a committee, population standard deviation of the energy, eV. None for one
            model.
        uncertainty: expected error of a force component, (n_atoms) eV/Å, for students with an
            uncertainty head; for a committee, the mean over its students. None for others.
        close_pairs: closest pair of atoms for each pair of elements that are closer than in the
            training data of the model. Empty if there are none, if the file lacks the distances of
            its training data, and in results of batches.
    """

    energy: float
    atomic_energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    virial: NDArray[np.float64]
    forces_std: NDArray[np.float64] | None = None
    energy_std: float | None = None
    uncertainty: NDArray[np.float64] | None = None
    close_pairs: tuple[ClosePair, ...] = ()


@dataclass(frozen=True, eq=False)
class BatchResults(Sequence[Results]):
    """Predictions for many structures: a sequence of :class:`Results`.

    >>> forces = [results.forces for results in model.evaluate_batch(structures)]  # doctest: +SKIP

    The arrays of a :class:`Results` are slices of those below, which contain the atoms of all
    structures one after the other; units and meaning are the same.

    Attributes:
        offsets: (n_structures + 1); structure s owns atoms ``offsets[s]:offsets[s + 1]``.
        energies: (n_structures).
        atomic_energies: (n_atoms).
        forces: (n_atoms, 3).
        virials: (n_structures, 3, 3).
        member_energies: energies of each member of a committee, (n_structures, n_members) eV; or
            None.
        forces_std: for a committee, (n_atoms); or None.
        energies_std: for a committee, (n_structures); or None.
        uncertainty: for students with an uncertainty head, (n_atoms); or None.
    """

    offsets: NDArray[np.int64]
    energies: NDArray[np.float64]
    atomic_energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    virials: NDArray[np.float64]
    member_energies: NDArray[np.float64] | None = None
    forces_std: NDArray[np.float64] | None = None
    energies_std: NDArray[np.float64] | None = None
    uncertainty: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.energies)

    @overload
    def __getitem__(self, index: int) -> Results: ...
    @overload
    def __getitem__(self, index: slice) -> list[Results]: ...
    def __getitem__(self, index: int | slice) -> Results | list[Results]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        k = range(len(self))[index]
        atoms = slice(self.offsets[k], self.offsets[k + 1])
        return Results(
            energy=float(self.energies[k]),
            atomic_energies=self.atomic_energies[atoms],
            forces=self.forces[atoms],
            virial=self.virials[k],
            forces_std=None if self.forces_std is None else self.forces_std[atoms],
            energy_std=None if self.energies_std is None else float(self.energies_std[k]),
            uncertainty=None if self.uncertainty is None else self.uncertainty[atoms],
        )
