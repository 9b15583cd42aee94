"""A student, or a committee of students, loaded from its exported file."""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ekd import _native
from ekd.errors import EKDError, ModelFileError, StructureError
from ekd.inference.metadata import ModelMetadata
from ekd.inference.results import BatchResults, ClosePair, Results
from ekd.inference.species_table import SpeciesTable
from ekd.inference.structures import StructureLike, as_arrays
from ekd.neighbor_list import NeighborList, Structures, VerletList, as_array
from ekd.threads import default_threads

if TYPE_CHECKING:
    import torch


class ExportedModel:
    """An exported model, ready to predict.

    Any thread may use it; threads take turns. It can be pickled and copied: a copy reads the file
    again, and refuses one that has changed.

    Args:
        path: file written by :meth:`ekd.TrainedModel.export` or ``ekd export``.
        device: "cpu"; "cuda" or "cuda:N", a GPU, whose kernels need no torch; or another device of
            torch, which evaluates the file's TorchScript there.
        block: atoms that are evaluated at a time, which bounds the memory; 0: as many as the
            memory of a workstation takes.
        skin: Å; above 0, the neighbour list of one evaluation serves the next, until an atom has
            moved further than half of it. For MD.
        sha256: SHA-256 that the file must have, in 64 hexadecimal digits; None: any. It is compared
            before anything else of the file is used, and the model is made of the same bytes.

    Attributes:
        path: as given.
        location: absolute path of the file; None: it was made :meth:`from_content`.
        device: its name.
        block: as given.
        sha256: SHA-256 of the file, in hexadecimal.
        metadata: what the file says about itself.
        neighbors: the :class:`ekd.VerletList` that makes the lists.

    Raises:
        EKDError: the device cannot be used, a negative block, ``sha256`` is not hexadecimal.
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
                "for as many as fit",
                code="EKD-CONFIG-011",
            )
        self.device = str(device)
        if sha256 == "":
            raise EKDError(
                "the expected SHA-256 is ''; give 64 hexadecimal digits, as 'ekd inspect' prints "
                "them, or None for any file",
                code="EKD-MODEL-011",
            )
        self._runtime = _native.core().ExportedModel(
            self.path, self.device, self.block, _native.script_opener, sha256 or ""
        )
        self._reduced = (0, 0)  # block and max_atoms since memory has run out, as the user knows
        self.metadata = ModelMetadata(**json.loads(self._runtime.metadata_json))
        self.sha256: str = self._runtime.sha256  # of the bytes that the model was made of
        self.neighbors = VerletList(self.metadata.cutoff, skin)
        self._table = SpeciesTable(self.metadata.atomic_numbers, self.metadata.elements)

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
                raise ModelFileError(
                    error.message.replace(str(path), name), code=error.code
                ) from None
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
        return self._table.of_structure(atomic_numbers, self.path)

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

        Where memory runs out, larger models go on with smaller blocks, of which a warning tells.

        Raises:
            MemoryError: there is not enough memory in however small blocks.
            StructureError: no atoms, atoms on top of each other, an element the model lacks, an
                impossible cell.
        """
        species = self.species(atomic_numbers)
        return self._results(self.neighbors.evaluate(self._runtime, species, positions, cell, pbc))

    def evaluate_batch(
        self, structures: Iterable[StructureLike], max_atoms: int | None = None
    ) -> BatchResults:
        """As :meth:`evaluate`, for many structures in one call.

        >>> for results in model.evaluate_batch([water, crystal]):  # doctest: +SKIP
        ...     print(results.energy)

        A call costs about as much as the model itself does for a small molecule; here many
        structures share one. Each gets what :meth:`evaluate` gives it: to the last bit with the
        kernels of ekd and no skin, otherwise to rounding.

        Args:
            structures: :class:`ase.Atoms`, or tuples of the arguments of :meth:`evaluate`:
                ``(atomic_numbers, positions)``, ``(atomic_numbers, positions, cell, pbc)``.
                Periodic and open ones, of any elements of the model, in any order; there may be
                none.
            max_atoms: structures with no more atoms than this together are evaluated at once, a
                larger one alone. It bounds the memory and does not change the results. By default
                512, or 2048 for each of several threads; 65,536 on a GPU.

        Raises:
            StructureError: as for :meth:`evaluate`, or arrays of a wrong shape: the message names
                the structure by its place, from 0. No structure has results then.
            EKDError: ``max_atoms`` is not positive.
        """
        found = as_arrays(structures)
        return self.evaluate_arrays(
            found.atomic_numbers, found.positions, found.offsets, found.cells, found.pbc, max_atoms
        )

    def evaluate_arrays(
        self,
        atomic_numbers: ArrayLike,
        positions: ArrayLike,
        offsets: ArrayLike,
        cells: ArrayLike | None = None,
        pbc: ArrayLike | None = None,
        max_atoms: int | None = None,
    ) -> BatchResults:
        """As :meth:`evaluate_batch`, of structures that lie in one set of arrays.

        Args:
            atomic_numbers: (n_atoms), one structure after the other.
            positions: (n_atoms, 3), Å.
            offsets: (n_structures + 1); structure s owns atoms ``offsets[s]:offsets[s + 1]``.
            cells: (n_structures, 3, 3), Å; None where nothing is periodic.
            pbc: (n_structures, 3); None where nothing is periodic.
            max_atoms: as for :meth:`evaluate_batch`.

        Raises:
            StructureError: as for :meth:`evaluate_batch`, or arrays that do not fit together.
            EKDError: as for :meth:`evaluate_batch`.
        """
        if max_atoms is not None and max_atoms < 1:
            raise EKDError(
                f"max_atoms is {max_atoms}; give the number of atoms that are evaluated at a time, "
                "1 or more",
                code="EKD-CONFIG-011",
            )
        batch = Structures.batch(positions, offsets, cells, pbc, may_be_empty=True)
        numbers = as_array(atomic_numbers, np.int64)
        if numbers.shape != (len(batch.positions),):
            raise StructureError(
                f"atomic_numbers have shape {numbers.shape}, expected ({len(batch.positions)}), "
                "one for each row of positions",
                code="EKD-STRUCTURE-004",
            )
        species = self._table.look_up(numbers)
        if (unknown := np.flatnonzero(species < 0)).size:
            place = int(np.searchsorted(batch.offsets, unknown[0], "right")) - 1
            last = int(np.searchsorted(unknown, batch.offsets[place + 1]))
            self._table.refuse(f"structure {place}", numbers[unknown[:last]], self.path)
        found = self._runtime.evaluate_batch(
            species,
            batch.positions,
            batch.offsets,
            batch.cells,
            batch.pbc,
            0 if max_atoms is None else max_atoms,
            default_threads(),
        )
        self._tell_of_memory()
        energies, atomic_energies, forces, virials, member_energies, forces_std, uncertainty = found
        several = self.metadata.n_members > 1
        return BatchResults(
            offsets=batch.offsets,
            energies=energies,
            atomic_energies=atomic_energies,
            forces=forces,
            virials=virials,
            member_energies=member_energies if several else None,
            forces_std=forces_std if several else None,
            energies_std=member_energies.std(axis=1) if several else None,
            uncertainty=uncertainty if self.metadata.uncertainty else None,
        )

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

    def _tell_of_memory(self) -> None:
        """Warn once of every size of blocks that it has come to because memory ran out."""
        if (reduced := self._runtime.reduced) == self._reduced:
            return
        self._reduced = reduced
        names = ("block", "max_atoms")
        advice = " and ".join(f"{n}={size}" for n, size in zip(names, reduced, strict=True) if size)
        warnings.warn(
            f"memory has run out in an evaluation of '{self.path}', which goes on in smaller "
            f"pieces: use {advice} from the start, or fewer processes",
            RuntimeWarning,
            stacklevel=4,
        )

    def _results(self, found: tuple[Any, ...]) -> Results:
        self._tell_of_memory()
        energy, energies, forces, virial, member_energies, forces_std, uncertainty, close = found
        several = self.metadata.n_members > 1
        elements = self.metadata.elements
        return Results(
            energy=energy,
            atomic_energies=energies,
            forces=forces,
            virial=virial,
            forces_std=forces_std if several else None,
            energy_std=float(member_energies.std()) if several else None,
            uncertainty=uncertainty if self.metadata.uncertainty else None,
            close_pairs=tuple(
                ClosePair((elements[a], elements[b]), (i, j), distance, training_distance)
                for a, b, i, j, distance, training_distance in close
            ),
        )
