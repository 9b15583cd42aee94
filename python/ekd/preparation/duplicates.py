"""Detection of configurations with equal geometries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ekd.preparation.geometry import pair_distances, same_size, scaling_cell

TOLERANCE = 1e-4
"""Å; tolerance for changes of distances by rounding in text files."""

_TYPE = 1e6  # Å, larger than any distance: sorts by type of pair first


class Geometries:
    """Structures to compare, by index of the configuration.

    Args:
        atomic_numbers: [n_atoms].
        positions: [n_atoms, 3] Å.
        offsets: [n_configs + 1].
        cells: [n_configs, 3, 3] Å.
        pbc: [n_configs, 3].
    """

    def __init__(
        self,
        atomic_numbers: NDArray[np.integer],
        positions: NDArray[np.float64],
        offsets: NDArray[np.int64],
        cells: NDArray[np.float64],
        pbc: NDArray[np.bool_],
    ) -> None:
        self._atomic_numbers = atomic_numbers
        self._positions = positions
        self._offsets = offsets
        self._cells = cells
        self._pbc = pbc

    def equal(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.bool_]:
        """[n_pairs] whether two configurations of one composition have the same geometry.

        Non-periodic: all distances agree, sorted by pair of elements. Periodic: cell and positions
        agree, except for translation and wrapping.
        """
        result = np.zeros(len(first), dtype=bool)
        periodic = self._pbc[first].any(axis=1)
        open_pairs = np.flatnonzero(~periodic & ~self._pbc[second].any(axis=1))
        for places, one in same_size(self._offsets, first, open_pairs):
            other = self._offsets[second[places]][:, None] + np.arange(one.shape[1])
            difference = np.abs(self._sorted_distances(one) - self._sorted_distances(other))
            result[places] = difference.max(axis=1, initial=0.0) <= TOLERANCE
        for place in np.flatnonzero(periodic):
            result[place] = self._equal_periodic(first[place], second[place])
        return result

    def _sorted_distances(self, atoms: NDArray[np.int64]) -> NDArray[np.float64]:
        first, second = np.triu_indices(atoms.shape[1], 1)
        numbers = self._atomic_numbers[atoms].astype(np.int64)
        low = np.minimum(numbers[:, first], numbers[:, second])
        high = np.maximum(numbers[:, first], numbers[:, second])
        distances = pair_distances(self._positions[atoms])
        return np.sort(distances + _TYPE * (128 * low + high), axis=1)

    def _equal_periodic(self, first: np.int64, second: np.int64) -> bool:
        one, other = (slice(*self._offsets[config : config + 2]) for config in (first, second))
        if (self._pbc[first] != self._pbc[second]).any():
            return False
        if (self._atomic_numbers[one] != self._atomic_numbers[other]).any():
            return False
        pbc = self._pbc[first]
        cells = [scaling_cell(self._cells[config], pbc) for config in (first, second)]
        if np.abs(cells[0] - cells[1]).max() > TOLERANCE:
            return False
        shift = self._positions[other] - self._positions[one]
        scaled = np.linalg.solve(cells[0].T, (shift - shift[0]).T).T
        scaled -= np.where(pbc, np.round(scaled), 0.0)
        return bool(np.abs(scaled @ cells[0]).max() <= TOLERANCE)


def find_duplicates(
    composition: NDArray[np.integer],
    keys: NDArray[np.float64],
    geometries: Geometries,
) -> NDArray[np.int64]:
    """Return the first configuration with the same geometry for every configuration.

    Args:
        composition: [n_configs, n_elements] number of atoms of each element.
        keys: [n_configs, 2] keys from :func:`~.geometry.measure`; NaN: not compared.
        geometries: structures, to compare those whose composition and keys agree.
    """
    first_of = np.arange(len(keys))
    configs = np.flatnonzero(np.isfinite(keys).all(axis=1))
    _, formula = np.unique(composition[configs], axis=0, return_inverse=True)
    formula = formula.reshape(-1)
    order = np.lexsort((keys[configs, 0], formula))
    configs, formula, keys = configs[order], formula[order], keys[configs[order]]
    ahead, before = [], []
    candidates = np.arange(len(configs))
    # Compare with the next one, the second next, and so on, as long as the first key agrees.
    for step in range(1, len(configs)):
        candidates = candidates[candidates + step < len(configs)]
        near = formula[candidates] == formula[candidates + step]
        near &= keys[candidates + step, 0] - keys[candidates, 0] <= TOLERANCE
        candidates = candidates[near]
        if len(candidates) == 0:
            break
        other = candidates + step
        close = np.abs(keys[candidates, 1] - keys[other, 1]) <= 10 * TOLERANCE
        one, other = configs[candidates[close]], configs[other[close]]
        same = geometries.equal(one, other)
        before.append(np.minimum(one, other)[same])
        ahead.append(np.maximum(one, other)[same])
    if before:
        pairs = np.stack([np.concatenate(before), np.concatenate(ahead)], axis=1)
        for earlier, later in pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))][::-1]:
            first_of[later] = earlier  # ends with the earliest
        for later in np.unique(pairs[:, 1]):
            first_of[later] = first_of[first_of[later]]
    return first_of
