"""Comparisons of neighbor lists, and a disordered structure for them."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields

import numpy as np

from ekd.neighbor_list import (
    NeighborList,
)
from tolerances import tolerance


def as_counter(pairs: np.ndarray, shifts: np.ndarray) -> Counter[tuple[int, ...]]:
    return Counter(map(tuple, np.column_stack([pairs.T, shifts]).tolist()))


def assert_consistent(found: NeighborList, positions: np.ndarray, cell: np.ndarray) -> None:
    """Vectors match the pairs and shifts; centers ascend."""
    vectors = positions[found.pairs[1]] - positions[found.pairs[0]] + found.cell_shifts @ cell
    np.testing.assert_allclose(found.pair_vectors, vectors, **tolerance("symmetry").bounds)
    assert (np.diff(found.pairs[0]) >= 0).all()
    n_neighbors = np.bincount(found.pairs[0], minlength=len(positions))
    np.testing.assert_array_equal(np.diff(found.center_offsets), n_neighbors)


def assert_equal(a: NeighborList, b: NeighborList) -> None:
    """All arrays are bitwise equal."""
    for field in fields(NeighborList):
        np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name))


def liquid(n: int, spacing: float = 2.2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Positions of n³ disordered atoms in a cube, and the cell."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*3 * [np.arange(n)]), axis=-1).reshape(-1, 3)
    positions = spacing * (grid + rng.uniform(-0.3, 0.3, grid.shape))
    return rng.permutation(positions), n * spacing * np.eye(3)
