"""Duplicates, checked by a comparison of all pairs of configurations."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from ase import Atoms

from ekd.preparation.duplicates import TOLERANCE, Geometries, find_duplicates
from ekd.preparation.geometry import PairContacts, measure
from systems import methanol, tiny_cell, triclinic_crystal, water, water_box


def find(frames: list[Atoms]) -> tuple[np.ndarray, np.ndarray, PairContacts]:
    """Duplicates, closest contacts, and contacts of pairs of elements."""
    numbers = np.concatenate([frame.numbers for frame in frames])
    positions = np.concatenate([frame.positions for frame in frames])
    offsets = np.concatenate([[0], np.cumsum([len(frame) for frame in frames])])
    cells = np.array([frame.cell.array for frame in frames])
    pbc = np.array([frame.pbc for frame in frames])
    elements = np.unique(numbers)
    composition = np.array([[(f.numbers == z).sum() for z in elements] for f in frames])
    contacts = PairContacts(elements)
    chosen = np.ones(len(frames), dtype=bool)
    measures = measure(numbers, positions, offsets, cells, pbc, chosen, contacts)
    geometries = Geometries(numbers, positions, offsets, cells, pbc)
    return find_duplicates(composition, measures.keys, geometries), measures.contacts, contacts


def moved(atoms: Atoms, seed: int, noise: float = 0.0) -> Atoms:
    """Rotate, mirror and shift a structure; periodic structures are only shifted and wrapped."""
    generator = np.random.default_rng(seed)
    copy = atoms.copy()
    copy.translate(generator.normal(size=3))
    if copy.pbc.any():
        copy.wrap()
    else:
        copy.rotate(generator.uniform(0, 360), generator.normal(size=3))
        copy.positions[:, 0] *= -1
        copy = copy[generator.permutation(len(copy))]
    copy.positions += generator.uniform(-noise, noise, copy.positions.shape)
    return copy


@pytest.mark.parametrize("seed", range(3))
def test_against_all_pairs(seed: int) -> None:
    """Copies in random order, with noise below the tolerance or far above it."""
    generator = np.random.default_rng(seed)
    originals = [water(0), water(1), methanol(0), triclinic_crystal(0), triclinic_crystal(1)]
    originals += [tiny_cell(0), water_box(seed=0), Atoms("H"), Atoms("O")]
    kinds = generator.integers(len(originals), size=60)
    near = generator.random(60) < 0.6
    frames = [
        moved(originals[kind], 100 * seed + index, 0.1 * TOLERANCE if same else 0.02)
        for index, (kind, same) in enumerate(zip(kinds, near, strict=True))
    ]
    first_of, _, _ = find(frames)
    seen: dict[int, int] = {}
    for index, (kind, same) in enumerate(zip(kinds, near, strict=True)):
        same |= len(originals[kind]) == 1  # single atoms of an element are identical
        expected = seen.setdefault(int(kind), index) if same else index
        assert first_of[index] == expected, index


def test_a_slow_drift_is_no_chain_of_duplicates() -> None:
    """Every frame is near the next one, but not within the tolerance."""
    frames = [water(0) for _ in range(20)]
    for index, frame in enumerate(frames):
        frame.positions[1] *= 1 + 5e-4 * index
    first_of, _, _ = find(frames)
    np.testing.assert_array_equal(first_of, np.arange(20))


def test_same_distances_of_other_atoms_are_no_duplicate() -> None:
    """HCN and HNC with the same distances."""
    line = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.1], [0.0, 0.0, 2.2]])
    first_of, _, _ = find([Atoms("HCN", positions=line), Atoms("HNC", positions=line)])
    assert first_of.tolist() == [0, 1]


def test_cells_matter() -> None:
    crystal = triclinic_crystal(0)
    other = crystal.copy()
    other.set_cell(crystal.cell.array + np.diag([0.0, 0.0, 0.01]))
    open_ = crystal.copy()
    open_.pbc = [True, True, False]
    first_of, _, _ = find([crystal, other, open_, crystal])
    assert first_of.tolist() == [0, 1, 2, 0]


def test_contacts_are_those_of_ase() -> None:
    frames = [water(0), methanol(0), triclinic_crystal(0), tiny_cell(0), water_box(seed=1)]
    _, contacts, pairs = find(frames)
    smallest: dict[tuple[int, int], float] = {}
    for frame, contact in zip(frames, contacts, strict=True):
        distances = frame.get_all_distances(mic=frame.pbc.any())
        np.fill_diagonal(distances, np.inf)
        assert contact == pytest.approx(distances.min(), rel=1e-12)
        for i, j in np.ndindex(distances.shape):
            pair = tuple(sorted((int(frame.numbers[i]), int(frame.numbers[j]))))
            smallest[pair] = min(smallest.get(pair, np.inf), distances[i, j])
    for (one, other), distance in smallest.items():
        place = np.searchsorted(pairs.elements, [one, other])
        if distance < 3.0:
            assert pairs.distances[tuple(place)] == pytest.approx(distance, rel=1e-12)
    assert all(a < b for a, b in pairwise(pairs.elements))
