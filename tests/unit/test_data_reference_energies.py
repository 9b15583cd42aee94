"""Reference energies are the least-squares solution on composition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ekd.data import Dataset, fit_reference_energies
from tolerances import tolerance

CLOSE = tolerance("least_squares").bounds


def test_exact_sums_give_back_the_atoms(small_dataset: Dataset) -> None:
    atoms = {1: -13.6, 6: -1030.1, 7: -1485.3, 8: -2042.6}
    sums = small_dataset.composition @ np.array([atoms[number] for number in sorted(atoms)])
    found = fit_reference_energies(replace(small_dataset, energies=sums))
    assert list(found) == [1, 6, 7, 8]
    np.testing.assert_allclose(list(found.values()), list(atoms.values()), **CLOSE)
    assert all(type(value) is float for value in found.values())


def test_residuals_are_orthogonal_to_composition(training_dataset: Dataset) -> None:
    found = fit_reference_energies(training_dataset)
    composition = training_dataset.composition
    residual = training_dataset.energies - composition @ np.array(list(found.values()))
    assert residual.std() < 1.5  # eV: bonds and distortion are left, not the total energies
    assert np.abs(composition.T @ residual).max() < 1e-9 * np.abs(training_dataset.energies).sum()


def test_undetermined_elements_take_the_smallest_norm(small_dataset: Dataset) -> None:
    water = small_dataset.subset(small_dataset.formulas == "H2O")
    found = fit_reference_energies(water)
    np.testing.assert_allclose(2 * found[1] + found[8], water.energies.mean(), **CLOSE)
    np.testing.assert_allclose(found[1], 2 * found[8], **CLOSE)  # along (2, 1): the row space
