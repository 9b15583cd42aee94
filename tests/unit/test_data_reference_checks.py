"""Suspicious reference energies give warnings; valid ones of any method do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ekd.data import Dataset
from ekd.data.reference_checks import lowest_energy, of_fit, of_given, of_values, undetermined
from ekd.data.reference_energies import fit_energies, reference_energies

ELEMENTS = (1, 7, 8)
WATER, AMMONIA, PEROXIDE = (2, 0, 1), (3, 1, 0), (2, 0, 2)
SOUND = {  # eV: H, N, O; bonds are a few eV per atom on top
    "all electrons": (-13.6, -1485.0, -2041.8),
    "pseudopotentials": (-13.6, -270.0, -432.0),
    "GFN2-xTB": (-10.7, -71.0, -102.6),
    "VASP": (-1.1, -3.1, -1.9),
    "relative to atoms": (0.0, 0.0, 0.0),
}


def molecules(atoms: tuple[float, ...], *rows: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Energies of ten conformers per composition: atoms, bonds of 3.5 eV per atom, distortion."""
    composition = np.repeat(np.array(rows), 10, axis=0)
    strain = np.tile(np.linspace(0, 0.5, 10), len(rows))
    return composition, composition @ np.array(atoms) - 3.5 * composition.sum(axis=1) + strain


def doubts(composition: np.ndarray, energies: np.ndarray) -> list[str]:
    fitted = fit_energies(ELEMENTS, composition, energies)
    return of_fit(fitted, ELEMENTS, composition, energies)


@pytest.mark.parametrize("atoms", SOUND.values(), ids=SOUND)
def test_sound_energies_of_any_method(atoms: tuple[float, ...]) -> None:
    composition, energies = molecules(atoms, WATER, AMMONIA, PEROXIDE)
    assert doubts(composition, energies) == []
    assert of_values(dict(zip(ELEMENTS, atoms, strict=True))) is None
    assert of_given(dict(zip(ELEMENTS, atoms, strict=True)), ELEMENTS, composition, energies) == []
    # Valid atoms among the configurations give no warning either.
    with_atoms = np.concatenate([composition, np.eye(3, dtype=int)])
    assert doubts(with_atoms, np.concatenate([energies, atoms])) == []


def test_shipped_data(training_dataset: Dataset) -> None:
    assert reference_energies(training_dataset)[1] == []


def test_compositions_that_do_not_fix_them() -> None:
    composition, energies = molecules(SOUND["all electrons"], WATER, AMMONIA)
    (warning,) = doubts(composition, energies)
    assert "not determine the reference energies of H, N, O, which were fitted as H -6" in warning
    assert "no energy of the data changes with H +1, N -3, O -2 eV" in warning
    assert "give reference_energies = {H = ..., ...}" in warning


def test_combinations_are_those_that_change_nothing() -> None:
    rows = np.array([[12, 12, 2, 1, 0], [6, 2, 0, 1, 0], [0, 0, 0, 0, 4], [0, 0, 0, 0, 2]])
    found = undetermined((1, 6, 7, 8, 14), rows)
    assert len(found) == 2
    for combination in found:
        vector = np.array([combination.get(z, 0) for z in (1, 6, 7, 8, 14)])
        np.testing.assert_array_equal(rows @ vector, 0)
    assert all(14 not in combination for combination in found)
    assert undetermined((1, 8), np.array([[2, 1]])) == [{1: 1, 8: -2}]
    assert undetermined((1, 8), np.array([[2, 1], [2, 2], [0, 1]])) == []
    assert undetermined((1, 8), np.array([[2, 0], [4, 0]])) == []  # O does not occur


def test_atom_of_another_level_that_fixes_the_rest() -> None:
    """It alone determines H, N and O, which inherit its error of +870 and -3,982 eV."""
    composition, energies = molecules(SOUND["all electrons"], WATER, AMMONIA)
    composition = np.concatenate([composition, [(0, 1, 0)]])
    (warning,) = doubts(composition, np.concatenate([energies, [-4150.0]]))
    assert warning.startswith("impossible reference energies, in eV: H 8")
    assert "O -38" in warning
    assert "isolated atoms at another level of theory" in warning


@pytest.mark.parametrize("energy", [-432.0, 0.0, -75.0])
def test_atom_of_another_level_among_molecules(energy: float) -> None:
    composition, energies = molecules(SOUND["all electrons"], WATER, AMMONIA, PEROXIDE)
    composition = np.concatenate([composition, [(0, 0, 1)]])
    found = doubts(composition, np.concatenate([energies, [energy]]))
    assert found[0].startswith("single atoms among the configurations do not fit")
    assert "O +" in found[0]


def test_unit_that_was_not_meant() -> None:
    composition, energies = molecules(SOUND["all electrons"], WATER, AMMONIA, PEROXIDE)
    assert "or check energy_unit" in doubts(composition, 23.06 * energies)[-1]


def test_given_energies_of_another_level(small_dataset: Dataset) -> None:
    atoms = {1: -13.6, 6: -1029.8, 7: -1485.3, 8: -2041.8}
    given = replace(small_dataset, reference_energies=atoms)
    assert reference_energies(given) == (atoms, [])
    other = replace(small_dataset, reference_energies=atoms | {8: -432.0})
    energies, (warning,) = reference_energies(other)
    assert energies[8] == -432.0
    assert "atoms and data are at different levels of theory" in warning


@pytest.mark.parametrize(
    ("number", "energy"), [(1, -13.6), (2, -79.0), (8, -2043.0), (26, -34600.0), (92, -763000.0)]
)
def test_bound_lies_below_what_calculations_give(number: int, energy: float) -> None:
    assert 1.5 * energy - 30 < lowest_energy(number) < energy
