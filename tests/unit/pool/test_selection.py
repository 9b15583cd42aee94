from __future__ import annotations

from dataclasses import replace

import numpy as np
from ase import Atoms
from ase.build import molecule

from ekd.data.combine import concatenate
from ekd.pool.recipe import copies
from ekd.pool.selection import largest_forces, near_duplicates


def test_turned_and_renumbered_copies_are_duplicates() -> None:
    start = molecule("CH3CH2OH")
    turned = start.copy()
    turned.rotate(50, (1, 2, 3))
    mirrored = start.copy()
    mirrored.positions *= -1
    moved = start.copy()
    moved.positions[0] += 0.3
    near = start.copy()
    near.positions[3] += [0.005, 0, 0]
    structures = [start, turned, start[::-1], mirrored, near, moved, molecule("CH3OCH3")]
    data = concatenate(*(copies("x", atoms, 1) for atoms in structures))
    found = near_duplicates(data, 0.02)
    assert found.tolist() == [False, True, True, True, True, False, False]
    assert not near_duplicates(data, 0.0).any()


def test_a_chain_of_neighbours_is_not_dropped_as_a_whole() -> None:
    data = concatenate(
        *(copies("x", Atoms("N2", [[0, 0, 0], [0, 0, 1 + 0.015 * step]]), 1) for step in range(5))
    )
    assert near_duplicates(data, 0.02).tolist() == [False, True, False, True, False]


def test_agrees_with_a_comparison_of_all_pairs() -> None:
    random = np.random.default_rng(0)
    start = molecule("CH4")
    structures = []
    for _ in range(120):
        copy = start.copy()
        copy.positions += random.normal(scale=0.03, size=(5, 3))
        structures.append(copy)
    data = concatenate(*(copies("x", atoms, 1) for atoms in structures))

    def sorted_distances(atoms: Atoms) -> np.ndarray:
        d = np.linalg.norm(atoms.positions[:, None] - atoms.positions, axis=-1)
        to_carbon, others = d[0, 1:], d[1:, 1:][np.triu_indices(4, 1)]
        return np.concatenate([np.sort(others), np.sort(to_carbon)])

    kept: list[np.ndarray] = []
    expected = []
    for atoms in structures:
        mine = sorted_distances(atoms)
        near = any(np.sqrt(np.mean((mine - other) ** 2)) < 0.02 for other in kept)
        expected.append(near)
        if not near:
            kept.append(mine)
    assert 10 < sum(expected) < 110
    assert near_duplicates(data, 0.02).tolist() == expected


def test_periodic_configurations_are_not_compared() -> None:
    box = molecule("H2O", cell=[5.0, 5.0, 5.0], pbc=True)
    data = concatenate(copies("x", box, 2), copies("x", molecule("H2O"), 2))
    assert near_duplicates(data, 0.02).tolist() == [False, False, False, True]


def test_largest_forces_are_norms() -> None:
    data = replace(copies("x", Atoms("N2", [[0, 0, 0], [0, 0, 1]]), 2), forces=np.zeros((4, 3)))
    assert data.forces is not None
    data.forces[1] = [3.0, 4.0, 0.0]
    data.forces[2] = np.nan
    found = largest_forces(data)
    assert found[0] == 5.0
    assert np.isnan(found[1])
