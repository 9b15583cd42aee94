"""Molecules made of two others."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.data import covalent_radii

from ekd.pool.joining import CLEARANCE, join_many, joined

NAMES = ("CH4", "H2CO", "H2O", "NH3", "CH3OH", "C2H2", "C6H6", "HCOOH")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("names", [("CH4", "H2CO"), ("H2O", "C6H6"), ("C2H2", "NH3")])
def test_each_half_keeps_its_shape(names: tuple[str, str], seed: int) -> None:
    halves = [molecule(name) for name in names]
    found = joined(*halves, np.random.default_rng(seed))
    assert found is not None
    n = len(halves[0]) - 1
    assert len(found) == len(halves[0]) + len(halves[1]) - 2
    parts = (found[:n], found[n:])
    for part, whole in zip(parts, halves, strict=True):
        assert sorted([*part.numbers, 1]) == sorted(whole.numbers)
        distances = np.sort(part.get_all_distances().ravel())
        candidates = []
        for index in np.flatnonzero(whole.numbers == 1):
            left = np.delete(np.arange(len(whole)), index)
            candidates.append(np.sort(whole[left].get_all_distances().ravel()))
        assert min(np.abs(distances - other).max() for other in candidates) < 1e-9


def test_one_bond_joins_them_and_nothing_else_is_close() -> None:
    first, second = molecule("CH3OH"), molecule("CH3OH")
    for seed in range(20):
        found = joined(first, second, np.random.default_rng(seed))
        if found is None:
            continue
        n = len(first) - 1
        radii = covalent_radii[found.numbers]
        ratio = (found.get_all_distances() / (radii[:, None] + radii))[:n, n:].ravel()
        assert np.sort(ratio)[0] == pytest.approx(1.0)
        assert np.sort(ratio)[1] > CLEARANCE


@pytest.mark.parametrize("name", ["CO2", "N2", "H2"])
def test_without_a_hydrogen_to_give_up_there_is_none(name: str) -> None:
    assert joined(molecule("CH4"), molecule(name), np.random.default_rng(0)) is None


def test_hydrogen_along_the_new_bond_or_against_it() -> None:
    """A rotation by 180 degrees has no unique axis."""
    straight = Atoms("CH", [(0, 0, 0), (0, 0, 1.1)])
    for other in (straight, Atoms("CH", [(0, 0, 0), (0, 0, -1.1)])):
        found = joined(straight, other, np.random.default_rng(0))
        assert found is not None
        assert found.get_distance(0, 1) == pytest.approx(2 * covalent_radii[6])


def test_size_and_formulas_are_obeyed() -> None:
    molecules = [molecule(name) for name in NAMES]
    random = np.random.default_rng(0)
    excluded = {"C2H4O", "C2H6", "CH4O"}
    made = join_many(molecules, 200, 4, excluded, random)
    assert len(made) == 200
    formulas = {atoms.get_chemical_formula("hill") for atoms, _ in made}
    assert len(formulas) > 10
    assert not formulas & excluded
    assert all((atoms.numbers > 1).sum() <= 4 for atoms, _ in made)
    assert all(set(its) <= set(range(len(molecules))) for _, its in made)


def test_of_nothing_there_is_nothing() -> None:
    assert join_many([molecule("CO2")], 5, 6, (), np.random.default_rng(0)) == []
