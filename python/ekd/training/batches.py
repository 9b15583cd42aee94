"""Batches of configurations, assembled from arrays that are computed once per dataset.

A step on a few dozen small molecules takes milliseconds, so nothing may be done per
configuration in Python: neighbour lists are made once, in one call, and the batches of an epoch
are slices of arrays that are gathered for many batches at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ekd.data import Dataset
from ekd.elements import symbol
from ekd.errors import StructureError
from ekd.neighbor_list import batched_neighbor_list

_BATCHES_PER_GATHER = 64  # bounds the memory of a gather, and makes its cost per batch vanish


@dataclass(frozen=True, eq=False)
class LossWeights:
    """How much each energy and each force counts in the loss.

    Attributes:
        energies: float64 [n_configs]; zero where a configuration has no energy to learn.
        forces: float64 [n_atoms].
    """

    energies: NDArray[np.float64]
    forces: NDArray[np.float64]


@dataclass(frozen=True)
class Batch:
    """Some configurations as one graph without edges between them.

    Attributes:
        species: int64 [n_atoms].
        pairs: int64 [2, n_pairs], indices into the atoms of the batch.
        pair_vectors: [n_pairs, 3] Å.
        config_index: int64 [n_atoms], configuration of the batch that an atom belongs to.
        energies: float64 [n_configs] eV.
        forces: [n_atoms, 3] eV/Å, or None without labels.
        energy_weights: float64 [n_configs], or None: all one.
        force_weights: [n_atoms, 1], or None: all one.
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
        """Atoms of the batch."""
        return len(self.species)

    @property
    def n_configs(self) -> int:
        """Configurations of the batch."""
        return len(self.energies)


class BatchSource:
    """A dataset with its neighbour list, ready to be cut into batches.

    Args:
        data: structures and energies.
        elements: atomic numbers in the order of the model's species.
        cutoff: Å.
        dtype: of pair vectors and forces.
        forces: labels to train on, [n_atoms, 3] eV/Å.
        weights: of energies and forces; None: all one.

    Raises:
        StructureError: an element that the model does not know, or a structure that no neighbour
            list can be made for.
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
                f"the data hold {', '.join(map(symbol, unknown))}, but the model knows only "
                f"{', '.join(map(symbol, elements))}; train a model on data with all elements"
            )
        order = np.argsort(elements)
        known = np.asarray(elements)[order]
        found = batched_neighbor_list(data.positions, data.offsets, cutoff, data.cells, data.pbc)
        self.dtype = dtype
        self.n_configs = len(data)
        self._atom_offsets = data.offsets
        self._pair_offsets = found.pair_offsets
        self._species = order[np.searchsorted(known, data.atomic_numbers)]
        n_pairs = np.diff(found.pair_offsets)
        # Atoms are counted from the start of their configuration: it moves from batch to batch.
        self._pairs = found.pairs - np.repeat(data.offsets[:-1], n_pairs)
        numpy_dtype = {torch.float32: np.float32, torch.float64: np.float64}[dtype]
        self._pair_vectors = found.pair_vectors.astype(numpy_dtype)
        self._energies = data.energies
        self._forces = None if forces is None else forces.astype(numpy_dtype)
        self._energy_weights = None if weights is None else weights.energies
        self._force_weights = None if weights is None else weights.forces.astype(numpy_dtype)

    @property
    def pairs_per_config(self) -> float:
        """Mean number of directed pairs."""
        return len(self._pair_vectors) / self.n_configs

    def energies(self, configs: NDArray[np.int64]) -> NDArray[np.float64]:
        """Energies of configurations, [len(configs)] eV."""
        return self._energies[configs]

    def forces(self, configs: NDArray[np.int64]) -> NDArray[np.floating[Any]] | None:
        """Force labels of the atoms of configurations, [n_atoms, 3] eV/Å; None without labels."""
        if self._forces is None:
            return None
        return self._forces[_rows(self._atom_offsets, configs)[0]]

    def batches(self, configs: NDArray[np.int64], batch_size: int) -> Iterator[Batch]:
        """Cut configurations, in the order given, into batches; the last may be smaller."""
        step = batch_size * _BATCHES_PER_GATHER
        for start in range(0, len(configs), step):
            yield from self._gather(configs[start : start + step], batch_size)

    def _gather(self, configs: NDArray[np.int64], batch_size: int) -> Iterator[Batch]:
        atoms, atom_offsets = _rows(self._atom_offsets, configs)
        pairs, pair_offsets = _rows(self._pair_offsets, configs)
        position = np.arange(len(configs))
        batch_start = position - position % batch_size
        first_atom = atom_offsets[:-1] - atom_offsets[batch_start]
        species = torch.from_numpy(self._species[atoms])
        pair_indices = torch.from_numpy(
            self._pairs[:, pairs] + np.repeat(first_atom, np.diff(pair_offsets))
        )
        pair_vectors = torch.from_numpy(self._pair_vectors[pairs])
        config_index = torch.from_numpy(np.repeat(position - batch_start, np.diff(atom_offsets)))
        energies = torch.from_numpy(self._energies[configs])
        forces = None if self._forces is None else torch.from_numpy(self._forces[atoms])
        energy_weights = force_weights = None
        if self._energy_weights is not None and self._force_weights is not None:
            energy_weights = torch.from_numpy(self._energy_weights[configs])
            force_weights = torch.from_numpy(self._force_weights[atoms]).unsqueeze(1)
        for start in range(0, len(configs), batch_size):
            stop = min(start + batch_size, len(configs))
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


def _rows(
    offsets: NDArray[np.int64], chosen: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the chosen segments of a ragged array, and the offsets of the segments in them."""
    counts = offsets[chosen + 1] - offsets[chosen]
    new_offsets = np.concatenate([[0], np.cumsum(counts)])
    rows = np.arange(new_offsets[-1]) + np.repeat(offsets[chosen] - new_offsets[:-1], counts)
    return rows, new_offsets
