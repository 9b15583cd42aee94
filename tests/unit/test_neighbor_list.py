"""The cell list against ASE and vesin, and against what it promises."""

from __future__ import annotations

import time
from collections import Counter

import ase.neighborlist
import numpy as np
import pytest
import vesin

from ekd.errors import StructureError
from ekd.neighbor_list import NeighborList, batched_neighbor_list, neighbor_list
from tolerances import tolerance


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Positions (in and out of the cell), a triclinic cell, mixed pbc, a cutoff of any size."""
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(2, 14, 3)) + rng.normal(scale=1.5, size=(3, 3))
    positions = rng.uniform(-1, 2, (rng.integers(1, 60), 3)) @ cell
    return positions, cell, rng.integers(0, 2, 3).astype(bool), rng.uniform(2, 7)


def as_counter(pairs: np.ndarray, shifts: np.ndarray) -> Counter[tuple[int, ...]]:
    return Counter(map(tuple, np.column_stack([pairs.T, shifts]).tolist()))


def assert_consistent(found: NeighborList, positions: np.ndarray, cell: np.ndarray) -> None:
    """Vectors belong to the pairs and shifts; centres ascend."""
    vectors = positions[found.pairs[1]] - positions[found.pairs[0]] + found.cell_shifts @ cell
    np.testing.assert_allclose(found.pair_vectors, vectors, **tolerance("symmetry").bounds)
    assert (np.diff(found.pairs[0]) >= 0).all()


@pytest.mark.parametrize("seed", range(40))
def test_equals_ase(seed: int) -> None:
    positions, cell, pbc, cutoff = random_case(seed)
    i, j, shifts = ase.neighborlist.primitive_neighbor_list("ijS", pbc, cell, positions, cutoff)
    found = neighbor_list(positions, cutoff, cell, pbc)
    assert as_counter(found.pairs, found.cell_shifts) == as_counter(np.array([i, j]), shifts)
    assert_consistent(found, positions, cell)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("periodic", [False, True])
def test_equals_vesin(seed: int, periodic: bool) -> None:
    positions, cell, _, cutoff = random_case(100 + seed)
    i, j, shifts = vesin.NeighborList(cutoff=cutoff, full_list=True).compute(
        points=positions, box=cell, periodic=periodic, quantities="ijS"
    )
    found = neighbor_list(positions, cutoff, cell, periodic)
    expected = as_counter(np.array([i, j]).astype(np.int64), shifts)
    assert as_counter(found.pairs, found.cell_shifts) == expected


def test_cell_smaller_than_cutoff_sees_every_image() -> None:
    """A simple cubic lattice of spacing 1: 6 + 12 + 8 + 6 neighbours within 2.1."""
    found = neighbor_list([[0.0, 0.0, 0.0]], 2.1, np.eye(3), True)
    assert found.pairs.shape == (2, 32)
    assert (found.pairs == 0).all()
    np.testing.assert_array_equal(found.pair_vectors, found.cell_shifts)


def test_open_directions_ignore_the_cell() -> None:
    """A slab whose open direction has no cell vector, and one whose vector is of no use."""
    positions = np.random.default_rng(0).uniform(0, 5, (30, 3))
    cell = np.diag([5.0, 5.0, 0.0])
    without = neighbor_list(positions, 3.0, cell, [True, True, False])
    cell[2] = [5.0, 0.0, 0.0]  # parallel to the first
    with_vector = neighbor_list(positions, 3.0, cell, [True, True, False])
    assert as_counter(without.pairs, without.cell_shifts) == as_counter(
        with_vector.pairs, with_vector.cell_shifts
    )
    assert (without.cell_shifts[:, 2] == 0).all()


def test_batch_equals_single_structures() -> None:
    cases = [random_case(seed) for seed in range(8)]
    cutoff = 4.0
    offsets = np.cumsum([0] + [len(case[0]) for case in cases])
    batch = batched_neighbor_list(
        np.concatenate([case[0] for case in cases]),
        offsets,
        cutoff,
        np.array([case[1] for case in cases]),
        np.array([case[2] for case in cases]),
    )
    for s, (positions, cell, pbc, _) in enumerate(cases):
        single = neighbor_list(positions, cutoff, cell, pbc)
        rows = slice(batch.pair_offsets[s], batch.pair_offsets[s + 1])
        np.testing.assert_array_equal(batch.pairs[:, rows] - offsets[s], single.pairs)
        np.testing.assert_array_equal(batch.cell_shifts[rows], single.cell_shifts)
        np.testing.assert_array_equal(batch.pair_vectors[rows], single.pair_vectors)


def test_cutoff_is_strict() -> None:
    positions = [[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]]
    assert neighbor_list(positions, 2.0).pairs.shape[1] == 0
    assert neighbor_list(positions, np.nextafter(2.0, 3.0)).pairs.shape[1] == 2


def test_a_sparse_gas_needs_little_memory_and_time() -> None:
    """Bins are counted by atoms, not by volume: two molecules a metre apart are no problem."""
    positions = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1e10, 1e10, 1e10]])
    start = time.perf_counter()
    assert neighbor_list(positions, 3.0).pairs.shape[1] == 2
    assert time.perf_counter() - start < 5.0  # a grid over the volume would never end


def test_results_do_not_outlive_their_memory() -> None:
    """The arrays own what C++ allocated: they stay valid when the list is gone."""
    pairs = neighbor_list(np.random.default_rng(1).uniform(0, 6, (50, 3)), 3.0).pairs
    copy = pairs.copy()
    for seed in range(5):
        neighbor_list(np.random.default_rng(seed).uniform(0, 6, (50, 3)), 3.0)
    np.testing.assert_array_equal(pairs, copy)


OVERLAP = [[0.0, 0.0, 0.0], [5.0, 0.0, 0.0], [5.0, 0.0, 1e-5]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"positions": np.zeros((0, 3))}, "no atoms"),
        ({"positions": OVERLAP}, "atoms 1 and 2 are 1e-05 Å apart"),
        (
            {"positions": [[0.0, 0, 0], [3.0, 0, 0]], "cell": 3 * np.eye(3), "pbc": True},
            "atoms 0 and 1 are 0 Å apart",
        ),
        ({"positions": [[np.nan, 0, 0]]}, "position of atom 0 is not finite"),
        ({"positions": [[0.0, 0, 0]], "pbc": True}, "direction 0 is periodic but has no cell"),
        (
            {"positions": [[0.0, 0, 0]], "cell": np.ones((3, 3)), "pbc": True},
            "linearly dependent",
        ),
        ({"positions": [[0.0, 0, 0]], "cell": np.eye(2)}, "cells have shape"),
        ({"positions": [[0.0, 0]]}, r"positions have shape \(1, 2\)"),
        ({"positions": [[0.0, 0, 0]], "cutoff": -1.0}, "cutoff is -1"),
    ],
)
def test_refuses(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(StructureError, match=message):
        neighbor_list(**{"cutoff": 3.0, **arguments})  # type: ignore[arg-type]


def test_refuses_naming_the_structure_of_a_batch() -> None:
    positions = np.array([[0.0, 0, 0], *OVERLAP])
    with pytest.raises(StructureError, match="atoms 1 and 2 of structure 1 are"):
        batched_neighbor_list(positions, [0, 1, 4], 3.0)
    with pytest.raises(StructureError, match="no atoms of structure 1"):
        batched_neighbor_list(positions[:1], [0, 1, 1], 3.0)
    with pytest.raises(StructureError, match="offsets run from"):
        batched_neighbor_list(positions, [0, 1], 3.0)
