"""Flat arrays: selection, names, fingerprints and errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ekd.data import Dataset, Provenance
from ekd.errors import DataError


@pytest.fixture
def dataset() -> Dataset:
    """OH, H2O in a box with open z, and N2, with forces."""
    generator = np.random.default_rng(0)
    return Dataset(
        atomic_numbers=np.array([8, 1, 1, 8, 1, 7, 7]),
        positions=generator.normal(size=(7, 3)),
        offsets=np.array([0, 2, 5, 7]),
        energies=np.array([-1.0, -2.0, -3.0]),
        groups=np.array(["OH", "water", "N2"]),
        provenance=Provenance("x.h5", "0" * 64, "CCSD(T)", 0),
        forces=generator.normal(size=(7, 3)),
        cells=np.stack([np.zeros((3, 3)), 9.0 * np.eye(3), np.zeros((3, 3))]),
        pbc=np.array([[False] * 3, [True, True, False], [False] * 3]),
    )


def test_derived_arrays(dataset: Dataset) -> None:
    assert len(dataset) == 3
    assert dataset.n_atoms == 7
    assert dataset.elements == (1, 7, 8)
    np.testing.assert_array_equal(dataset.n_atoms_per_config, [2, 3, 2])
    np.testing.assert_array_equal(dataset.config_index, [0, 0, 1, 1, 1, 2, 2])
    np.testing.assert_array_equal(dataset.composition, [[1, 0, 1], [2, 0, 1], [0, 2, 0]])
    assert dataset.formulas.tolist() == ["HO", "H2O", "N2"]


@pytest.mark.parametrize(
    "indices", [[2, 0], [1], [1, 1, -1], np.array([True, False, True]), [0, 1, 2]]
)
def test_subset_is_the_chosen_configurations(dataset: Dataset, indices: list[int]) -> None:
    chosen = np.arange(3)[indices]
    subset = dataset.subset(indices)
    assert len(subset) == len(chosen)
    assert subset.provenance == dataset.provenance
    for row, config in enumerate(chosen):
        ours, theirs = subset.atoms(row), dataset.atoms(int(config))
        assert ours == theirs  # numbers, positions, cell and pbc
        assert subset.energies[row] == dataset.energies[config]
        assert subset.groups[row] == dataset.groups[config]
        np.testing.assert_array_equal(
            subset.forces[slice(*subset.offsets[row : row + 2])],
            dataset.forces[slice(*dataset.offsets[config : config + 2])],
        )


def test_subset_of_nothing(dataset: Dataset) -> None:
    with pytest.raises(DataError, match=r"'x\.h5' has no configurations"):
        dataset.subset(np.zeros(3, dtype=bool))


def test_atoms(dataset: Dataset) -> None:
    atoms = dataset.atoms(-2)
    assert atoms.get_chemical_formula() == "H2O"
    assert atoms.pbc.tolist() == [True, True, False]
    np.testing.assert_array_equal(atoms.positions, dataset.positions[2:5])
    np.testing.assert_array_equal(atoms.cell.array, 9.0 * np.eye(3))
    assert not replace(dataset, cells=None, pbc=None).atoms(1).pbc.any()
    with pytest.raises(IndexError):
        dataset.atoms(3)


def test_fingerprint_follows_structures_and_energies(dataset: Dataset) -> None:
    changed = [
        replace(dataset, atomic_numbers=dataset.atomic_numbers[::-1].copy()),
        replace(dataset, positions=dataset.positions + 1e-12),
        replace(dataset, offsets=np.array([0, 3, 5, 7])),
        replace(dataset, energies=dataset.energies * (1 + 1e-15)),
        replace(dataset, pbc=~dataset.pbc),
        replace(dataset, cells=None, pbc=None),
        dataset.subset([0, 2, 1]),
    ]
    fingerprints = {dataset.fingerprint, *(other.fingerprint for other in changed)}
    assert len(fingerprints) == 1 + len(changed)


def test_fingerprint_ignores_forces_and_origin(dataset: Dataset) -> None:
    elsewhere = Provenance("y.h5", "1" * 64, "CCSD(T)", 3)
    assert replace(dataset, forces=None, provenance=elsewhere).fingerprint == dataset.fingerprint


def test_fingerprint_is_the_same_on_every_machine() -> None:
    """Labels are bound to their data by this value, which must never change."""
    dataset = Dataset(
        atomic_numbers=np.array([1, 1]),
        positions=np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.75]]),
        offsets=np.array([0, 2]),
        energies=np.array([-31.0]),
        groups=np.array(["H2"]),
        provenance=Provenance("", "", "", 0),
    )
    expected = "45be711dda37fcd5d4ebd68727ec89885c2ba5332fcb1ac27c83d5c20226ab11"
    assert dataset.fingerprint == expected


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("atomic_numbers", (6,)),
        ("positions", (7, 2)),
        ("energies", (4,)),
        ("groups", (2,)),
        ("forces", (6, 3)),
        ("cells", (3, 9)),
        ("pbc", (3,)),
    ],
)
def test_shapes_that_disagree(dataset: Dataset, name: str, shape: tuple[int, ...]) -> None:
    kind = getattr(dataset, name).dtype
    with pytest.raises(DataError, match=rf"{name} has shape .*, expected .* according to"):
        replace(dataset, **{name: np.zeros(shape, dtype=kind)})


def test_cells_without_pbc(dataset: Dataset) -> None:
    with pytest.raises(DataError, match="together or not at all"):
        replace(dataset, pbc=None)


def test_representation_is_one_line(small_dataset: Dataset) -> None:
    text = repr(small_dataset)
    assert "\n" not in text
    assert f"{len(small_dataset)} configurations, {small_dataset.n_atoms} atoms" in text
    assert text.endswith(", no forces>")
