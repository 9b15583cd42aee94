from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.data.vdw_alvarez import vdw_radii

from ekd.pool.geometries import cluster, open_bonds, rattled, stretched

MOLECULES = ["H2O", "CH3CH2OH", "C6H6", "CH3CONH2", "N2", "cyclobutane"]


def distances(atoms: Atoms) -> np.ndarray:
    return np.linalg.norm(atoms.positions[:, None] - atoms.positions, axis=-1)


def test_displacements_reach_up_to_the_largest() -> None:
    benzene = molecule("C6H6")
    random = np.random.default_rng(0)
    shifts = [rattled(benzene, 0.1, random).positions - benzene.positions for _ in range(400)]
    sizes = np.std(shifts, axis=(1, 2))
    assert 0.01 < sizes.min() < 0.03
    assert 0.09 < sizes.max() < 0.15
    assert np.mean(sizes) == pytest.approx(0.06, abs=0.005)


def test_bonds_in_rings_stay() -> None:
    ethanol, benzene = molecule("CH3CH2OH"), molecule("C6H6")
    assert len(open_bonds(ethanol)) == len(ethanol) - 1
    bonds = open_bonds(benzene)
    assert len(bonds) == 6
    assert all(len(bond.fragment) == 1 and benzene.numbers[bond.moved] == 1 for bond in bonds)
    assert open_bonds(molecule("N2")) != []
    assert open_bonds(Atoms("Ar")) == []
    assert open_bonds(bulk("C", "diamond", a=3.57)) == []


@pytest.mark.parametrize("name", MOLECULES)
def test_one_bond_is_stretched_and_the_fragments_are_rigid(name: str) -> None:
    start = molecule(name)
    bonds = open_bonds(start)
    if name == "cyclobutane":
        assert len(bonds) == 8
    random = np.random.default_rng(1)
    factors = []
    for _ in range(50):
        result = stretched(start, bonds, (0.8, 1.6), random)
        (moved,) = np.nonzero((result.positions != start.positions).any(axis=1))
        (bond,) = [bond for bond in bonds if set(bond.fragment) == set(moved)][:1]
        rest = np.setdiff1d(np.arange(len(start)), moved)
        before, after = distances(start), distances(result)
        for part in (moved, rest):
            np.testing.assert_allclose(after[np.ix_(part, part)], before[np.ix_(part, part)])
        factors.append(after[bond.fixed, bond.moved] / before[bond.fixed, bond.moved])
        # The displacement is along the bond.
        old = start.positions[bond.moved] - start.positions[bond.fixed]
        new = result.positions[bond.moved] - result.positions[bond.fixed]
        np.testing.assert_allclose(np.cross(old, new), 0.0, atol=1e-12)
    assert 0.8 <= min(factors) < 0.9
    assert 1.4 < max(factors) <= 1.6


def test_heavy_bonds_are_drawn_as_often_as_those_of_hydrogen() -> None:
    start = molecule("C2H6")
    random = np.random.default_rng(2)
    heavy = 0
    for _ in range(300):
        result = stretched(start, open_bonds(start), (0.8, 1.6), random)
        heavy += len(np.nonzero((result.positions != start.positions).any(axis=1))[0]) > 1
    assert 110 < heavy < 190


class Recorded:
    """Random generator that stores its uniform numbers."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self.normal, self.integers = self._random.normal, self._random.integers
        self.drawn: list[float] = []

    def uniform(self, low: float, high: float) -> float:
        self.drawn.append(float(self._random.uniform(low, high)))
        return self.drawn[-1]


@pytest.mark.parametrize("n_molecules", [2, 3, 4])
def test_clusters_stop_at_the_drawn_contact(n_molecules: int) -> None:
    random = np.random.default_rng(3)
    for seed in range(60):
        parts = [molecule(str(name)) for name in random.choice(MOLECULES, n_molecules)]
        recorded = Recorded(seed)
        found = cluster(parts, (0.65, 2.0), 5.5, recorded)  # type: ignore[arg-type]
        owner = np.repeat(np.arange(n_molecules), [len(part) for part in parts])
        radii = vdw_radii[found.atoms.numbers]
        all_distances = distances(found.atoms)
        ratios = all_distances / (radii[:, None] + radii)
        lowest = []
        for guest in range(1, n_molecules):
            between = ratios[np.ix_(owner == guest, owner < guest)]
            assert between.min() == pytest.approx(recorded.drawn[guest - 1], rel=1e-9)
            lowest.append(between.min())
            assert all_distances[np.ix_(owner == guest, owner < guest)].min() <= 5.5 + 1e-9
        assert found.contact == pytest.approx(min(lowest), rel=1e-9)
        assert found.contact >= 0.65 - 1e-9
        for index, part in enumerate(parts):  # rigid, turned and not reflected
            mine = found.atoms.positions[owner == index]
            np.testing.assert_allclose(
                np.linalg.norm(mine[:, None] - mine, axis=-1), distances(part), atol=1e-9
            )


def test_molecules_keep_their_handedness() -> None:
    hand = Atoms("CHFON", [[0, 0, 0], [1, 0, 0], [0, 1.3, 0], [0, 0, 1.2], [-0.8, -0.7, -0.9]])

    def volume(positions: np.ndarray) -> float:
        return float(np.linalg.det(positions[1:4] - positions[0]))

    random = np.random.default_rng(4)
    for _ in range(20):
        found = cluster([hand, hand], (0.8, 1.2), 6.0, random)
        assert volume(found.atoms.positions[:5]) == pytest.approx(volume(hand.positions))
        assert volume(found.atoms.positions[5:]) == pytest.approx(volume(hand.positions))


def test_a_short_cutoff_brings_molecules_closer() -> None:
    random = np.random.default_rng(5)
    for _ in range(50):
        found = cluster([molecule("CH4"), molecule("CH4")], (0.65, 2.0), 3.0, random)
        between = distances(found.atoms)[:5, 5:]
        assert between.min() <= 3.0 + 1e-9


def test_all_orientations_occur() -> None:
    random = np.random.default_rng(6)
    water = molecule("H2O")
    axes = []
    for _ in range(400):
        found = cluster([water, water], (0.8, 1.2), 5.5, random)
        positions = found.atoms.positions[3:]
        axes.append(positions[1] + positions[2] - 2 * positions[0])
    unit = np.array(axes) / np.linalg.norm(axes, axis=1)[:, None]
    np.testing.assert_allclose(unit.mean(axis=0), 0.0, atol=0.12)
    np.testing.assert_allclose(unit.T @ unit / len(unit), np.eye(3) / 3, atol=0.06)
