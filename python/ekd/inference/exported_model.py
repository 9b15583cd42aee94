"""A student, or a committee of students, loaded from its exported file."""

from __future__ import annotations

import os

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ekd.elements import symbol
from ekd.errors import EKDError, ModelFileError, StructureError
from ekd.inference.evaluation import Results
from ekd.inference.metadata import read_metadata
from ekd.neighbor_list import NeighborList, VerletList


class ExportedModel:
    """An exported model, ready to predict.

    Args:
        path: file written by :meth:`ekd.TrainedModel.export` or ``ekd export``.
        device: torch device to evaluate on.
        block: atoms that are evaluated at a time, which bounds the memory; 0: as many as the
            memory of a workstation takes.
        skin: Å; above 0, the neighbour list of one evaluation serves the next, until an atom has
            moved further than half of it. For MD.

    Attributes:
        neighbors: the :class:`ekd.VerletList` that makes the lists.

    Raises:
        EKDError: the device cannot be used.
        ModelFileError: the file cannot be used; see :func:`ekd.inference.read_metadata`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        device: str | torch.device = "cpu",
        block: int = 0,
        skin: float = 0.0,
    ):
        self.path = os.fspath(path)
        try:
            self.device = torch.empty(0, device=device).device
        except (AssertionError, RuntimeError):
            raise EKDError(
                f"device '{device}' cannot be used by this torch ({torch.__version__}); use "
                "device='cpu', or install a torch that supports it"
            ) from None
        self.metadata = read_metadata(path)
        try:
            self._runtime = torch.classes.ekd.ExportedModel(self.path, str(self.device), block)
        except RuntimeError as error:
            raise ModelFileError(str(error)) from None
        self.neighbors = VerletList(self.metadata.cutoff, skin)
        # By atomic number, to be looked up for all atoms at once; -1: not in the model.
        numbers = self.metadata.atomic_numbers
        self._species = np.full(max(numbers) + 2, -1, dtype=np.int64)
        self._species[numbers] = np.arange(len(numbers))

    def species(self, atomic_numbers: ArrayLike) -> NDArray[np.int64]:
        """Index of each atom's element in the elements of the model.

        Raises:
            StructureError: the model lacks an element.
        """
        numbers = np.asarray(atomic_numbers, dtype=np.int64)
        # The last place of the table stands for all numbers beyond it, and below zero.
        last = len(self._species) - 1
        species = self._species[np.where((numbers >= 0) & (numbers < last), numbers, last)]
        if (species < 0).any():
            missing = sorted(set(numbers[species < 0].tolist()))
            raise StructureError(
                f"the structure contains {', '.join(symbol(z) for z in missing)}, but the model "
                f"'{self.path}' knows only {', '.join(self.metadata.elements)}; use a model that "
                "was trained on every element of the structure"
            )
        return species

    def evaluate(
        self,
        atomic_numbers: ArrayLike,
        positions: ArrayLike,
        cell: ArrayLike | None = None,
        pbc: ArrayLike | bool = False,
    ) -> Results:
        """Energy, forces and virial of one structure; of a committee their mean, and the spread.

        Students that have learned how far their teachers disagree tell that too.

        Args:
            atomic_numbers: (n_atoms).
            positions: (n_atoms, 3), Å.
            cell: (3, 3), rows are lattice vectors, Å.
            pbc: one flag, or one per direction.

        Raises:
            StructureError: no atoms, atoms on top of each other, an element the model lacks, an
                impossible cell.
        """
        pairs = self.neighbors.update(positions, cell, pbc)
        return self.evaluate_pairs(self.species(atomic_numbers), pairs)

    def evaluate_pairs(self, species: NDArray[np.int64], pairs: NeighborList) -> Results:
        """As :meth:`evaluate`, where the pairs are known.

        Args:
            species: (n_atoms), see :meth:`species`.
            pairs: full neighbour list within the cutoff of the model, of one structure.
        """
        energies, forces, virial, member_energies, forces_std, uncertainty = self._runtime.evaluate(
            torch.from_numpy(species),
            torch.from_numpy(pairs.pairs),
            torch.from_numpy(pairs.pair_vectors),
        )
        several = self.metadata.n_members > 1
        return Results(
            energy=float(energies.sum()),
            atomic_energies=energies.numpy(),
            forces=forces.numpy(),
            virial=virial.numpy(),
            forces_std=forces_std.numpy() if several else None,
            energy_std=float(member_energies.std(correction=0)) if several else None,
            uncertainty=uncertainty.numpy() if self.metadata.uncertainty else None,
        )
