"""A student, or a committee of students, loaded from its exported file."""

from __future__ import annotations

import os
import warnings
from functools import partial

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ekd.elements import symbol
from ekd.errors import EKDError, ModelFileError, StructureError
from ekd.inference.evaluation import Results, evaluate_committee
from ekd.inference.metadata import read_metadata
from ekd.neighbor_list import neighbor_list


class ExportedModel:
    """An exported model, ready to predict.

    Args:
        path: file written by :meth:`ekd.TrainedModel.export` or ``ekd export``.
        device: torch device to evaluate on.

    Raises:
        EKDError: the device cannot be used.
        ModelFileError: the file cannot be used; see :func:`ekd.inference.read_metadata`.
    """

    def __init__(self, path: str | os.PathLike[str], device: str | torch.device = "cpu"):
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
            with warnings.catch_warnings():
                # TorchScript is the format of the file, whatever comes after it in torch.
                warnings.simplefilter("ignore", DeprecationWarning)
                self._module = torch.jit.load(self.path, map_location=self.device)
        except RuntimeError as error:
            raise ModelFileError(
                f"'{self.path}' is truncated or damaged: its metadata is sound but the model does "
                f"not load ({str(error).splitlines()[0]}); copy or export it again"
            ) from None
        members = getattr(self._module, "members", None)
        self._members = [] if members is None else list(members.children())
        self._check_module()
        self._module.eval()
        for parameter in self._module.parameters():
            parameter.requires_grad_(False)
        self._species = {z: index for index, z in enumerate(self.metadata.atomic_numbers)}

    def _check_module(self) -> None:
        """Make sure that the module is what its metadata, which engines act on, say it is."""
        agree = {"n_members": len(self._members) == self.metadata.n_members}
        for name in ("cutoff", "n_interactions", "feature_widths"):
            said = getattr(self.metadata, name)
            parts = [self._module, *self._members]
            agree[name] = all(getattr(part, name, None) == said for part in parts)
        for name, agrees in agree.items():
            if not agrees:
                raise ModelFileError(
                    f"'{self.path}' is damaged: '{name}' in its metadata is not that of the "
                    "model; export it again"
                )

    def species(self, atomic_numbers: ArrayLike) -> NDArray[np.int64]:
        """Index of each atom's element in the elements of the model.

        Raises:
            StructureError: the model lacks an element.
        """
        numbers = np.asarray(atomic_numbers, dtype=np.int64)
        missing = sorted(set(numbers.tolist()) - self._species.keys())
        if missing:
            raise StructureError(
                f"the structure contains {', '.join(symbol(z) for z in missing)}, but the model "
                f"'{self.path}' knows only {', '.join(self.metadata.elements)}; use a model that "
                "was trained on every element of the structure"
            )
        return np.array([self._species[int(z)] for z in numbers], dtype=np.int64)

    def evaluate(
        self,
        atomic_numbers: ArrayLike,
        positions: ArrayLike,
        cell: ArrayLike | None = None,
        pbc: ArrayLike | bool = False,
    ) -> Results:
        """Energy, forces and virial of one structure; of a committee their mean, and the spread.

        Args:
            atomic_numbers: (n_atoms).
            positions: (n_atoms, 3), Å.
            cell: (3, 3), rows are lattice vectors, Å.
            pbc: one flag, or one per direction.

        Raises:
            StructureError: no atoms, atoms on top of each other, an element the model lacks, an
                impossible cell.
        """
        pairs = neighbor_list(positions, self.metadata.cutoff, cell, pbc)
        # The profiling executor would compile during the first calls and gain nothing after.
        with torch.jit.optimized_execution(False):
            members = [partial(_atomic_energies, member) for member in self._members]
            species = self.species(atomic_numbers)
            return evaluate_committee(members, species, pairs, self.device)


def _atomic_energies(
    member: torch.jit.ScriptModule,
    species: torch.Tensor,
    pairs: torch.Tensor,
    pair_vectors: torch.Tensor,
    n_atoms: int,
) -> torch.Tensor:
    """Energies stage by stage: what LAMMPS evaluates, where features cross ranks in between."""
    features = member.embed(species)
    energies = torch.zeros(n_atoms, dtype=torch.float64, device=species.device)
    for k in range(member.n_interactions):
        features, level = member.interact(k, species, features, pairs, pair_vectors, n_atoms)
        energies = energies + level
    return energies
