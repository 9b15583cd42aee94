"""Measures of every configuration: closest contact, and two keys for finding duplicates.

The keys change by no more than the atoms are displaced, independent of the size of the molecule, so
duplicates are neighbors when configurations are sorted by them:

- non-periodic: the mean distance weighted by the product of the atomic numbers, and the root mean
  square distance; both are invariant to rotation, reflection and permutation of like atoms;
- periodic: the cube root of the volume, and ``|sum_j Z_j exp(2 pi i g.s_j)| / sum_j Z_j`` for
  scaled positions s and g = (1, 1, 1), which are invariant to translation and wrapping.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from ase.geometry import complete_cell
from numpy.typing import NDArray

from ekd.errors import StructureError
from ekd.neighbor_list import batched_neighbor_list

CONTACT_CUTOFF = 3.0
"""Å; longer contacts of periodic configurations are not searched for."""

_PAIRS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Measures:
    """Measures of some configurations.

    Attributes:
        contacts: smallest distance, [n_configs] Å; infinite for single atoms, zero if atoms
            coincide.
        keys: [n_configs, 2], see the module docstring.
    """

    contacts: NDArray[np.float64]
    keys: NDArray[np.float64]


class PairContacts:
    """Smallest distance of every pair of elements so far.

    Args:
        elements: atomic numbers, in ascending order.
    """

    def __init__(self, elements: NDArray[np.int64]) -> None:
        self.elements = elements
        self.distances = np.full((len(elements), len(elements)), np.inf)

    def update(
        self, first: NDArray[np.int64], second: NDArray[np.int64], distances: NDArray[np.float64]
    ) -> None:
        """Include some pairs of species (indices into ``elements``)."""
        low, high = np.minimum(first, second), np.maximum(first, second)
        closer = distances < self.distances[low, high]  # very few after the first block
        np.minimum.at(self.distances, (low[closer], high[closer]), distances[closer])


def measure(
    atomic_numbers: NDArray[np.integer],
    positions: NDArray[np.float64],
    offsets: NDArray[np.int64],
    cells: NDArray[np.float64],
    pbc: NDArray[np.bool_],
    chosen: NDArray[np.bool_],
    pair_contacts: PairContacts,
) -> Measures:
    """Measure configurations of a block, and update the contacts of pairs of elements.

    Args:
        atomic_numbers: [n_atoms].
        positions: [n_atoms, 3] Å.
        offsets: [n_configs + 1].
        cells: [n_configs, 3, 3] Å.
        pbc: [n_configs, 3].
        chosen: [n_configs] mask; the others get an infinite contact and NaN as keys.
        pair_contacts: changed in place.
    """
    n_configs = len(offsets) - 1
    contacts, keys = np.full(n_configs, np.inf), np.full((n_configs, 2), np.nan)
    keys[chosen] = 0.0
    periodic = pbc.any(axis=1)
    species = np.searchsorted(pair_contacts.elements, atomic_numbers)
    isolated = np.flatnonzero(chosen & ~periodic)
    for places, atoms in same_size(offsets, isolated):
        configs = isolated[places]
        n_atoms = atoms.shape[1]
        if n_atoms < 2:
            continue
        distances = pair_distances(positions[atoms])
        first, second = np.triu_indices(n_atoms, 1)
        numbers = atomic_numbers[atoms].astype(np.float64)
        weights = numbers[:, first] * numbers[:, second]
        contacts[configs] = distances.min(axis=1)
        keys[configs, 0] = (weights * distances).sum(axis=1) / weights.sum(axis=1)
        keys[configs, 1] = np.sqrt(np.square(distances).mean(axis=1))
        kinds = species[atoms]
        pair_contacts.update(kinds[:, first].ravel(), kinds[:, second].ravel(), distances.ravel())
    for config in np.flatnonzero(chosen & periodic):
        rows = slice(int(offsets[config]), int(offsets[config + 1]))
        cell = scaling_cell(cells[config], pbc[config])
        phases = 2 * np.pi * np.linalg.solve(cell.T, positions[rows].T).sum(axis=0)
        weights = atomic_numbers[rows].astype(np.float64)
        keys[config, 0] = np.cbrt(abs(np.linalg.det(cell)))
        keys[config, 1] = abs((weights * np.exp(1j * phases)).sum()) / weights.sum()
        contacts[config] = _periodic_contact(
            species[rows], positions[rows], cells[config], pbc[config], pair_contacts
        )
    return Measures(contacts, keys)


def same_size(
    offsets: NDArray[np.int64],
    configs: NDArray[np.int64],
    places: NDArray[np.int64] | None = None,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield indices into ``configs`` with equal numbers of atoms, [m], and their atoms, [m, n].

    Args:
        offsets: [n_configs + 1] first atom of every configuration.
        configs: configurations.
        places: indices into ``configs`` to include; None: all.
    """
    if places is None:
        places = np.arange(len(configs))
    sizes = offsets[configs[places] + 1] - offsets[configs[places]]
    for size in np.unique(sizes):
        members = places[sizes == size]
        step = max(1, _PAIRS_AT_ONCE // max(1, int(size) * (int(size) - 1) // 2))
        for start in range(0, len(members), step):
            part = members[start : start + step]
            yield part, offsets[configs[part]][:, None] + np.arange(size)


def pair_distances(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances of all pairs i < j: [m, n, 3] Å to [m, n (n - 1) / 2] Å."""
    first, second = np.triu_indices(positions.shape[1], 1)
    square = np.zeros((len(positions), len(first)))
    for axis in range(3):
        square += np.square(positions[:, first, axis] - positions[:, second, axis])
    return np.sqrt(square)


def scaling_cell(cell: NDArray[np.float64], pbc: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the cell with unit vectors in the non-periodic directions."""
    return np.asarray(complete_cell(np.where(pbc[:, None], cell, 0.0)), dtype=np.float64)


def _periodic_contact(
    species: NDArray[np.int64],
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    pbc: NDArray[np.bool_],
    pair_contacts: PairContacts,
) -> float:
    offsets = [0, len(positions)]
    try:
        found = batched_neighbor_list(positions, offsets, CONTACT_CUTOFF, cell[None], pbc[None])
    except StructureError:  # coincident atoms; other problems were refused before
        return 0.0
    distances = np.linalg.norm(found.pair_vectors, axis=1)
    pair_contacts.update(species[found.pairs[0]], species[found.pairs[1]], distances)
    return float(distances.min(initial=np.inf))
