"""Train one or several students on true energies and the teachers' mean forces."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from ekd.config import (
    HIPNNConfig,
    SpreadConfig,
    StudentConfig,
    TrainingConfig,
    UncertaintyConfig,
)
from ekd.data import Dataset
from ekd.distillation.labels import Labels
from ekd.distillation.student_task import StudentTask, plan_task
from ekd.errors import CheckpointError, TrainingError
from ekd.training import (
    Ensemble,
    TrainedModel,
    load_ensemble,
    member_directory,
    plan_members,
    train,
    train_members,
)
from ekd.training.job import Job
from ekd.training.parallel import ALONE, Group
from ekd.training.progress import TrainingProgress


def distill(
    data: Dataset,
    labels: Labels,
    model: HIPNNConfig | None = None,
    training: TrainingConfig | None = None,
    seed: int = 0,
    validation_fraction: float = 0.1,
    split_by: str = "configuration",
    split_seed: int = 0,
    spread: SpreadConfig | None = None,
    uncertainty: UncertaintyConfig | None = None,
    extra_energy_weight: float = 1.0,
    extra_force_weight: float = 1.0,
    start: TrainedModel | None = None,
    directory: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = True,
) -> TrainedModel:
    """Train one network on the energies of the data and the mean forces of the teachers.

    Split and reference energies are the same as in :func:`ekd.training.train_ensemble` with the
    same arguments. The validation error of the forces is relative to the teachers' mean forces.

    The student also predicts the expected error of its forces, its ``uncertainty``, which is
    learned from the spread of the teachers' forces and the distance of the student from their mean.
    It is computed from the features of the network by a small head, which is trained after the
    network and does not change it.

    Extra configurations in the labels are used for training but never for validation: their forces,
    and the mean energy of the teachers at the level of theory of the data. If there are no such
    teachers, only the forces are used.

    Args:
        data: data with true energies.
        labels: labels of the teachers for these data.
        model: architecture; None: the defaults.
        training: schedule and loss; None: the defaults for a student.
        seed: seed of the initial weights and of the order of batches.
        validation_fraction: fraction of the configurations held out for validation.
        split_by: ``configuration`` or ``formula``, see :func:`ekd.data.split`.
        split_seed: seed of the split.
        spread: loss weights that depend on the spread of the teachers; None: constant weights.
        uncertainty: settings of the uncertainty output; None: the defaults, with which the student
            has this output if the labels are from at least two teachers.
        extra_energy_weight: loss weight of the teachers' mean energies of extra configurations
            (true energies: 1).
        extra_force_weight: loss weight of forces on atoms of extra configurations (data: 1).
        start: a pretrained network, see :func:`ekd.pretrain`; None: random weights.
        directory: folder for ``checkpoint.pt`` and ``history.csv``; None: keep no files.
        resume: continue from the checkpoint in the directory. Otherwise start over.
        progress: show progress on standard error.

    Raises:
        CheckpointError: the checkpoint to resume from is damaged or belongs to another run.
        DataError: the labels were made for other data, the spread limit leaves nothing to train on,
            or there is no spread to learn the uncertainty from.
        TrainingError: the training diverged.
    """
    task = plan_task(
        data,
        labels,
        validation_fraction=validation_fraction,
        split_by=split_by,
        split_seed=split_seed,
        spread=spread,
        uncertainty=uncertainty,
        extra_energy_weight=extra_energy_weight,
        extra_force_weight=extra_force_weight,
        start=start,
    )
    return train_student(
        task,
        model=model or HIPNNConfig(),
        training=training or StudentConfig().training,
        seed=seed,
        directory=None if directory is None else Path(directory),
        resume=resume,
        progress=progress,
    )


def train_student(
    task: StudentTask,
    *,
    model: HIPNNConfig,
    training: TrainingConfig,
    seed: int,
    directory: Path | None,
    resume: bool,
    progress: bool,
    group: Group = ALONE,
    tensorboard: bool = False,
    name: str = "student",
) -> TrainedModel:
    """Train one student on a task, in one process or in all processes of a group."""
    with TrainingProgress(enabled=progress and group.rank == 0) as bars:
        bars.warn(task.provenance)
        bars.add(name, training.epochs)
        bars.start(name)

        def report(record: dict[str, Any]) -> None:
            bars.update(name, record)

        try:
            student = train(
                task.data,
                train_indices=task.train_indices,
                validation_indices=task.validation_indices,
                reference_energies=task.reference_energies,
                labels=task.labels,
                weights=task.weights,
                spread=task.spread,
                start=task.start,
                provenance=task.provenance,
                model=model,
                training=training,
                seed=seed,
                directory=directory,
                resume=resume,
                report=report,
                report_batch=report,
                group=group,
                tensorboard=tensorboard,
            )
        except TrainingError as error:
            raise error.within(name) from None
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
    spread: SpreadConfig | None = None,
    uncertainty: UncertaintyConfig | None = None,
    extra_energy_weight: float = 1.0,
    extra_force_weight: float = 1.0,
    start: TrainedModel | None = None,
    directory: str | os.PathLike[str] | None = None,
    n_workers: int | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Ensemble:
    """Train several students that differ only in their seeds, in parallel.

    Each is identical to the result of :func:`distill` with its seed. :meth:`ekd.Ensemble.export`
    writes all students to one file, which predicts their mean and spread.

    Args:
        data: data with true energies.
        labels: labels of the teachers for these data.
        n_members: number of students.
        model: architecture; None: the defaults.
        training: schedule and loss; None: the defaults for a student.
        seed: seed of the first student; the others use consecutive seeds.
        validation_fraction: fraction of the configurations held out for validation.
        split_by: ``configuration`` or ``formula``, see :func:`ekd.data.split`.
        split_seed: seed of the split, the same for all students.
        spread: as for :func:`distill`.
        uncertainty: as for :func:`distill`.
        extra_energy_weight: as for :func:`distill`.
        extra_force_weight: as for :func:`distill`.
        start: as for :func:`distill`.
        directory: folder for ``member-k/checkpoint.pt`` and ``member-k/history.csv``; None: keep
            no files.
        n_workers: number of processes, at most one per student; None: ``EKD_WORKERS`` if set, else
            one per core.
        resume: continue from the checkpoints in the directory. Otherwise start over.
        progress: show progress on standard error.

    Raises:
        CheckpointError: a checkpoint to resume from is damaged or belongs to another run.
        ConfigError: fewer than one student or worker.
        DataError: the labels were made for other data, the spread limit leaves nothing to train on,
            or there is no spread to learn the uncertainty from.
        TrainingError: a training diverged, or a process was lost.
    """
    task = plan_task(
        data,
        labels,
        validation_fraction=validation_fraction,
        split_by=split_by,
        split_seed=split_seed,
        spread=spread,
        uncertainty=uncertainty,
        extra_energy_weight=extra_energy_weight,
        extra_force_weight=extra_force_weight,
        start=start,
    )
    with member_directory(directory) as folder:
        job = plan_committee(
            task,
            n_members,
            model=model or HIPNNConfig(),
            training=training or StudentConfig().training,
            seed=seed,
            directory=folder,
        )
        return train_members(job, n_workers, resume, progress)


def plan_committee(
    task: StudentTask,
    n_members: int,
    *,
    model: HIPNNConfig,
    training: TrainingConfig,
    seed: int,
    directory: Path,
) -> Job:
    """Plan several students with the same task.

    Raises:
        ConfigError: fewer than one student.
    """
    members = plan_members(
        task.data,
        n_members,
        model=model,
        training=training,
        train_indices=task.train_indices,
        validation_indices=task.validation_indices,
        seed=seed,
    )
    return Job(
        data=task.data,
        members=[replace(member, start=task.start) for member in members],
        reference_energies=task.reference_energies,
        labels=task.labels,
        weights=task.weights,
        spread=task.spread,
        provenance=task.provenance,
        directory=directory,
        title="student",
    )


def load_students(path: str | os.PathLike[str]) -> Ensemble:
    """Read one or several trained students.

    Args:
        path: output folder of ``ekd run``, the ``directory`` of :func:`distill` or
            :func:`distill_committee`, or a ``checkpoint.pt``.

    Raises:
        CheckpointError: there is no student, or one is damaged or not finished.
    """
    path = Path(path)
    if path.is_file():
        return Ensemble([TrainedModel.load(path)])
    for folder in (path, path / "student"):
        if (folder / "checkpoint.pt").exists():
            return Ensemble([TrainedModel.load(folder / "checkpoint.pt")])
        if (folder / "member-0").exists():
            return load_ensemble(folder)
    raise CheckpointError(
        f"no student in '{path}' (expected student/checkpoint.pt, or student/member-0/..., or the "
        "same without student/); name the output folder of 'ekd run', or train first",
        code="EKD-CHECKPOINT-001",
    )
