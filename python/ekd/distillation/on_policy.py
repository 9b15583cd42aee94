"""On-policy rounds: train students on frames of their own dynamics, labeled by the teachers.

In its own dynamics, a student visits geometries that are not in its training set. On-policy rounds
reduce its errors there, where it is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd.config import (
    OnPolicyConfig,
    SpreadConfig,
    StudentConfig,
    TrainingConfig,
    UncertaintyConfig,
    WallConfig,
)
from ekd.data import Dataset, split
from ekd.distillation.labelling import CHUNK_SIZE, records_of
from ekd.distillation.labels import Labels
from ekd.distillation.rounds import Rounds, Students
from ekd.distillation.student_frames import members_of, most_frames
from ekd.distillation.teachers import ASETeacher, MemberTeacher, TeacherLike, as_teachers
from ekd.errors import ConfigError
from ekd.training import (
    Ensemble,
    TrainedModel,
    member_directory,
)
from ekd.training.parallel import ALONE, Group


def distill_on_policy(
    students: Students,
    teachers: TeacherLike | Iterable[TeacherLike],
    data: Dataset,
    labels: Labels,
    on_policy: OnPolicyConfig | None = None,
    training: TrainingConfig | None = None,
    seed: int = 0,
    validation_fraction: float = 0.1,
    split_by: str = "configuration",
    split_seed: int = 0,
    spread: SpreadConfig | None = None,
    uncertainty: UncertaintyConfig | None = None,
    extra_energy_weight: float = 1.0,
    extra_force_weight: float = 1.0,
    wall: WallConfig | None = None,
    directory: str | os.PathLike[str] | None = None,
    n_workers: int | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Students:
    """Train students further on frames of their own dynamics, labeled by the teachers.

    In each round, trajectories start from random configurations of the training part and of the
    extra configurations, and run with the mean forces of the students. A trajectory is cut at the
    first snapshot where the spread of the teachers' forces on an atom exceeds ``max_spread``, or
    where atoms come closer than 0.4 Å or forces exceed 100 eV/Å. The snapshots before this point
    are labeled like extra configurations and added to the training set, and training continues from
    the weights of the students. Frames of earlier rounds are kept. If ``ratio`` limits the number
    of frames, those with the largest differences between students and teachers are used.

    >>> student = ekd.distill(data, labels)  # doctest: +SKIP
    >>> student = ekd.distill_on_policy(student, teachers, data, labels)  # doctest: +SKIP

    Args:
        students: result of :func:`distill` or :func:`distill_committee`. Each student continues
            from its own weights and keeps its reference energies; dynamics use their mean.
        teachers: the teachers of the labels. All of them label the frames; trajectories are cut
            based on the spread of those that are ekd networks.
        data: training data of the students.
        labels: labels of these data.
        on_policy: settings; None: one round with the defaults.
        training: schedule and loss; ``epochs`` and ``learning_rate`` are taken from ``on_policy``.
            None: the settings of the first student.
        seed: seed of the first student and of the dynamics; other students use consecutive seeds.
        validation_fraction: as for :func:`distill`. Use the same values here and below.
        split_by: as for :func:`distill`.
        split_seed: as for :func:`distill`.
        spread: as for :func:`distill`.
        uncertainty: as for :func:`distill`.
        extra_energy_weight: as for :func:`distill`; also used for frames.
        extra_force_weight: as for :func:`distill`; also used for frames.
        wall: disagreement penalty for the labels of frames; None: the one of the labels.
        directory: folder for the result, as for :func:`distill` or :func:`distill_committee`.
            ``rounds/R`` contains the trajectories and labels of round R, and its students if it is
            not the last round. None: keep no files.
        n_workers: number of processes; None: ``EKD_WORKERS`` if set, else one per core.
        resume: continue an interrupted calculation, with a bitwise identical result.
        progress: show progress on standard error, with a summary of each round.

    Returns:
        The students of the last round. A round without frames does not change them.
        ``provenance["on_policy"]`` has a record of each round, see
        :class:`ekd.distillation.rounds.Round`.

    Raises:
        CheckpointError: a checkpoint to resume from is damaged or belongs to another run.
        ConfigError: no rounds, fewer than two networks among the teachers, or ``ratio`` allows less
            than one frame.
        DataError: the labels belong to other data or teachers, or the results to resume from were
            made with other settings.
        StructureError: the data contain an element that a teacher does not support.
        TeacherError: a teacher fails, or a process was lost.
        TrainingError: a training diverged, or a process was lost.
    """
    with member_directory(directory) as folder:
        return run_rounds(
            students,
            teachers,
            data,
            labels,
            on_policy=on_policy or OnPolicyConfig(n_rounds=1),
            training=training,
            seed=seed,
            task_settings={
                "validation_fraction": validation_fraction,
                "split_by": split_by,
                "split_seed": split_seed,
                "spread": spread,
                "uncertainty": uncertainty,
                "extra_energy_weight": extra_energy_weight,
                "extra_force_weight": extra_force_weight,
            },
            wall=wall,
            directory=folder,
            n_workers=n_workers,
            n_trainers=n_workers,
            resume=resume,
            progress=progress,
        )


def run_rounds(
    students: Students,
    teachers: TeacherLike | Iterable[TeacherLike],
    data: Dataset,
    labels: Labels,
    *,
    on_policy: OnPolicyConfig,
    training: TrainingConfig | None,
    seed: int,
    task_settings: Mapping[str, Any],
    wall: WallConfig | None,
    directory: Path,
    n_workers: int | None,
    n_trainers: int | None,
    resume: bool,
    progress: bool,
    chunk_size: int = CHUNK_SIZE,
    group: Group = ALONE,
    tensorboard: bool = False,
) -> Students:
    """Run the rounds of :func:`distill_on_policy`, in one process or in all processes of a group.

    Args:
        students: as for :func:`distill_on_policy`.
        teachers: as for :func:`distill_on_policy`.
        data: as for :func:`distill_on_policy`.
        labels: as for :func:`distill_on_policy`.
        on_policy: as for :func:`distill_on_policy`.
        training: as for :func:`distill_on_policy`.
        seed: as for :func:`distill_on_policy`.
        task_settings: arguments of :func:`ekd.distillation.student_task.plan_task` other than data
            and labels.
        wall: as for :func:`distill_on_policy`.
        directory: as for :func:`distill_on_policy`.
        n_workers: number of processes for dynamics and labels, started by rank 0 of a group.
        n_trainers: number of processes for the training of several students.
        resume: as for :func:`distill_on_policy`.
        progress: as for :func:`distill_on_policy`.
        chunk_size: number of configurations to label together.
        group: processes that share the training.
        tensorboard: write logs for TensorBoard.
    """
    chosen = as_teachers(teachers)
    labels.check_teachers(records_of(chosen))
    rounds = Rounds(
        on_policy,
        data,
        labels,
        chosen,
        networks=_networks(chosen, on_policy),
        training_part=_training_part(data, labels, on_policy, task_settings),
        task_settings=task_settings,
        training=_training(students, training, on_policy),
        seed=seed,
        wall=labels.wall if wall is None else wall,
        directory=directory,
        n_workers=n_workers,
        n_trainers=n_trainers,
        resume=resume,
        progress=progress and group.rank == 0,
        chunk_size=chunk_size,
        group=group,
        tensorboard=tensorboard,
    )
    with_frames = labels
    for number in range(1, on_policy.n_rounds + 1):
        students, with_frames = rounds.run(number, students, with_frames)
    return students


def _networks(teachers: Sequence[MemberTeacher | ASETeacher], config: OnPolicyConfig) -> Ensemble:
    """Return the teachers that are evaluated at every snapshot."""
    if config.n_rounds < 1:
        raise ConfigError(
            f"n_rounds is {config.n_rounds}; at least 1 round is needed", code="EKD-CONFIG-011"
        )
    found = [teacher.model for teacher in teachers if isinstance(teacher, MemberTeacher)]
    if len(found) < 2:
        raise ConfigError(
            f"{len(found)} of {len(teachers)} teachers are networks of ekd, and on-policy rounds "
            "need two: the student's dynamics are cut where they disagree. Train teachers, add "
            "checkpoints of networks, or set n_rounds = 0 in [student.on_policy]",
            code="EKD-CONFIG-014",
        )
    return Ensemble(found)


def _training_part(
    data: Dataset, labels: Labels, config: OnPolicyConfig, task_settings: Mapping[str, Any]
) -> NDArray[np.int64]:
    """Return the training part of the data."""
    labels.check(data)
    names = ("validation_fraction", "split_by", "split_seed")
    training, _ = split(data, *(task_settings[name] for name in names))
    n_others = len(training) + (0 if labels.extra is None else len(labels.extra))
    if most_frames(n_others, config.ratio) < 1:
        raise ConfigError(
            f"ratio = {config.ratio} with {n_others} configurations is less than one frame; "
            "raise it in [student.on_policy]",
            code="EKD-CONFIG-015",
        )
    return training


def _training(
    students: TrainedModel | Ensemble, training: TrainingConfig | None, config: OnPolicyConfig
) -> TrainingConfig:
    """Return the training settings of each round."""
    chosen = training or members_of(students)[0].training_config or StudentConfig().training
    return chosen.model_copy(
        update={"epochs": config.epochs, "learning_rate": config.learning_rate}
    )
