"""The far set differs from all training configurations and molecules of the pool."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.data import covalent_radii

import ekd
from ekd.config import load_config
from ekd.data import Dataset
from ekd.pool.geometries import BOND
from ekd.pool.molecules import named

EXAMPLES = Path(__file__).parents[2] / "examples"
KEYS = {"energy": "ccsd(t)_ccpvdz.energy", "energy_unit": "Hartree"}


def load(name: str) -> Dataset:
    return ekd.load_dataset(EXAMPLES / "data" / name, forces="ccsd(t)_ccpvdz.forces", **KEYS)


def environments(atoms: Atoms) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Every atom with the elements bonded to it, to distinguish isomers."""
    radii = covalent_radii[atoms.numbers]
    bonded = atoms.get_all_distances() < BOND * (radii[:, None] + radii)
    np.fill_diagonal(bonded, False)
    numbers = atoms.numbers
    return tuple(
        sorted(
            (int(z), tuple(sorted(numbers[row].tolist())))
            for z, row in zip(numbers, bonded, strict=True)
        )
    )


def kinds(structures: Iterable[Atoms]) -> set[object]:
    return {environments(atoms) for atoms in structures}


@pytest.mark.parametrize("name", ["ccsdt_chno_far.h5", "ccsdt_chno_far_tuning.h5"])
def test_nothing_that_is_trained_on_is_in_it(name: str) -> None:
    far = load(name)
    training = ekd.load_dataset(EXAMPLES / "data" / "ccsdt_chno.h5", **KEYS)
    assert not set(far.formulas) & set(training.formulas)
    single = [far.atoms(k) for k in np.flatnonzero(["+" not in group for group in far.groups])]
    assert single
    pool = load_config(EXAMPLES / "quickstart.toml").pool
    assert pool is not None
    assert pool.molecules is not None
    assert not kinds(single) & kinds(named(pool.molecules, None))
    assert pool.n_joined == 0  # otherwise molecules of the far set would have to be excluded
    second = ekd.load_dataset(EXAMPLES / "data" / "mp2_chno.h5")
    assert not kinds(single) & kinds(second.atoms(k) for k in range(len(second)))


def test_settings_are_chosen_on_other_systems() -> None:
    assert not set(load("ccsdt_chno_far.h5").groups) & set(load("ccsdt_chno_far_tuning.h5").groups)


@pytest.mark.parametrize("name", ["ccsdt_chno_far.h5", "ccsdt_chno_far_tuning.h5", "mp2_chno.h5"])
def test_forces_are_those_of_neutral_systems_at_rest(name: str) -> None:
    """Their sum and torque are zero."""
    mp2 = name.startswith("mp2")
    data = ekd.load_dataset(EXAMPLES / "data" / name) if mp2 else load(name)
    assert data.forces is not None
    centres = np.add.reduceat(data.positions, data.offsets[:-1]) / data.n_atoms_per_config[:, None]
    arms = data.positions - centres[data.config_index]
    for quantity in (data.forces, np.cross(arms, data.forces)):
        assert np.abs(np.add.reduceat(quantity, data.offsets[:-1])).max() < 1e-3


def test_the_close_mp2_set_has_molecules_that_are_pressed_together() -> None:
    """It contains the other set, and clusters that keep hydrogen atoms of a liquid apart."""
    data = ekd.load_dataset(EXAMPLES / "data" / "mp2_chno_close.h5")
    first = ekd.load_dataset(EXAMPLES / "data" / "mp2_chno.h5")
    assert len(data) == len(first) + 248
    np.testing.assert_array_equal(data.energies[: len(first)], first.energies)
    waters = [data.atoms(k) for k in np.flatnonzero(data.formulas == "H4O2")]
    assert len(waters) > 100
    assert all(atoms.get_chemical_symbols() == ["O", "H", "H"] * 2 for atoms in waters)
    between = np.array([atoms.get_all_distances()[:3, 3:] for atoms in waters])
    hydrogens = between[:, 1:, 1:].min(axis=(1, 2))
    bridges = np.minimum(between[:, 0, 1:].min(axis=1), between[:, 1:, 0].min(axis=1))
    assert (hydrogens < 1.4).sum() > 10
    assert (bridges < 1.5).sum() > 10
