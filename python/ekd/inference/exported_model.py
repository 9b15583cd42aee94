"""A student, or a committee of students, loaded from its exported file."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ekd import _native
from ekd.errors import EKDError, ModelFileError, StructureError
from ekd.files import sha256 as sha256_of
from ekd.inference.metadata import ModelMetadata
from ekd.inference.results import Results
from ekd.neighbor_list import NeighborList, VerletList
from ekd.threads import default_threads

if TYPE_CHECKING:
    import torch


class ExportedModel:
    """An exported model, ready to predict.

    Any thread may use it; threads take turns. It can be pickled and copied: a copy reads the file
    again, and refuses one that has changed.

    Args:
        path: file written by :meth:`ekd.TrainedModel.export` or ``ekd export``.
        device: "cpu", or a torch device, which torch evaluates the file's TorchScript on.
        block: atoms that are evaluated at a time, which bounds the memory; 0: as many as the
            memory of a workstation takes.
        skin: Å; above 0, the neighbour list of one evaluation serves the next, until an atom has
            moved further than half of it. For MD.
        sha256: SHA-256 that the file must have, in hexadecimal; None: any.

    Attributes:
        path: as given.
        location: absolute path of the file; None: it was made :meth:`from_content`.
        device: its name.
        block: as given.
        sha256: SHA-256 of the file, in hexadecimal.
        metadata: what the file says about itself.
        neighbors: the :class:`ekd.VerletList` that makes the lists.

    Raises:
        EKDError: the device cannot be used, a negative block.
        BuildError: torch is needed, for the device or because the file has no weights that the core
            reads, and is not installed, or is not the one that ekd was built for.
        ModelFileError: the file cannot be used, see :func:`ekd.inference.read_metadata`, or has
            another SHA-256.
        StructureError: a negative skin.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        device: str | torch.device = "cpu",
        block: int = 0,
        skin: float = 0.0,
        sha256: str | None = None,
    ):
        self.path = os.fspath(path)
        self.location: str | None = os.path.abspath(self.path)  # noqa: PTH100  # links are kept
        self.block = int(block)
        self._content: bytes | None = None
        if self.block < 0:
            raise EKDError(
                f"block is {block}; give the number of atoms that are evaluated at a time, or 0 "
                "for as many as fit"
            )
        self.device = str(device)
        self._runtime = _native.core().ExportedModel(
            self.path, self.device, self.block, _native.script_opener
        )
        self.metadata = ModelMetadata(**json.loads(self._runtime.metadata_json))
        self.sha256 = sha256_of(path)
        if sha256 not in (None, self.sha256):
            raise ModelFileError(
                f"'{self.path}' has changed: its SHA-256 is {self.sha256}, expected {sha256}; "
                "restore that file, or open this one anew, without an expected SHA-256"
            )
        self.neighbors = VerletList(self.metadata.cutoff, skin)
        # By atomic number, to be looked up for all atoms at once; -1: not in the model.
        numbers = self.metadata.atomic_numbers
        self._species = np.full(max(numbers) + 2, -1, dtype=np.int64)
        self._species[numbers] = np.arange(len(numbers))
        # Atomic numbers and species of the last structure: MD asks for the same again and again.
        self._last: tuple[bytes, NDArray[np.int64]] | None = None

    @classmethod
    def from_content(
        cls,
        content: bytes,
        name: str,
        device: str | torch.device = "cpu",
        block: int = 0,
        skin: float = 0.0,
    ) -> ExportedModel:
        """Make a model of the bytes of a file. Copies and pickles of it need no file.

        Args:
            content: of an exported file.
            name: takes the place of the path in messages.
            device: as for the class.
            block: as for the class.
            skin: as for the class.

        Raises:
            EKDError: as for the class.
        """
        with tempfile.TemporaryDirectory(prefix="ekd-") as folder:
            path = Path(folder) / "model.pt"
            path.write_bytes(content)
            try:
                model = cls(path, device, block, skin)
            except ModelFileError as error:  # the path means nothing to anyone
                raise ModelFileError(str(error).replace(str(path), name)) from None
        model.path, model.location, model._content = name, None, content
        return model

    def with_settings(self, device: str | torch.device, block: int, skin: float) -> ExportedModel:
        """The same model with other settings; arguments and errors as for the class."""
        if self._content is not None:
            return ExportedModel.from_content(self._content, self.path, device, block, skin)
        assert self.location is not None
        return ExportedModel(self.location, device, block, skin, self.sha256)

    def __reduce__(self) -> tuple[Callable[..., ExportedModel], tuple[object, ...]]:
        settings = (self.device, self.block, self.neighbors.skin)
        if self._content is not None:
            return ExportedModel.from_content, (self._content, self.path, *settings)
        return ExportedModel, (self.location, *settings, self.sha256)

    def species(self, atomic_numbers: ArrayLike) -> NDArray[np.int64]:
        """Index of each atom's element in the elements of the model.

        Raises:
            StructureError: the model lacks an element.
        """
        numbers = np.asarray(atomic_numbers, dtype=np.int64)
        if numbers.ndim != 1:
            raise StructureError(f"atomic_numbers have shape {numbers.shape}, expected (n_atoms)")
        key, known = numbers.tobytes(), self._last
        if known is not None and known[0] == key:
            return known[1]
        # The last place of the table stands for all numbers beyond it, and below zero.
        last = len(self._species) - 1
        species = self._species[np.where((numbers >= 0) & (numbers < last), numbers, last)]
        if (species < 0).any():
            from ekd.elements import symbol

            missing = sorted(set(numbers[species < 0].tolist()))
            raise StructureError(
                f"the structure contains {', '.join(symbol(z) for z in missing)}, but the model "
                f"'{self.path}' knows only {', '.join(self.metadata.elements)}; use a model that "
                "was trained on every element of the structure"
            )
        species.setflags(write=False)
        self._last = key, species
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
        species = self.species(atomic_numbers)
        return self._results(self.neighbors.evaluate(self._runtime, species, positions, cell, pbc))

    def evaluate_pairs(self, species: NDArray[np.int64], pairs: NeighborList) -> Results:
        """As :meth:`evaluate`, where the pairs are known.

        Args:
            species: (n_atoms), see :meth:`species`.
            pairs: full neighbour list within the cutoff of the model, of one structure.

        Raises:
            StructureError: arrays that do not fit together, pairs that are not sorted by centre.
        """
        return self._results(
            self._runtime.evaluate_pairs(
                species, pairs.pairs, pairs.pair_vectors, default_threads()
            )
        )

    def _results(self, found: tuple[Any, ...]) -> Results:
        energy, energies, forces, virial, member_energies, forces_std, uncertainty = found
        several = self.metadata.n_members > 1
        return Results(
            energy=energy,
            atomic_energies=energies,
            forces=forces,
            virial=virial,
            forces_std=forces_std if several else None,
            energy_std=float(member_energies.std()) if several else None,
            uncertainty=uncertainty if self.metadata.uncertainty else None,
        )
