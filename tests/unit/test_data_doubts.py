"""Suspicious data give warnings; correct data give none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ekd.data import Dataset, doubts
from ekd.data.readers import Request
from ekd.data.readers.annotations import check_request, written
from ekd.data.readers.observed import Observed, Precision
from ekd.errors import DataError
from ekd.preparation import forces_check
from ekd.units import BOHR, HARTREE


def said(data: Dataset, size: float | None = HARTREE) -> list[str]:
    return doubts.of_dataset(data, size)


def test_nothing_of_the_shipped_data(training_dataset: Dataset, test_dataset: Dataset) -> None:
    assert said(training_dataset) == []
    assert said(test_dataset) == []
    assert forces_check.of_dataset(test_dataset) is None


@pytest.mark.parametrize(
    ("factor", "size", "unit"), [(1 / HARTREE, 1.0, "Hartree"), (HARTREE, HARTREE, "eV")]
)
def test_energies_in_another_unit(
    small_dataset: Dataset, factor: float, size: float, unit: str
) -> None:
    (text,) = said(replace(small_dataset, energies=small_dataset.energies * factor), size)
    assert f"as if they were in {unit} " in text


@pytest.mark.parametrize(("factor", "text"), [(1 / BOHR, "1.9 times"), (BOHR, "0.5")])
def test_lengths_in_another_unit(small_dataset: Dataset, factor: float, text: str) -> None:
    (found,) = said(replace(small_dataset, positions=small_dataset.positions * factor))
    assert text in found
    assert "Bohr" in found


def test_energies_per_atom(training_dataset: Dataset) -> None:
    per_atom = training_dataset.energies / training_dataset.n_atoms_per_config
    (text,) = said(replace(training_dataset, energies=per_atom), size=None)
    assert "they may be energies per atom" in text


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_two_levels_of_theory(training_dataset: Dataset, share: float) -> None:
    """A constant per element, as for another functional or basis set."""
    chosen = np.random.default_rng(0).random(len(training_dataset)) < share
    shift = training_dataset.composition @ np.array([-0.1, -0.9, -1.2, -1.5])
    mixed = replace(training_dataset, energies=training_dataset.energies + chosen * shift)
    (text,) = said(mixed)
    assert "fall into two groups (" in text


def test_two_levels_of_one_formula(training_dataset: Dataset) -> None:
    """One formula is sufficient if atomic energies differ, as they do with pseudopotentials."""
    water = training_dataset.subset(training_dataset.formulas == "H2O")
    energies = water.energies.copy()
    energies[::3] += 1600
    (text,) = said(replace(water, energies=energies))
    assert "H2O: " in text


def test_conformers_and_isomers_are_one_level() -> None:
    """Gaps of an electronvolt between minima are normal."""
    generator = np.random.default_rng(0)
    energies = np.concatenate([generator.normal(0, 0.1, 50), generator.normal(2.5, 0.1, 50)])
    assert doubts.of_two_levels("x", [1, 6], np.full((100, 2), 2), energies) is None


def test_repeated_geometries(small_dataset: Dataset) -> None:
    twice = small_dataset.subset([0, 1, 2, 1, 0])
    first_of = doubts.repeated(twice.atomic_numbers, twice.positions, twice.offsets, None)
    assert first_of.tolist() == [0, 1, 2, 1, 0]
    assert said(twice) == []
    energies = twice.energies + np.array([0, 0, 0, 0.5, 0])
    (text,) = said(replace(twice, energies=energies))
    assert text.startswith("1 configurations in 'ccsdt_chno.h5' repeat the geometry")
    assert "by up to 500 meV" in text


def test_an_atom_far_from_all_others(small_dataset: Dataset) -> None:
    positions = small_dataset.positions.copy()
    positions[small_dataset.offsets[1]] += [0.0, 500.0, 0.0]
    (text,) = said(replace(small_dataset, positions=positions))
    assert text.startswith("1 configurations in 'ccsdt_chno.h5' extend over up to 50")
    n = len(small_dataset)
    box = {"cells": np.tile(600.0 * np.eye(3), (n, 1, 1)), "pbc": np.full((n, 3), True)}
    assert said(replace(small_dataset, positions=positions, **box)) == []


def test_a_long_chain_has_no_distant_atoms() -> None:
    positions = np.zeros((150, 3))
    positions[:, 2] = 2.5 * np.arange(150)
    offsets = np.array([0, 150])
    found = doubts.extents(positions, offsets)
    assert found.tolist() == [2.5 * 149]
    assert doubts.of_distant_atoms("x", found, offsets, None) is None


def test_gradients_instead_of_forces(test_dataset: Dataset) -> None:
    assert test_dataset.forces is not None
    text = forces_check.of_dataset(replace(test_dataset, forces=-test_dataset.forces))
    assert text is not None
    assert "the file contains gradients" in text


# ----------------------------------------------------------------------------------- selections


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"states": "charged"}, "states is 'charged'; expected 'neutral'"),
        ({"where": "liquid"}, "where is 'liquid'; expected a dictionary"),
        ({"where": {"config_type": []}}, r"where has \[\] for 'config_type'; expected a value"),
        ({"where": {"config_type": {"a": 1}}}, "for 'config_type'; expected a value or a list"),
    ],
)
def test_what_is_no_selection(given: dict[str, Any], expected: str) -> None:
    with pytest.raises(DataError, match=expected) as error:
        check_request(Request(**given))
    assert error.value.code == "EKD-DATA-081"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (500, "500"), (500.0, "500"), ("500", "500"), ("500.0", "500"), (np.int64(500), "500"),
        (np.array([500.0]), "500"), (b"liquid", "liquid"), (" liquid ", "liquid"), (True, "True"),
        ("True", "True"), (float("nan"), None), ([1, 2], None), (None, None),
    ],
)  # fmt: skip
def test_values_are_compared_as_text(value: Any, text: str | None) -> None:
    assert written(value) == text


def test_what_was_seen_survives_a_file() -> None:
    """Counts of blocks add up to those of a single block, also via JSON."""
    energies = -76.4 + np.random.default_rng(0).normal(size=40)
    whole, parts = Observed(), Observed()
    for seen, rows in ((whole, [slice(None)]), (parts, [slice(0, 15), slice(15, None)])):
        for part in rows:
            block = Observed(n_kept=len(energies[part]))
            block.precision = Precision.of(energies[part].astype(np.float32), HARTREE)
            block.count("types", "config_type", ["a"] * len(energies[part]))
            seen.add(Observed.from_json(block.to_json()))
    assert whole.to_json() == parts.to_json()
    step = parts.precision.step()
    assert step is not None
    assert step[0] == "single precision"
    assert step[1] == pytest.approx(2.0**-17 * HARTREE)
