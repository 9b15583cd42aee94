"""Fixtures shared by all tests. They do not import torch, so that other tests start quickly."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from ekd.data import Dataset, load_dataset

# The test processes use all cores already, and starting a worker takes longer than most tests.
# Tests of workers set the number of workers themselves.
os.environ.setdefault("EKD_WORKERS", "1")

ENERGY_KEY = "ccsd(t)_ccpvdz.energy"
FORCES_KEY = "ccsd(t)_ccpvdz.forces"


@pytest.fixture(scope="session")
def data_directory() -> Path:
    """The datasets that ekd ships."""
    return Path(__file__).parents[1] / "examples" / "data"


@pytest.fixture(scope="session")
def training_file(data_directory: Path) -> Path:
    """3414 configurations with energies."""
    return data_directory / "ccsdt_chno.h5"


@pytest.fixture(scope="session")
def tiny_training_file(training_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``train.h5``: two configurations of every system of the training set."""
    path = tmp_path_factory.mktemp("tiny") / "train.h5"
    with h5py.File(training_file) as old, h5py.File(path, "w") as new:
        new.attrs.update(old.attrs)
        for name, group in old.items():
            for key, values in group.items():
                new[f"{name}/{key}"] = values[:2] if key != "atomic_numbers" else values[:]
    return path


@pytest.fixture(scope="session")
def test_file(data_directory: Path) -> Path:
    """93 configurations with energies and forces."""
    return data_directory / "ccsdt_chno_test.h5"


@pytest.fixture(scope="session")
def training_dataset(training_file: Path) -> Dataset:
    """The whole training set."""
    return load_dataset(training_file, energy=ENERGY_KEY)


@pytest.fixture(scope="session")
def small_dataset(training_dataset: Dataset) -> Dataset:
    """43 configurations of all 19 systems of the training set, energies only."""
    return training_dataset.subset(np.arange(0, len(training_dataset), 80))


@pytest.fixture(scope="session")
def test_dataset(test_file: Path) -> Dataset:
    """The test set, with true forces."""
    return load_dataset(test_file, energy=ENERGY_KEY, forces=FORCES_KEY)
