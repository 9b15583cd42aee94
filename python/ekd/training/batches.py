"""Batches of configurations, cut from arrays that are gathered for many batches at a time.

A step on a few dozen small molecules takes milliseconds, so there must be no Python loops over
configurations. Neighbor lists are kept in memory if those of the whole dataset are small; otherwise
they are made for each gather, so that memory does not grow with the dataset. The batches are
bitwise the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ekd.data import Dataset
from ekd.data.mapped import read_ahead
from ekd.elements import symbol
from ekd.errors import StructureError
from ekd.neighbor_list import batched_neighbor_list, neighbor_list
from ekd.training.sampling import cut_by_count

_BATCHES_PER_GATHER = 64  # makes the cost of a gather per batch negligible
_PAIRS_PER_GATHER = 500_000  # limits its memory
_KEPT_BYTES = 2**28  # maximum size of kept neighbor lists, per training process
_NUMPY: dict[torch.dtype, type[np.floating[Any]]] = {
    torch.float32: np.float32,
    torch.float64: np.float64,
}
_SAMPLE = 1000  # configurations whose pairs are counted to estimate the total


@dataclass(frozen=True, eq=False)
class LossWeights:
    """Loss weights of each energy and each force.

    Attributes:
        energies: weights of energies, float64 [n_configs]; zero for configurations without energy.
        forces: weights of forces, float64 [n_atoms].
    """

    energies: NDArray[np.float64]
    forces: NDArray[np.float64]


@dataclass(frozen=True)
class Batch:
    """Several configurations as one graph, without edges between configurations.

    Attributes:
        species: species of the atoms, int64 [n_atoms].
        pairs: indices into the atoms of the batch, int64 [2, n_pairs].
        pair_vectors: vectors from centers to neighbors, [n_pairs, 3] Å.
        config_index: index in the batch of each atom's configuration, int64 [n_atoms].
        energies: energies, float64 [n_configs] eV.
        forces: forces, [n_atoms, 3] eV/Å, or None without labels.
        energy_weights: weights of energies, float64 [n_configs]; None: all one.
        force_weights: weights of forces, [n_atoms, 1]; None: all one.
    """

    species: torch.Tensor
    pairs: torch.Tensor
    pair_vectors: torch.Tensor
    config_index: torch.Tensor
    energies: torch.Tensor
    forces: torch.Tensor | None
    energy_weights: torch.Tensor | None = None
    force_weights: torch.Tensor | None = None

    @property
    def n_atoms(self) -> int:
        """Number of atoms of the batch."""
        return len(self.species)

    @property
    def n_configs(self) -> int:
        """Number of configurations of the batch."""
        return len(self.energies)

    def to(self, device: torch.device) -> Batch:
        """Copy the batch to a device; returns itself if it is already there."""
        if self.species.device == device:
            return self
        values: dict[str, Any] = {
            name: None if value is None else value.to(device) for name, value in vars(self).items()
        }
        return Batch(**values)


class BatchSource:
    """A dataset with its neighbor lists, ready to be cut into batches.

    Args:
        data: structures and energies.
        elements: atomic numbers in the order of the model's species.
        cutoff: cutoff radius, Å.
        dtype: type of pair vectors and forces.
        forces: force labels, [n_atoms, 3] eV/Å.
        weights: loss weights of energies and forces; None: all one.

    Raises:
        StructureError: the model does not support an element, or the neighbor list of a structure
            cannot be made; for large datasets, the latter may be found only during training.
    """

    def __init__(
        self,
        data: Dataset,
        elements: Sequence[int],
        cutoff: float,
        dtype: torch.dtype,
        forces: NDArray[np.float64] | None = None,
        weights: LossWeights | None = None,
    ):
        unknown = sorted(set(data.elements) - set(elements))
        if unknown:
            raise StructureError(
                f"the data contain {', '.join(map(symbol, unknown))}, but the model supports only "
                f"{', '.join(map(symbol, elements))}; train a model on data with all elements",
                code="EKD-STRUCTURE-003",
            )
        self.dtype = dtype
        self.n_configs = len(data)
        self._data = data
        self._numpy_dtype = _NUMPY[dtype]
        self._n_elements = len(elements)
        self._species_of = np.zeros(max(elements) + 1, dtype=np.int64)
        self._species_of[list(elements)] = np.arange(len(elements))
        self._forces = forces
        self._weights = weights
        lists = _Lists(data, cutoff, self._numpy_dtype)
        self._lists: _Lists | _KeptLists = lists
        sample = np.unique(np.linspace(0, self.n_configs - 1, _SAMPLE).astype(np.int64))
        self.pairs_per_config = lists.take(sample).pairs.shape[1] / len(sample)
        """Mean number of directed pairs per configuration; for large datasets from a sample."""
        if self.pairs_per_config * self.n_configs * lists.bytes_per_pair <= _KEPT_BYTES:
            self._lists = _KeptLists(lists, self.n_configs)
            self.pairs_per_config = self._lists.n_pairs / self.n_configs

    def energies(self, configs: NDArray[np.int64]) -> NDArray[np.float64]:
        """Energies of configurations, [len(configs)] eV."""
        return np.asarray(self._data.energies[configs])

    @property
    def has_reference_energies(self) -> bool:
        """Whether the data have reference energies, which training then does not change."""
        return self._data.reference_energies is not None

    def compositions(self, configs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of atoms of each element in each configuration, [n, n_elements]."""
        counts = np.zeros((len(configs), self._n_elements), dtype=np.int64)
        counts[:, self._species_of[list(self._data.elements)]] = self._data.composition[configs]
        return counts

    def atoms(self, configs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of the configurations' atoms in the arrays of the data, [n_atoms]."""
        return _rows(self._data.offsets, configs)[0]

    def n_atoms(self, configs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of atoms of each configuration, [len(configs)]."""
        offsets = self._data.offsets
        counts: NDArray[np.int64] = offsets[configs + 1] - offsets[configs]
        return counts

    def closest_pairs(
        self, configs: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Count the pairs of elements within the cutoff, and find their shortest distances.

        Args:
            configs: configurations; repeated ones are counted once.

        Returns:
            Number of pairs and shortest distance (Å; infinity: no pair), both
            [n_elements, n_elements] and symmetric.
        """
        n = self._n_elements
        counts = np.zeros(n * n, dtype=np.int64)  # number of directed pairs
        squares = np.full(n * n, np.inf)
        configs = np.unique(configs)
        step = max(1, int(_PAIRS_PER_GATHER / max(self.pairs_per_config, 1.0)))
        for start in range(0, len(configs), step):
            part = configs[start : start + step]
            lists = self._lists.take(part)
            atoms, offsets = _rows(self._data.offsets, part)
            species = self._species_of[self._data.atomic_numbers[atoms]]
            first_atom = np.repeat(offsets[:-1], np.diff(lists.offsets))
            centers, neighbors = species[lists.pairs + first_atom]
            rows = centers * n + neighbors
            counts += np.bincount(rows, minlength=n * n)
            vectors = lists.pair_vectors.astype(np.float64)
            np.minimum.at(squares, rows, np.einsum("pd,pd->p", vectors, vectors))
        # For two different elements, each row has one direction of a pair; else it has both.
        twice = np.where(np.eye(n, dtype=bool), 2, 1)
        return counts.reshape(n, n) // twice, np.sqrt(squares.reshape(n, n))

    def forces(self, configs: NDArray[np.int64]) -> NDArray[np.floating[Any]] | None:
        """Force labels of the atoms of configurations, [n_atoms, 3] eV/Å; None without labels."""
        if self._forces is None:
            return None
        return self._forces[self.atoms(configs)].astype(self._numpy_dtype)

    def batches(self, configs: NDArray[np.int64], cut: int | NDArray[np.int64]) -> Iterator[Batch]:
        """Cut configurations, in the given order, into batches.

        Args:
            configs: configurations of all batches.
            cut: batch size, where the last batch may be smaller; or the bounds of the batches in
                ``configs``, [n_batches + 1] from 0 to n, where batches may be empty.
        """
        bounds = cut_by_count(len(configs), cut) if isinstance(cut, int) else cut
        n_batches = len(bounds) - 1
        pairs_per_batch = len(configs) * self.pairs_per_config / max(n_batches, 1)
        step = max(1, min(_BATCHES_PER_GATHER, int(_PAIRS_PER_GATHER / max(pairs_per_batch, 1.0))))
        parts = [bounds[first : first + step + 1] for first in range(0, n_batches, step)]
        for part, following in zip(parts, [*parts[1:], None], strict=True):
            if following is not None:
                coming = configs[following[0] : following[-1]]
                self._data.read_ahead(coming)
                offsets = self._data.offsets
                read_ahead(self._forces, offsets[coming], offsets[coming + 1])
            yield from self._gather(configs[part[0] : part[-1]], part - part[0])

    def _gather(self, configs: NDArray[np.int64], bounds: NDArray[np.int64]) -> Iterator[Batch]:
        atoms, atom_offsets = _rows(self._data.offsets, configs)
        lists = self._lists.take(configs)
        pair_offsets = lists.offsets
        position = np.arange(len(configs))
        batch_start = np.repeat(bounds[:-1], np.diff(bounds))
        first_atom = atom_offsets[:-1] - atom_offsets[batch_start]
        species = torch.from_numpy(self._species_of[self._data.atomic_numbers[atoms]])
        pair_indices = torch.from_numpy(lists.pairs + np.repeat(first_atom, np.diff(pair_offsets)))
        pair_vectors = torch.from_numpy(lists.pair_vectors)
        config_index = torch.from_numpy(np.repeat(position - batch_start, np.diff(atom_offsets)))
        energies = torch.from_numpy(self._data.energies[configs])
        forces = None
        if self._forces is not None:
            forces = torch.from_numpy(self._forces[atoms].astype(self._numpy_dtype))
        energy_weights = force_weights = None
        if self._weights is not None:
            energy_weights = torch.from_numpy(self._weights.energies[configs])
            of_atoms = self._weights.forces[atoms].astype(self._numpy_dtype)
            force_weights = torch.from_numpy(of_atoms).unsqueeze(1)
        for start, stop in itertools.pairwise(bounds.tolist()):
            a = slice(atom_offsets[start], atom_offsets[stop])
            p = slice(pair_offsets[start], pair_offsets[stop])
            yield Batch(
                species[a],
                pair_indices[:, p].contiguous(),
                pair_vectors[p],
                config_index[a],
                energies[start:stop],
                None if forces is None else forces[a],
                None if energy_weights is None else energy_weights[start:stop],
                None if force_weights is None else force_weights[a],
            )


@dataclass(frozen=True)
class _Pairs:
    """Pairs of some configurations, with atom indices relative to the configuration.

    Attributes:
        pairs: centers and neighbors, [2, n_pairs], any integer type.
        pair_vectors: vectors from centers to neighbors, [n_pairs, 3] Å.
        offsets: offsets of the configurations in the pairs, int64 [n_configs + 1].
    """

    pairs: NDArray[np.integer[Any]]
    pair_vectors: NDArray[np.floating[Any]]
    offsets: NDArray[np.int64]


class _Lists:
    """Neighbor lists that are made on demand."""

    def __init__(self, data: Dataset, cutoff: float, dtype: type[np.floating[Any]]) -> None:
        self._data = data
        self._cutoff = cutoff
        self._dtype = dtype
        self.bytes_per_pair = 2 * 4 + 3 * np.dtype(dtype).itemsize

    def take(self, configs: NDArray[np.int64]) -> _Pairs:
        if len(configs) == 0:  # this process has no configurations in these batches
            return _Pairs(
                np.empty((2, 0), np.int32), np.empty((0, 3), self._dtype), np.zeros(1, np.int64)
            )
        data = self._data
        atoms, offsets = _rows(data.offsets, configs)
        cells = None if data.cells is None else data.cells[configs]
        pbc = None if data.pbc is None else data.pbc[configs]
        try:
            found = batched_neighbor_list(data.positions[atoms], offsets, self._cutoff, cells, pbc)
        except StructureError as error:
            raise self._located(configs) or error from None
        first_atom = np.repeat(offsets[:-1], np.diff(found.pair_offsets))
        return _Pairs(
            (found.pairs - first_atom).astype(np.int32),
            found.pair_vectors.astype(self._dtype),
            found.pair_offsets,
        )

    def _located(self, configs: NDArray[np.int64]) -> StructureError | None:
        """Find the first invalid configuration, and return its error."""
        data = self._data
        for config in configs:
            rows = slice(int(data.offsets[config]), int(data.offsets[config + 1]))
            cell = None if data.cells is None else data.cells[config]
            pbc = False if data.pbc is None else data.pbc[config]
            try:
                neighbor_list(data.positions[rows], self._cutoff, cell, pbc)
            except StructureError as error:
                return error.within(f"configuration {config} of '{data.provenance.path}'")
        return None


class _KeptLists:
    """Neighbor lists of a whole dataset, made once and kept in memory."""

    def __init__(self, lists: _Lists, n_configs: int) -> None:
        step = 10_000
        parts = [
            lists.take(np.arange(start, min(start + step, n_configs)))
            for start in range(0, n_configs, step)
        ]
        self._pairs = np.concatenate([part.pairs for part in parts], axis=1)
        self._pair_vectors = np.concatenate([part.pair_vectors for part in parts])
        counts = np.concatenate([np.diff(part.offsets) for part in parts])
        self._offsets = np.concatenate([[0], np.cumsum(counts)])
        self.n_pairs = int(self._offsets[-1])

    def take(self, configs: NDArray[np.int64]) -> _Pairs:
        rows, offsets = _rows(self._offsets, configs)
        return _Pairs(self._pairs[:, rows], self._pair_vectors[rows], offsets)


def _rows(
    offsets: NDArray[np.int64], chosen: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of chosen segments of a ragged array, and the offsets of the segments."""
    counts = offsets[chosen + 1] - offsets[chosen]
    new_offsets = np.concatenate([[0], np.cumsum(counts)])
    rows = np.arange(new_offsets[-1]) + np.repeat(offsets[chosen] - new_offsets[:-1], counts)
    return rows, new_offsets
