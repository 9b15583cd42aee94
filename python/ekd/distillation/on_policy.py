"""On-policy rounds: students learn from frames of their own dynamics, which the teachers label.

A student is trained on geometries that others chose, and in its own dynamics it meets those that it
chooses itself. Where it is wrong there, it is wrong where it is used.
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
    """Train students further on frames of their own dynamics, which the teachers label.

    In each round trajectories start from configurations of the training part and extra ones of the
    labels, drawn at random, with the mean forces of the students. A trajectory is cut at the first
    snapshot where the teachers' forces on an atom spread by more than ``max_spread``, or where
    atoms come closer than 0.4 Å or forces exceed 100 eV/Å. The snapshots before are labelled as
    extra configurations are, and trained on beside all that the students have been trained on,
    starting from their weights. Frames of earlier rounds stay; of all, those are taken on which the
    forces of students and teachers differ most, and no more than ``ratio`` allows.

    >>> student = ekd.distill(data, labels)  # doctest: +SKIP
    >>> student = ekd.distill_on_policy(student, teachers, data, labels)  # doctest: +SKIP

    Args:
        students: what :func:`distill` or :func:`distill_committee` returned. Each continues from
            its own weights and keeps its reference energies; dynamics run on the mean.
        teachers: those of the labels. The spread that cuts a trajectory is that of the networks of
            ekd among them; labels are of all.
        data: that the students were trained on.
        labels: likewise.
        on_policy: settings; None: one round of the defaults.
        training: schedule and loss, of which ``epochs`` and ``learning_rate`` are those of
            ``on_policy``; None: as the first student was trained.
        seed: of the first student and of the dynamics; other students count on from it.
        validation_fraction: as for :func:`distill`; this and the following are best the same.
        split_by: likewise.
        split_seed: likewise.
        spread: likewise.
        uncertainty: likewise.
        extra_energy_weight: likewise, frames included.
        extra_force_weight: likewise, frames included.
        wall: added to the labels of frames; None: that of the labels.
        directory: for the result, as :func:`distill` or :func:`distill_committee` leave it. In
            ``rounds/R`` are the trajectories and labels of round R, and what it trained, if it is
            not the last. None keeps nothing.
        n_workers: processes; None: one per core.
        resume: continue what was interrupted, with the same result bit by bit.
        progress: show progress on standard error, and a line on what each round came to.

    Returns:
        The students of the last round. If no frame came out of a round, they stay as they were;
        ``provenance["on_policy"]`` says for each round, see :class:`Round`.

    Raises:
        CheckpointError: a checkpoint to resume from is damaged or belongs to another run.
        ConfigError: no round, fewer than two networks among the teachers, or less than one frame by
            the ratio.
        DataError: the labels are of other data or teachers, or what is there to resume was made
            with something else.
        StructureError: the data hold an element that a teacher does not know.
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
    """Do what :func:`distill_on_policy` does, in one process or in all of a group.

    Args:
        students: and the following, as for :func:`distill_on_policy`.
        teachers: likewise.
        data: likewise.
        labels: likewise.
        on_policy: likewise.
        training: likewise.
        seed: likewise.
        task_settings: arguments of :func:`ekd.distillation.student_task.plan_task` beside data
            and labels.
        wall: likewise.
        directory: likewise.
        n_workers: processes for dynamics and labels, which the first of a group starts.
        n_trainers: processes for the training of several students.
        resume: likewise.
        progress: likewise.
        chunk_size: configurations that are labelled together.
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
    """Teachers that are asked at every snapshot."""
    if config.n_rounds < 1:
        raise ConfigError(
            f"n_rounds is {config.n_rounds}; at least 1 round is needed", code="EKD-CONFIG-011"
        )
    found = [teacher.model for teacher in teachers if isinstance(teacher, MemberTeacher)]
    if len(found) < 2:
        raise ConfigError(
            f"{len(found)} of {len(teachers)} teachers are networks of ekd, and on-policy rounds "
            "need two: where they disagree, the student's dynamics are cut. Train teachers, name "
            "checkpoints of networks, or set n_rounds = 0 in [student.on_policy]",
            code="EKD-CONFIG-014",
        )
    return Ensemble(found)


def _training_part(
    data: Dataset, labels: Labels, config: OnPolicyConfig, task_settings: Mapping[str, Any]
) -> NDArray[np.int64]:
    """Configurations of the data that are trained on."""
    labels.check(data)
    names = ("validation_fraction", "split_by", "split_seed")
    training, _ = split(data, *(task_settings[name] for name in names))
    n_others = len(training) + (0 if labels.extra is None else len(labels.extra))
    if most_frames(n_others, config.ratio) < 1:
        raise ConfigError(
            f"ratio = {config.ratio} beside {n_others} configurations is less than one frame; "
            "raise it in [student.on_policy]",
            code="EKD-CONFIG-015",
        )
    return training


def _training(
    students: TrainedModel | Ensemble, training: TrainingConfig | None, config: OnPolicyConfig
) -> TrainingConfig:
    """Settings of every round."""
    chosen = training or members_of(students)[0].training_config or StudentConfig().training
    return chosen.model_copy(
        update={"epochs": config.epochs, "learning_rate": config.learning_rate}
    )
