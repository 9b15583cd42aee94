"""Train the student: true energies, mean forces of the teachers."""

from __future__ import annotations

import os
from pathlib import Path

from ekd.config import HIPNNConfig, StudentConfig, TrainingConfig
from ekd.data import Dataset, fit_reference_energies, split
from ekd.distillation.labels import Labels
from ekd.training import TrainedModel, train
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
            reference_energies=fit_reference_energies(data, train_indices),
            seed=seed,
            labels=labels.forces,
            directory=None if directory is None else Path(directory),
            resume=resume,
            report=lambda record: bars.update(name, record),
            provenance={"teachers": list(labels.teacher_sha256)},
        )
        bars.finish(name)
    return student
