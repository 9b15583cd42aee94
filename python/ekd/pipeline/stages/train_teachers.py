"""The stage ``train``: the teachers, all of them or one by one."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape

from ekd.config import LEAST_SQUARES, Config
from ekd.errors import ConfigError, EKDError
from ekd.pipeline import bases, trainings
from ekd.pipeline.checks import check_bases, check_tensorboard
from ekd.pipeline.stage import Check, PartedStage, Stage
from ekd.pipeline.stages.make_pool import POOL
from ekd.pipeline.stages.pretrain_bases import PRETRAIN
from ekd.pipeline.workspace import Workspace
from ekd.training import Ensemble, train_members
from ekd.training.ensemble import is_finished

_FEW = 5000  # least squares gave better teachers for 450, 900 and 3073 energies: docs/studies.md


class TrainTeachers(PartedStage):
    """Train the teachers on energies. A part is one teacher."""

    name = "train"
    needs = (POOL, PRETRAIN)
    sections = ("seed", "data", "model", "teachers")
    leaves = ("teachers",)
    shares_training = True

    def needed(self, config: Config) -> tuple[Stage, ...]:
        """Return the bases, and the pool if bases are trained on it."""
        return self.needs if bases.learns_from_pool(config) else (PRETRAIN,)

    def checks(self, work: Workspace) -> list[Check]:
        """Check bases and TensorBoard."""
        return [check_bases, check_tensorboard]

    def run(self, work: Workspace) -> None:
        """Train all teachers and draw their learning curves."""
        section = work.config.teachers
        if section.n_members == 0:
            (work.folder / "teachers").mkdir(parents=True, exist_ok=True)
            work.console.print("no teachers to train; using only those listed in \\[labels]")
            return
        _advise(work)
        members = train_members(
            work.teacher_job,
            section.n_workers,
            resume=True,
            progress=work.progress,
            group=work.group,
        )
        _conclude(work, members)

    def check_part(self, config: Config, part: int) -> None:
        """Refuse a member that does not exist.

        Raises:
            ConfigError: there is no such member.
        """
        member, n_members = part, config.teachers.n_members
        if not 0 <= member < n_members:
            raise ConfigError(
                f"there is no member {member}: teachers.n_members = {n_members}, so members are 0 "
                f"to {n_members - 1}"
                if n_members
                else "teachers.n_members = 0: there are no members to train",
                code="EKD-CONFIG-025",
            )

    def part_folder(self, work: Workspace, part: int) -> Path:
        """Return the folder of a teacher."""
        return work.teacher_job.member_directory(part)

    def run_part(self, work: Workspace, part: int) -> None:
        """Train one teacher."""
        _advise(work)
        train_members(
            work.teacher_job, resume=True, progress=work.progress, group=work.group, only=[part]
        )

    def adopt(self, work: Workspace, needed_by: str) -> float | None:
        """Complete the stage with teachers that were trained separately, once all exist.

        Raises:
            EKDError: some are missing.
        """
        stage, job = needed_by, work.teacher_job
        members = range(work.config.teachers.n_members)
        folders = [job.member_directory(k) for k in members]
        begun = [k for k in members if (folders[k] / "checkpoint.pt").exists()]
        if not begun:
            return None
        missing = [k for k in members if not is_finished(folders[k])]
        if missing:
            listed = ", ".join(
                f"member {k} ({'not finished' if k in begun else 'not started'})" for k in missing
            )
            raise EKDError(
                f"'{stage}' needs all {len(members)} teachers, and in "
                f"'{work.folder / 'teachers'}' {len(missing)} are missing: {listed}; train each "
                "with 'ekd train CONFIG --member K --resume', or all with 'ekd train CONFIG "
                "--resume'",
                code="EKD-RUN-004",
            )
        # Reads the teachers, and checks that they match the configuration and the data.
        teachers = Ensemble([job.train_member(k, resume=True) for k in members])
        _conclude(work, teachers)
        seconds = [sum(record["seconds"] for record in m.history) for m in teachers.members]
        return float(max(seconds))


def _advise(work: Workspace) -> None:
    """Give a hint if there are few energies and teachers start from random weights."""
    if work.config.pretraining is not None:
        return
    n_energies, optimizer = len(work.trained_on), work.config.teachers.training.optimizer
    if optimizer != LEAST_SQUARES and n_energies <= _FEW and work.group.n_ranks == 1:
        advice = (
            f"{n_energies} energies are few enough for least squares: with optimizer = "
            f'"{LEAST_SQUARES}" in [teachers.training] a teacher takes seconds to minutes, and '
            "is often much better (docs/training.md, Few energies). Sections [pool] and "
            "[pretraining] are an alternative if a cheap calculator supports the elements "
            "(docs/pretraining.md)"
        )
        work.console.print(f"[yellow]hint:[/] {escape(advice)}", soft_wrap=True)


def _conclude(work: Workspace, members: Ensemble) -> None:
    if work.writes:
        trainings.conclude(
            work.folder / "teachers", members.members, "teacher", work.data, work.held_out
        )


TRAIN = TrainTeachers()
