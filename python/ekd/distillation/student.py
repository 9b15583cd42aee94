"""Train the student, or several: true energies, mean forces of the teachers."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from ekd.config import HIPNNConfig, StudentConfig, TrainingConfig
from ekd.data import Dataset, fit_reference_energies, split
from ekd.distillation.labels import Labels
from ekd.errors import CheckpointError
from ekd.inference.metadata import FORMAT_RECORD
from ekd.training import (
    Ensemble,
    TrainedModel,
    load_ensemble,
    member_directory,
    train,
    train_members,
)
from ekd.training.progress import TrainingProgress
from ekd.training.worker import Job


def distill(
    data: Dataset,
    labels: Labels,
    model: HIPNNConfig | None = None,
    training: TrainingConfig | None = None,
    seed: int = 0,
    validation_fraction: float = 0.1,
    split_by: str = "configuration",
    split_seed: int = 0,
    directory: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = True,
) -> TrainedModel:
    """Train one network on the energies of the data and the mean forces of the teachers.

    Split and reference energies are those of :func:`ekd.training.train_ensemble` with the same
    arguments. The validation error of the forces is the distance to the teachers' mean.

    Args:
        data: true energies.
        labels: of the teachers, for these data.
        model: architecture; None: the defaults.
        training: schedule and loss; None: the defaults for a student.
        seed: of the initial weights and of the order of batches.
        validation_fraction: share of the configurations that is held out.
        split_by: ``configuration`` or ``formula``, see :func:`ekd.data.split`.
        split_seed: seed of the split.
        directory: for ``checkpoint.pt`` and ``history.csv``; None keeps nothing.
        resume: continue from the checkpoint in the directory. Otherwise start anew.
        progress: show progress on standard error.

    Raises:
        CheckpointError: the checkpoint to resume from is damaged or belongs to another run.
        DataError: the labels were made for other data.
        TrainingError: the training diverged.
    """
    labels.check(data)
    train_indices, validation_indices = split(data, validation_fraction, split_by, split_seed)
    training = training or StudentConfig().training
    name = "student"
    with TrainingProgress(training.epochs, enabled=progress) as bars:
        bars.add(name)
        bars.start(name)
        student = train(
            data,
            model=model or HIPNNConfig(),
            training=training,
            train_indices=train_indices,
            validation_indices=validation_indices,
            reference_energies=fit_reference_energies(data.subset(train_indices)),
            seed=seed,
            labels=labels.forces,
            directory=None if directory is None else Path(directory),
            resume=resume,
            report=lambda record: bars.update(name, record),
            provenance={"teachers": list(labels.teacher_sha256)},
        )
        bars.finish(name)
    return student


def distill_committee(
    data: Dataset,
    labels: Labels,
    n_members: int = 4,
    model: HIPNNConfig | None = None,
    training: TrainingConfig | None = None,
    seed: int = 0,
    validation_fraction: float = 0.1,
    split_by: str = "configuration",
    split_seed: int = 0,
    directory: str | os.PathLike[str] | None = None,
    n_workers: int | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Ensemble:
    """Train several students that differ in their seed alone, side by side.

    Each is what :func:`distill` gives with its seed. :meth:`ekd.Ensemble.export` writes all to one
    file, of which the mean is used and the spread is an output.

    Args:
        data: true energies.
        labels: of the teachers, for these data.
        n_members: number of students.
        model: architecture; None: the defaults.
        training: schedule and loss; None: the defaults for a student.
        seed: of the first student; the others count on from it.
        validation_fraction: share of the configurations that is held out.
        split_by: ``configuration`` or ``formula``, see :func:`ekd.data.split`.
        split_seed: seed of the split, the same for all students.
        directory: for ``member-k/checkpoint.pt`` and ``member-k/history.csv``; None keeps nothing.
        n_workers: processes; None: one per core, at most one per student.
        resume: continue from the checkpoints in the directory. Otherwise start anew.
        progress: show progress on standard error.

    Raises:
        CheckpointError: a checkpoint to resume from is damaged or belongs to another run.
        ConfigError: fewer than one student or worker.
        DataError: the labels were made for other data.
        TrainingError: a training diverged, or a process was lost.
    """
    labels.check(data)
    train_indices, validation_indices = split(data, validation_fraction, split_by, split_seed)
    with member_directory(directory) as folder:
        job = Job(
            data=data,
            model=model or HIPNNConfig(),
            training=training or StudentConfig().training,
            train_indices=train_indices,
            validation_indices=validation_indices,
            reference_energies=fit_reference_energies(data.subset(train_indices)),
            directory=folder,
            seed=seed,
            labels=labels.forces,
            provenance={"teachers": list(labels.teacher_sha256)},
            title="student",
        )
        return train_members(job, n_members, n_workers, resume, progress)


def load_students(path: str | os.PathLike[str]) -> Ensemble:
    """Read the student or the students that a training left.

    Args:
        path: output folder of ``ekd run``; or the ``directory`` of :func:`distill` or
            :func:`distill_committee`; or one ``checkpoint.pt``.

    Raises:
        CheckpointError: there is no student, or one is damaged or not finished.
    """
    path = Path(path)
    if path.is_file() and _is_exported(path):
        raise CheckpointError(
            f"'{path}' is an exported model, which cannot be taken apart again; name the output "
            "folder of the run that it comes from"
        )
    if path.is_file():
        return Ensemble([TrainedModel.load(path)])
    for folder in (path, path / "student"):
        if (folder / "checkpoint.pt").exists():
            return Ensemble([TrainedModel.load(folder / "checkpoint.pt")])
        if (folder / "member-0").exists():
            return load_ensemble(folder)
    raise CheckpointError(
        f"no student in '{path}' (expected student/checkpoint.pt, or student/member-0/..., or the "
        "same without student/); name the output folder of 'ekd run', or train first"
    )


def _is_exported(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith(f"extra/{FORMAT_RECORD}") for name in archive.namelist())
