"""Configurations that a pool does not keep: large forces and near-duplicates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ekd.data import Dataset
from ekd.preparation.geometry import pair_distances

_TYPE = 1e6  # Å, larger than any distance: sorts by type of pair first


def largest_forces(data: Dataset) -> NDArray[np.float64]:
    """Largest force norm in every configuration, [n_configs] eV/Å; NaN is kept."""
    assert data.forces is not None
    norms = np.linalg.norm(data.forces, axis=1)
    return np.asarray(np.maximum.reduceat(norms, data.offsets[:-1]))


def near_duplicates(data: Dataset, distance: float) -> NDArray[np.bool_]:
    """Whether an earlier configuration that is kept has nearly the same geometry, [n_configs].

    Two configurations of one formula are compared by the root mean square difference of all
    distances, sorted by pair of elements. Rotated, reflected and renumbered copies are equal.
    Periodic configurations are not compared.

    Args:
        data: the configurations; earlier ones have precedence.
        distance: Å; 0: no duplicates.
    """
    dropped = np.zeros(len(data), dtype=bool)
    if distance <= 0:
        return dropped
    is_open = np.ones(len(data), dtype=bool) if data.pbc is None else ~data.pbc.any(axis=1)
    _, formula = np.unique(data.composition, axis=0, return_inverse=True)
    formula = formula.reshape(-1)
    pairs = []
    for one in np.unique(formula[is_open]):
        configs = np.flatnonzero(is_open & (formula == one))
        first, second = _near_pairs(_sorted_distances(data, configs), distance)
        pairs.append(np.stack([configs[first], configs[second]], axis=1))
    if pairs:
        found = np.sort(np.concatenate(pairs), axis=1)
        # Sorted by the later one, so it is already known whether the earlier one is kept.
        for earlier, later in found[np.lexsort((found[:, 0], found[:, 1]))].tolist():
            dropped[later] |= not dropped[earlier]
    return dropped


def _sorted_distances(data: Dataset, configs: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sorted distances in configurations of one formula, [n_configs, n_pairs] Å."""
    size = int(data.n_atoms_per_config[configs[0]])
    atoms = data.offsets[configs][:, None] + np.arange(size)
    numbers = np.asarray(data.atomic_numbers[atoms], dtype=np.int64)
    first, second = np.triu_indices(size, 1)
    low = np.minimum(numbers[:, first], numbers[:, second])
    high = np.maximum(numbers[:, first], numbers[:, second])
    # Sort by type and distance, but return the distances without the added type and rounding.
    distances = pair_distances(data.positions[atoms])
    order = np.argsort(distances + _TYPE * (128 * low + high), axis=1)
    return np.take_along_axis(distances, order, axis=1)


def _near_pairs(
    distances: NDArray[np.float64], tolerance: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find pairs of rows whose root mean square difference is below a tolerance."""
    n_rows, n_pairs = distances.shape
    # Root mean squares differ by no more than the rows do, so near rows are close after sorting.
    key = np.sqrt(np.square(distances).sum(axis=1) / max(n_pairs, 1))
    order = np.argsort(key, kind="stable")
    key, distances = key[order], distances[order]
    first, second = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    candidates = np.arange(n_rows)
    for step in range(1, n_rows):
        candidates = candidates[candidates + step < n_rows]
        candidates = candidates[key[candidates + step] - key[candidates] < tolerance]
        if len(candidates) == 0:
            break
        square = np.square(distances[candidates] - distances[candidates + step]).sum(axis=1)
        near = candidates[square < tolerance**2 * max(n_pairs, 1)]
        first.append(order[near])
        second.append(order[near + step])
    return np.concatenate(first), np.concatenate(second)
