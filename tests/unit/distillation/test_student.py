"""The student: trained on true energies and mean forces, resumable, with its teachers on record."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ekd.config import HIPNNConfig, SpreadConfig, StudentConfig, TrainingConfig
from ekd.data import Dataset
from ekd.distillation import Labels, distill, perturb
from ekd.distillation.labels import TeacherRecord
from ekd.errors import CheckpointError
from ekd.training import TrainedModel

MODEL = HIPNNConfig(n_features=6, n_sensitivities=5, n_atom_layers=1, cutoff=4.0, soft_max=3.0)
TRAINING = TrainingConfig(epochs=2, batch_size=8)


@pytest.fixture
def labels(small_dataset: Dataset) -> Labels:
    """As if from two teachers."""
    rng = np.random.default_rng(0)
    return Labels(
        energies=small_dataset.energies,
        energies_std=np.zeros(len(small_dataset)),
        member_energies=np.tile(small_dataset.energies[:, None], 2),
        forces=rng.normal(size=small_dataset.positions.shape),
        forces_std=np.zeros(small_dataset.n_atoms),
        data_fingerprint=small_dataset.fingerprint,
        teachers=tuple(TeacherRecord(name, name * 64, True) for name in "ab"),
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
    other = dataclasses.replace(labels, forces=labels.forces + 1, teachers=labels.teachers[:1])
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
    assert seen["weights"] is None


def extended(labels: Labels, extra: Dataset, energies: np.ndarray | None) -> Labels:
    """Labels that say something about extra configurations too."""
    rng = np.random.default_rng(1)
    assert labels.energies is not None
    return dataclasses.replace(
        labels,
        energies=None if energies is None else np.concatenate([labels.energies, energies]),
        forces=np.concatenate([labels.forces, rng.normal(size=extra.positions.shape)]),
        forces_std=np.concatenate([labels.forces_std, np.ones(extra.n_atoms)]),
        extra=extra,
    )


def test_extra_configurations_teach_and_are_not_validated_on(
    small_dataset: Dataset, labels: Labels
) -> None:
    extra = perturb(small_dataset.subset([0, 5, 9]), 0.1)

    def student(energies: np.ndarray | None, **settings: object) -> TrainedModel:
        many = extended(labels, extra, energies)
        return distill(small_dataset, many, MODEL, TRAINING, progress=False, **settings)  # type: ignore[arg-type]

    told = small_dataset.energies[[0, 5, 9]]
    first = student(told)
    assert first.provenance["n_extra"] == 3
    assert first.provenance["n_training"] == 39 + 3
    assert first.provenance["n_validation"] == 4
    plain = distill(small_dataset, labels, MODEL, TRAINING, progress=False)
    energies = [model.model.reference_energies.tolist() for model in (first, plain)]
    assert energies[0] == energies[1]  # from true energies alone
    assert np.isfinite([record["energy_rmse"] for record in first.history]).all()
    # Without energies of the level of the data, and without weight, the forces alone teach.
    alone = student(None)
    assert alone.sha256 == student(told, extra_energy_weight=0.0).sha256
    assert len({alone.sha256, first.sha256, student(told + 1.0).sha256, plain.sha256}) == 4


def test_spread_decides_what_is_learned(
    small_dataset: Dataset, labels: Labels, tmp_path: Path
) -> None:
    spread = np.where(small_dataset.config_index < 10, 2.0, 0.1)
    uneven = dataclasses.replace(labels, forces_std=spread)

    def student(config: SpreadConfig | None, **settings: object) -> TrainedModel:
        return distill(  # type: ignore[misc]
            small_dataset, uneven, MODEL, TRAINING, spread=config, progress=False, **settings
        )

    dropped = student(SpreadConfig(limit=1.0, above_limit="drop"))
    assert dropped.provenance["n_above_limit"] == 10
    assert dropped.provenance["n_training"] < 39 - 5
    assert dropped.provenance["n_validation"] == 4
    configs = [
        None,
        SpreadConfig(limit=1.0),
        SpreadConfig(limit=1.0, above_limit="drop-forces"),
        SpreadConfig(scale=0.3),
    ]
    others = [student(config).sha256 for config in configs]
    assert len({dropped.sha256, *others}) == 5
    student(configs[1], directory=tmp_path)
    with pytest.raises(CheckpointError, match=r"provenance\.weights_sha256"):
        student(configs[3], directory=tmp_path, resume=True)


def test_forces_of_weight_zero_do_not_matter(small_dataset: Dataset, labels: Labels) -> None:
    above = small_dataset.config_index < 10
    uneven = dataclasses.replace(labels, forces_std=np.where(above, 2.0, 0.1))
    other = dataclasses.replace(uneven, forces=np.where(above[:, None], 1e3, labels.forces))
    config = SpreadConfig(limit=1.0, above_limit="drop-forces")
    students = [
        distill(small_dataset, each, MODEL, TRAINING, spread=config, progress=False)
        for each in (uneven, other)
    ]
    assert students[0].sha256 == students[1].sha256
