"""Labels: what they hold, and that they cannot be used with the wrong data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from ekd.config import HIPNNConfig, TrainingConfig
from ekd.data import Dataset
from ekd.distillation import Labels, distill, label
from ekd.errors import DataError
from ekd.models import HIPNN
from ekd.training import Ensemble, TrainedModel

MODEL = HIPNNConfig(n_features=6, n_sensitivities=5, n_atom_layers=1, cutoff=4.0, soft_max=3.0)
ELEMENTS = [1, 6, 7, 8]


def teacher(seed: int) -> TrainedModel:
    """An untrained network is as good as any for what is tested here."""
    torch.manual_seed(seed)
    model = HIPNN(MODEL, ELEMENTS, [-13.0, -1030.0, -1480.0, -2040.0])
    return TrainedModel(model, MODEL, TrainingConfig(epochs=1), {}, [])


@pytest.fixture(scope="module")
def teachers() -> Ensemble:
    """Three members."""
    return Ensemble([teacher(seed) for seed in range(3)])


@pytest.fixture(scope="module")
def labels(teachers: Ensemble, small_dataset: Dataset) -> Labels:
    """Of the small dataset."""
    return label(teachers, small_dataset, progress=False)


def test_labels_are_mean_and_spread(
    labels: Labels, teachers: Ensemble, small_dataset: Dataset
) -> None:
    expected = teachers.predict(small_dataset)
    for name in ("energies", "energies_std", "forces", "forces_std"):
        np.testing.assert_array_equal(getattr(labels, name), getattr(expected, name))
    assert labels.forces.shape == small_dataset.positions.shape
    assert labels.forces_std.shape == (small_dataset.n_atoms,)
    assert labels.n_members == 3
    assert labels.data_fingerprint == small_dataset.fingerprint
    assert labels.teacher_sha256 == tuple(member.sha256 for member in teachers.members)
    assert len(set(labels.teacher_sha256)) == 3


def test_file_round_trip(
    labels: Labels, teachers: Ensemble, small_dataset: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "labels.h5"
    label(teachers, small_dataset, path, progress=False)
    loaded = Labels.load(path, small_dataset)
    for name in ("energies", "energies_std", "forces", "forces_std"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(labels, name))
    assert loaded.teacher_sha256 == labels.teacher_sha256
    with h5py.File(path) as file:
        assert file["forces"].attrs["unit"] == "eV/Å"


def test_labels_of_other_data(labels: Labels, small_dataset: Dataset, tmp_path: Path) -> None:
    labels.save(tmp_path / "labels.h5")
    other = small_dataset.subset(np.arange(10))
    for use in (
        lambda: Labels.load(tmp_path / "labels.h5", other),
        lambda: distill(other, labels, MODEL, progress=False),
    ):
        with pytest.raises(DataError, match="the labels were made for other data"):
            use()


def test_file_that_is_missing_damaged_or_something_else(
    labels: Labels, training_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "labels.h5"
    with pytest.raises(DataError, match="not found; check the path, or label the data"):
        Labels.load(path)
    path.write_bytes(b"not HDF5")
    with pytest.raises(DataError, match="is not a label file or is damaged"):
        Labels.load(path)
    with pytest.raises(DataError, match="label format None, expected 1"):
        Labels.load(training_file)
    labels.save(path)
    with h5py.File(path, "r+") as file:
        del file["forces"]
    with pytest.raises(DataError, match="is not a label file or is damaged"):
        Labels.load(path)


def test_numbers_that_are_not_finite(
    labels: Labels, small_dataset: Dataset, tmp_path: Path
) -> None:
    forces = labels.forces.copy()
    forces[3, 1] = np.nan
    replace(labels, forces=forces).save(tmp_path / "labels.h5")
    with pytest.raises(DataError, match=r"1 forces in .* are not finite"):
        Labels.load(tmp_path / "labels.h5")
    broken = teacher(0)
    torch.nn.init.constant_(broken.model.blocks[0].energy.bias, torch.inf)
    with pytest.raises(DataError, match="43 energies of teacher 0 are not finite"):
        label(Ensemble([broken]), small_dataset, progress=False)
