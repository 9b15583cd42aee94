"""The stage ``distill``: one student, or a committee of students."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ekd.distillation import Labels
from ekd.distillation.on_policy import run_rounds
from ekd.distillation.student import plan_committee, train_student
from ekd.distillation.student_task import plan_task
from ekd.pipeline import trainings
from ekd.pipeline.checks import check_bases, check_teachers, check_tensorboard
from ekd.pipeline.stage import Check, Stage
from ekd.pipeline.stages.label_data import LABEL
from ekd.pipeline.stages.make_pool import POOL
from ekd.pipeline.stages.pretrain_bases import PRETRAIN
from ekd.pipeline.stages.train_teachers import TRAIN
from ekd.pipeline.workspace import Workspace
from ekd.training import Ensemble, train_members


class DistillStudent(Stage):
    """Train the student on true energies and mean forces, optionally on its own dynamics too."""

    name = "distill"
    needs = (POOL, PRETRAIN, TRAIN, LABEL)
    sections = ("student",)
    leaves = ("student",)
    shares_training = True

    def checks(self, work: Workspace) -> list[Check]:
        """Check bases and TensorBoard, and the teachers if they label frames of the student."""
        asks_teachers = work.config.student.on_policy.n_rounds > 0
        return [check_bases, check_tensorboard, *([check_teachers] if asks_teachers else [])]

    def run(self, work: Workspace) -> None:
        """Train the student or students, and draw their learning curves."""
        student, folder = work.config.student, work.folder / "student"
        labels = Labels.load(work.folder / "labels.h5", work.data)
        settings = {
            "spread": student.spread,
            "uncertainty": student.uncertainty,
            "extra_energy_weight": student.extra_energy_weight,
            "extra_force_weight": student.extra_force_weight,
            **work.split,
        }
        base = work.bases.members[0] if work.bases is not None and student.from_base else None
        task = plan_task(work.data, labels, start=base, **settings)
        has_rounds = student.on_policy.n_rounds > 0
        shared: dict[str, Any] = {
            "model": student.model or work.config.model,
            "training": student.training,
            "seed": work.config.seed + work.config.teachers.n_members,
            "directory": folder / "rounds" / "0" if has_rounds else folder,
        }
        if student.n_members == 1:
            students = Ensemble(
                [
                    train_student(
                        task,
                        **shared,
                        resume=True,
                        progress=work.progress,
                        group=work.group,
                        tensorboard=work.config.tensorboard,
                    )
                ]
            )
        else:
            job = plan_committee(task, student.n_members, **shared)
            job = replace(job, tensorboard=work.config.tensorboard)
            students = train_members(
                job, student.n_workers, resume=True, progress=work.progress, group=work.group
            )
        if has_rounds:
            students = _rounds(work, students, labels, settings, shared["seed"])
        if work.writes:
            trainings.conclude(
                folder, students.members, "student", work.data, work.held_out, labels
            )


def _rounds(
    work: Workspace, students: Ensemble, labels: Labels, task_settings: dict[str, Any], seed: int
) -> Ensemble:
    """Continue training the students on frames of their own dynamics."""
    student, section = work.config.student, work.config.labels
    settings: dict[str, Any] = {
        "on_policy": student.on_policy,
        "training": student.training,
        "seed": seed,
        "task_settings": task_settings,
        "wall": section.wall,
        "directory": work.folder / "student",
        "n_workers": section.n_workers,
        "n_trainers": student.n_workers,
        "resume": True,
        "progress": work.progress,
        "chunk_size": section.chunk_size,
        "group": work.group,
        "tensorboard": work.config.tensorboard,
    }
    shared = (work.teachers, work.data, labels)
    if student.n_members == 1:
        return Ensemble([run_rounds(students.members[0], *shared, **settings)])
    return run_rounds(students, *shared, **settings)


DISTILL = DistillStudent()
