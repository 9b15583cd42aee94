"""Checkpoints of every format can be loaded and continued. See tests/golden for their script."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ekd.config import HIPNNConfig, TrainingConfig
from ekd.data import Dataset, fit_reference_energies
from ekd.training import TrainedModel, checkpoint, train
from tolerances import tolerance

GOLDEN = Path(__file__).parents[2] / "golden"
FORMATS = range(1, checkpoint.FORMAT + 1)
MODEL = HIPNNConfig(
    l_max=1, n_features=3, n_sensitivities=4, n_atom_layers=1, cutoff=4.0, soft_max=3.0
)
TRAINING = TrainingConfig(epochs=3, batch_size=8, learning_rate=1e-2, dtype="float64")


def training_of(version: int) -> TrainingConfig:
    """Adam was the only optimizer up to format 3."""
    return TRAINING if version > 3 else TRAINING.model_copy(update={"optimizer": "adam"})


def same_predictions(model: TrainedModel, version: int, data: Dataset) -> None:
    expected = json.loads((GOLDEN / f"checkpoint-{version}.json").read_text())
    found = model.predict(data.subset(np.arange(3)))
    bounds = tolerance("migration").bounds
    np.testing.assert_allclose(found.energies, expected["energies"], **bounds)
    np.testing.assert_allclose(found.forces, expected["forces"], **bounds)


def test_every_step_has_a_migration() -> None:
    assert sorted(checkpoint._MIGRATIONS) == list(FORMATS)[:-1]


@pytest.mark.parametrize("version", FORMATS)
def test_finished_training_is_the_model_it_was(version: int, small_dataset: Dataset) -> None:
    model = TrainedModel.load(GOLDEN / f"checkpoint-{version}-finished.pt")
    same_predictions(model, version, small_dataset)
    assert model.training_config == training_of(version)
    assert len(model.history) == 3


@pytest.mark.parametrize("version", FORMATS)
def test_broken_off_training_goes_on(version: int, small_dataset: Dataset, tmp_path: Path) -> None:
    """The result is the same as with the version of ekd that started the training."""
    shutil.copy(GOLDEN / f"checkpoint-{version}-broken-off.pt", tmp_path / "checkpoint.pt")
    epochs: list[int] = []
    n = len(small_dataset)
    resumed = train(
        small_dataset,
        model=MODEL,
        training=training_of(version),
        train_indices=np.arange(0, n - 5),
        validation_indices=np.arange(n - 5, n),
        reference_energies=fit_reference_energies(small_dataset),
        seed=1,
        directory=tmp_path,
        resume=True,
        report=lambda record: epochs.append(record["epoch"]),
    )
    assert epochs == [3]
    assert set(resumed.history[0]) == set(resumed.history[2])
    same_predictions(resumed, version, small_dataset)


def test_old_heads_tell_the_spread() -> None:
    contents = {"uncertainty_config": {"enabled": None, "n_hidden": 8, "n_steps": 10}}
    migrated = checkpoint._MIGRATIONS[4](contents)
    assert migrated["uncertainty_config"]["target"] == "spread"
    assert checkpoint._MIGRATIONS[4]({"uncertainty_config": None})["uncertainty_config"] is None
