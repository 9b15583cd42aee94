"""The student: trained on true energies and mean forces, resumable, with its teachers on record."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ekd.config import HIPNNConfig, StudentConfig, TrainingConfig
from ekd.data import Dataset
from ekd.distillation import Labels, distill
from ekd.errors import CheckpointError

MODEL = HIPNNConfig(n_features=6, n_sensitivities=5, n_atom_layers=1, cutoff=4.0, soft_max=3.0)
TRAINING = TrainingConfig(epochs=2, batch_size=8)


@pytest.fixture
def labels(small_dataset: Dataset) -> Labels:
    """As if from two teachers."""
    rng = np.random.default_rng(0)
    return Labels(
        energies=small_dataset.energies,
        energies_std=np.zeros(len(small_dataset)),
        forces=rng.normal(size=small_dataset.positions.shape),
        forces_std=np.zeros(small_dataset.n_atoms),
        data_fingerprint=small_dataset.fingerprint,
        teacher_sha256=("a" * 64, "b" * 64),
    )


def test_student_knows_its_teachers(small_dataset: Dataset, labels: Labels, tmp_path: Path) -> None:
    student = distill(small_dataset, labels, MODEL, TRAINING, directory=tmp_path, progress=False)
    assert student.provenance["teachers"] == ["a" * 64, "b" * 64]
    assert student.provenance["n_validation"] == 4
    assert student.history[-1]["validation_force_rmse"] > 0
    again = distill(
        small_dataset, labels, MODEL, TRAINING, directory=tmp_path, resume=True, progress=False
    )
    assert again.sha256 == student.sha256


def test_resume_with_labels_of_other_teachers(
    small_dataset: Dataset, labels: Labels, tmp_path: Path
) -> None:
    distill(small_dataset, labels, MODEL, TRAINING, directory=tmp_path, progress=False)
    other = dataclasses.replace(labels, forces=labels.forces + 1, teacher_sha256=("c" * 64,))
    with pytest.raises(CheckpointError, match=r"(?s)labels_sha256.*provenance\.teachers"):
        distill(
            small_dataset, other, MODEL, TRAINING, directory=tmp_path, resume=True, progress=False
        )


def test_defaults_are_those_of_the_configuration(
    small_dataset: Dataset, labels: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}
    monkeypatch.setattr(
        "ekd.distillation.student.train", lambda data, **settings: seen.update(settings)
    )
    distill(small_dataset, labels, progress=False)
    assert seen["training"] == StudentConfig().training
    assert seen["model"] == HIPNNConfig()
    assert seen["labels"] is labels.forces
