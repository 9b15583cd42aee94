"""A student or a committee of students, loaded from an exported file."""

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
from ekd.inference.structure_batch import StructureLike, as_arrays
from ekd.neighbor_list import NeighborList, Structures, VerletList, as_array
from ekd.threads import default_threads

if TYPE_CHECKING:
    import torch


class ExportedModel:
    """An exported model, ready to predict.

    It may be used from any thread; threads take turns. It can be pickled and copied; a copy reads
    the file again, and refuses a file that has changed.

    Args:
        path: file written by :meth:`ekd.TrainedModel.export` or ``ekd export``.
        device: "cpu"; "cuda" or "cuda:N", a GPU, whose kernels do not need torch; or another device
            of torch, where the TorchScript of the file is evaluated.
        block: number of atoms evaluated at once, which limits the memory; 0: as many as fit into
            the memory of a workstation.
        skin: Å; if positive, the neighbor list is reused until an atom has moved by more than half
            of it. For MD.
        sha256: required SHA-256 of the file, 64 hexadecimal digits; None: any. It is checked before
            any other use of the file, and the model is made from the same bytes.

    Attributes:
        path: path as given.
        location: absolute path of the file; None if made with :meth:`from_content`.
        device: name of the device.
        block: block size as given.
        sha256: SHA-256 of the file, in hexadecimal.
        metadata: metadata of the file.
        neighbors: the :class:`ekd.VerletList` that builds the neighbor lists.

    Raises:
        EKDError: the device cannot be used, the block is negative, or ``sha256`` is not
            hexadecimal.
        BuildError: torch is needed, for the device or because the file has no plain weights, but is
            not installed, or is not the version that ekd was built for.
        ModelFileError: the file cannot be used, see :func:`ekd.inference.read_metadata`, or has
            another SHA-256.
        StructureError: the skin is negative.
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
                f"block is {block}; give the number of atoms to evaluate at once, or 0 for as many "
                "as fit",
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
        self._reduced = (0, 0)  # reduced block and max_atoms that the user was warned about
        self.metadata = ModelMetadata(**json.loads(self._runtime.metadata_json))
        self.sha256: str = self._runtime.sha256  # of the bytes that the model was made from
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
        """Make a model from the bytes of a file. Copies and pickles of it need no file.

        Args:
            content: content of an exported file.
            name: used instead of the path in messages.
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
            except ModelFileError as error:  # do not show the temporary path
                raise ModelFileError(
                    error.message.replace(str(path), name), code=error.code
                ) from None
        model.path, model.location, model._content = name, None, content
        return model

    def with_settings(self, device: str | torch.device, block: int, skin: float) -> ExportedModel:
        """Return the same model with other settings; arguments and errors as for the class."""
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
        """Return the index of each atom's element in the elements of the model.

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
        """Compute energy, forces and virial of one structure; for a committee, mean and spread.

        Students with an uncertainty head also predict the uncertainty of the forces. If memory runs
        out, large structures are evaluated in smaller blocks, with a warning.

        Args:
            atomic_numbers: (n_atoms).
            positions: (n_atoms, 3), Å.
            cell: (3, 3), rows are lattice vectors, Å.
            pbc: one flag, or one per direction.

        Raises:
            MemoryError: there is not enough memory even with the smallest blocks.
            StructureError: no atoms, coincident atoms, an element the model lacks, or an invalid
                cell.
        """
        species = self.species(atomic_numbers)
        return self._results(self.neighbors.evaluate(self._runtime, species, positions, cell, pbc))

    def evaluate_batch(
        self, structures: Iterable[StructureLike], max_atoms: int | None = None
    ) -> BatchResults:
        """Like :meth:`evaluate`, for many structures in one call.

        >>> for results in model.evaluate_batch([water, crystal]):  # doctest: +SKIP
        ...     print(results.energy)

        For a small molecule, the overhead of a call is about as large as the cost of the model;
        here many structures share it. Results are those of :meth:`evaluate`: bitwise with the
        kernels of ekd and no skin, otherwise up to rounding.

        Args:
            structures: :class:`ase.Atoms`, or tuples of the arguments of :meth:`evaluate`:
                ``(atomic_numbers, positions)``, ``(atomic_numbers, positions, cell, pbc)``.
                Periodic and non-periodic structures of any elements of the model, in any order; may
                be empty.
            max_atoms: structures are evaluated together up to this number of atoms, a larger one
                alone. It limits the memory and does not change the results. By default 512, or 2048
                for each of several threads; 65,536 on a GPU.

        Raises:
            StructureError: as for :meth:`evaluate`, or arrays of a wrong shape; the message gives
                the index of the structure, from 0. No results are returned for any structure.
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
        """Like :meth:`evaluate_batch`, for structures stored in one set of arrays.

        Args:
            atomic_numbers: (n_atoms), one structure after the other.
            positions: (n_atoms, 3), Å.
            offsets: (n_structures + 1); structure s owns atoms ``offsets[s]:offsets[s + 1]``.
            cells: (n_structures, 3, 3), Å; None if nothing is periodic.
            pbc: (n_structures, 3); None if nothing is periodic.
            max_atoms: as for :meth:`evaluate_batch`.

        Raises:
            StructureError: as for :meth:`evaluate_batch`, or arrays that are inconsistent.
            EKDError: as for :meth:`evaluate_batch`.
        """
        if max_atoms is not None and max_atoms < 1:
            raise EKDError(
                f"max_atoms is {max_atoms}; give the number of atoms to evaluate at once, at least "
                "1",
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
        """Like :meth:`evaluate`, for given pairs.

        Args:
            species: (n_atoms), see :meth:`species`.
            pairs: full neighbor list of one structure within the cutoff of the model.

        Raises:
            StructureError: the arrays are inconsistent, or pairs are not sorted by center.
        """
        return self._results(
            self._runtime.evaluate_pairs(
                species, pairs.pairs, pairs.pair_vectors, default_threads()
            )
        )

    def _tell_of_memory(self) -> None:
        """Warn once about each reduction of the block size after running out of memory."""
        if (reduced := self._runtime.reduced) == self._reduced:
            return
        self._reduced = reduced
        names = ("block", "max_atoms")
        advice = " and ".join(f"{n}={size}" for n, size in zip(names, reduced, strict=True) if size)
        warnings.warn(
            f"memory has run out in an evaluation of '{self.path}', which continues in smaller "
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
