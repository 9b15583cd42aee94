"""Errors, slices and conformer energies against values computed by hand or directly."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from ekd.data import Dataset, Provenance
from ekd.evaluation import accuracy
from ekd.evaluation.accuracy import (
    Errors,
    above_minimum,
    conformers,
    measure,
    relative_errors,
    slices,
)
from ekd.units import KCAL_PER_MOL


@pytest.fixture
def data() -> Dataset:
    """Three H2 (0, 50 and 150 kcal/mol) and an HF in one group, an H2 in another."""
    numbers = [1, 1] * 3 + [1, 9] + [1, 1]
    return Dataset(
        atomic_numbers=np.array(numbers),
        positions=np.arange(30.0).reshape(10, 3),
        offsets=np.arange(0, 11, 2),
        energies=np.array([0.0, 50.0, 150.0, -1000.0, 7.0]) * KCAL_PER_MOL,
        groups=np.array(["a", "a", "a", "a", "b"]),
        provenance=Provenance("hand-made", "", "none", 0),
        forces=np.zeros((10, 3)),
    )


def test_distribution_of_errors() -> None:
    found = Errors.of(np.array([[3.0], [-1.0]]))
    assert found is not None
    assert (found.n, found.mae, found.max) == (2, 2.0, 3.0)
    assert found.rmse == pytest.approx(np.sqrt(5))
    assert found.q50 == pytest.approx(2.0)
    assert found.q90 == pytest.approx(2.8)
    assert Errors.of(np.empty(0)) is None


def test_mean_of_errors() -> None:
    one, other = Errors(2, 1, 2, 3, 4, 5, 6, 7), Errors(2, 3, 4, 5, 6, 7, 8, 9)
    assert Errors.mean([one, other]) == Errors(2, 2, 3, 4, 5, 6, 7, 8)


def test_conformers_have_one_composition_and_one_group(data: Dataset) -> None:
    first, second, third, hf, other = conformers(data)
    assert first == second == third
    assert len({first, hf, other}) == 3
    np.testing.assert_allclose(above_minimum(data) / KCAL_PER_MOL, [0, 50, 150, 0, 0], atol=1e-12)


def test_relative_errors_by_hand() -> None:
    # pairs of the first molecule differ by 1, 3 and 2; the second has no pair
    found = relative_errors(np.array([1.0, 3.0, 10.0, 0.0]), np.array([0, 0, 1, 0]))
    assert found is not None
    assert (found.n, found.max) == (3, pytest.approx(3.0))
    assert found.mae == pytest.approx(2.0)
    assert found.rmse == pytest.approx(np.sqrt(14 / 3))
    assert found.q50 == pytest.approx(2.0)


def test_no_pair_no_relative_error() -> None:
    assert relative_errors(np.array([1.0, 2.0]), np.array([0, 1])) is None
    assert relative_errors(np.empty(0), np.empty(0, dtype=int)) is None


def test_relative_errors_are_those_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    errors = random.normal(size=120) - 4e4  # offsets of total energies must not cost digits
    molecule = random.integers(5, size=120)
    pairs = np.array(
        [
            errors[i] - errors[j]
            for i, j in itertools.combinations(range(120), 2)
            if molecule[i] == molecule[j]
        ]
    )
    found, expected = relative_errors(errors, molecule), Errors.of(pairs)
    assert found is not None
    assert expected is not None
    for name in ("n", "mae", "rmse", "max", "q50", "q99"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-8)
    monkeypatch.setattr(accuracy, "_MAX_PAIRS", 1000)  # quantiles from pairs at random
    sampled = relative_errors(errors, molecule)
    assert sampled is not None
    assert sampled.rmse == pytest.approx(expected.rmse)
    assert sampled.q50 != expected.q50
    assert sampled.q50 == pytest.approx(expected.q50, rel=0.15)


def test_slices(data: Dataset) -> None:
    parts = {(part.kind, part.name): part for part in slices(data, [100.0])}
    assert set(parts) == {
        ("all", ""),
        ("window", "100 kcal/mol"),
        ("group", "a"),
        ("group", "b"),
        ("element", "H"),
        ("element", "F"),
    }
    window = parts["window", "100 kcal/mol"]
    np.testing.assert_array_equal(window.configs, [0, 1, 3, 4])
    np.testing.assert_array_equal(window.atoms, [0, 1, 2, 3, 6, 7, 8, 9])
    np.testing.assert_array_equal(parts["group", "b"].atoms, [8, 9])
    np.testing.assert_array_equal(parts["element", "F"].atoms, [7])
    assert len(parts["element", "F"].configs) == 0
    assert not [part for part in slices(data, [], by_group=False) if part.kind == "group"]


def test_measures_of_a_window(data: Dataset) -> None:
    shift = np.array([0.2, 0.4, 9.0, 0.2, 0.2])
    forces = np.zeros((10, 3))
    forces[4:6] = 5.0  # in the configuration above the window
    forces[0, 0] = 0.6
    (window,) = [part for part in slices(data, [100.0]) if part.kind == "window"]
    found = measure(window, data, conformers(data), data.energies + shift, forces, True)
    assert found["energy"].mae == pytest.approx(0.25)
    assert found["energy_per_atom"].max == pytest.approx(0.2)
    assert found["relative_energy"].mae == pytest.approx(0.2)
    assert found["relative_energy"].n == 1
    assert found["force"].n == 24
    assert found["force"].mae == pytest.approx(0.6 / 24)
    other_level = measure(window, data, conformers(data), data.energies + 1e3, forces, False)
    assert set(other_level) == {"relative_energy", "force"}
    assert other_level["relative_energy"].max == pytest.approx(0, abs=1e-9)
    without = replace(data, forces=None)
    assert "force" not in measure(window, without, conformers(data), data.energies, forces, True)
