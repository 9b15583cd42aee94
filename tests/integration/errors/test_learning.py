"""Every error of training, checkpoints, labels and teachers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import ekd
import trainings
from ekd.config import SpreadConfig, TrainingConfig, UncertaintyConfig
from ekd.data import Dataset
from ekd.distillation import Labels
from ekd.distillation.labelling import records_of
from ekd.distillation.parts import Parts
from ekd.distillation.sample_weights import trust
from ekd.distillation.teachers import as_teachers
from ekd.training.parallel import launched_group
from error_triggers import expect, refused, waters
from untrained import MODEL, ensemble, teacher

QUIET = {"n_workers": 1, "progress": False}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return waters(tmp_path_factory.mktemp("data"), 12)


@pytest.fixture(scope="module")
def labels(data: Dataset) -> Labels:
    return ekd.label(ensemble(2), data, **QUIET)


def test_training_that_diverges(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = TrainingConfig(epochs=2, batch_size=4, learning_rate=1e30)
    with expect("EKD-TRAINING-001"):
        trainings.run(data, training=settings)
    settings = settings.model_copy(update={"learning_rate": 1e3, "optimizer": "adam"})
    with expect("EKD-TRAINING-002"):
        trainings.run(data, training=settings)
    with monkeypatch.context() as patch, expect("EKD-DEVICE-015"):
        patch.setattr(torch.cuda, "is_available", lambda: False)
        trainings.run(data, training=TrainingConfig(epochs=1, device="cuda"))
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with expect("EKD-DEVICE-016"), launched_group("cuda"):
        pass


def test_uncertainty_that_cannot_be_trained(
    data: Dataset, labels: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ekd.training.training_run._FAR_FROM_CONSTANT", -1e9)
    with expect("EKD-TRAINING-003"):
        ekd.distill(
            data,
            labels,
            MODEL,
            trainings.TRAINING.model_copy(update={"epochs": 1}),
            uncertainty=UncertaintyConfig(n_steps=2),
            progress=False,
        )


def test_checkpoints(data: Dataset, tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(record: dict[str, object]) -> None:
        raise StopError

    refused("EKD-CHECKPOINT-001", "committee", tmp_path, "-o", tmp_path / "c.pt")
    with expect("EKD-CHECKPOINT-001"):
        ekd.load_ensemble(tmp_path)
    path = tmp_path / "checkpoint.pt"
    with expect("EKD-CHECKPOINT-005"):
        ekd.TrainedModel.load(path)
    with pytest.raises(StopError):
        trainings.run(data, directory=tmp_path, report=stop)
    with expect("EKD-CHECKPOINT-007"):
        ekd.TrainedModel.load(path)
    with expect("EKD-CHECKPOINT-004"):
        trainings.run(data, directory=tmp_path, resume=True, seed=2)
    torch.save({"format": 99}, path)
    with expect("EKD-CHECKPOINT-003"):
        ekd.TrainedModel.load(path)
    path.write_bytes(b"damaged")
    with expect("EKD-CHECKPOINT-006"):
        ekd.TrainedModel.load(path)
    teacher(0).export(tmp_path / "student.pt")
    refused("EKD-CHECKPOINT-002", "committee", tmp_path / "student.pt", "-o", tmp_path / "c.pt")
    refused("EKD-RUN-001", "committee", tmp_path / "x", "-o", tmp_path / "student.pt")


def test_label_files(data: Dataset, labels: Labels, tmp_path: Path) -> None:
    path = tmp_path / "labels.h5"
    with expect("EKD-LABELS-001"):
        Labels.load(path)
    path.write_bytes(b"not HDF5")
    with expect("EKD-LABELS-002"):
        Labels.load(path)
    with expect("EKD-LABELS-003"):
        labels.save(path, data.subset([0, 1]))
    other = ekd.label(ensemble(3), None, extra=ekd.perturb(data, 0.05), **QUIET)
    with expect("EKD-LABELS-004"):
        labels.with_extra(other)
    labels.save(path, data)
    with h5py.File(path, "r+") as file:
        file["forces"][3] += 1e-9
    with expect("EKD-LABELS-005"):
        Labels.load(path)
    with h5py.File(path, "w"):
        pass
    with expect("EKD-LABELS-006"):
        Labels.load(path)


def test_labels(data: Dataset, labels: Labels, tmp_path: Path) -> None:
    with expect("EKD-LABELS-007"):
        ekd.label(ekd.ASETeacher("calculators:NotFinite"), data, **QUIET)
    with expect("EKD-LABELS-008"):
        collapsed = dataclasses.replace(data, positions=0.3 * data.positions)
        ekd.sample_md(ensemble(2), collapsed, n_snapshots=1, **QUIET)
    parts = Parts(tmp_path / "parts", {"seed": 1}, resume=False)
    with expect("EKD-LABELS-009"):
        Parts(tmp_path / "parts", {"seed": 2}, resume=True)
    with expect("EKD-LABELS-010"):
        parts.load(0)
    same = dataclasses.replace(labels, forces_std=np.zeros_like(labels.forces_std))
    with expect("EKD-LABELS-011"):
        always = UncertaintyConfig(enabled=True)
        ekd.distill(data, same, MODEL, trainings.TRAINING, uncertainty=always, progress=False)
    with expect("EKD-LABELS-012"):
        trust(data, labels, SpreadConfig(limit=1e-12, above_limit="drop"))


@pytest.mark.parametrize(
    ("code", "calculator", "arguments"),
    [
        ("EKD-TEACHER-002", "calculators:Sprigns", {}),
        ("EKD-TEACHER-003", "calculators:EnergyOnly", {}),
        ("EKD-TEACHER-004", "calculators.Springs", {}),
        ("EKD-TEACHER-005", "calculators:Springs", {"k": object()}),
        ("EKD-TEACHER-007", "calculators:springs", {"stiffness": 1}),
        ("EKD-TEACHER-008", "no_such_module:Calculator", {}),
    ],
)
def test_calculators(code: str, calculator: str, arguments: dict[str, object]) -> None:
    with expect(code):
        ekd.ASETeacher(calculator, arguments).check([1, 8])


def test_teachers(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with expect("EKD-TEACHER-001"):
        ekd.label([], data, **QUIET)
    with expect("EKD-TEACHER-006"):
        ekd.ASETeacher("calculators:Springs", files={"path": "absent"}).check([1])
    with expect("EKD-TEACHER-009"):
        ekd.label(ekd.ASETeacher("calculators:Springs", {"knows": "H"}), data, **QUIET)
    with expect("EKD-TEACHER-010"):
        ekd.label(["calculators:Springs"], data, **QUIET)
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None)
    with expect("EKD-TEACHER-012"):
        ekd.build_pool(data, path=tmp_path / "pool.h5", progress=False)


def test_on_policy(data: Dataset, labels: Labels) -> None:
    student = teacher(9)
    one = [teacher(0), ekd.ASETeacher("calculators:Springs")]
    theirs = dataclasses.replace(labels, teachers=records_of(as_teachers(one)))
    with expect("EKD-CONFIG-014"):
        ekd.distill_on_policy(
            student, one, data, theirs, on_policy=ekd.OnPolicyConfig(n_rounds=1), progress=False
        )
    few = ekd.OnPolicyConfig(n_rounds=1, ratio=1e-6)
    with expect("EKD-CONFIG-015"):
        ekd.distill_on_policy(student, ensemble(2), data, labels, on_policy=few, progress=False)
