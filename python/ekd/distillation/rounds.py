"""One on-policy round: dynamics, labels, choice of frames, training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from ekd.config import (
    OnPolicyConfig,
    TrainingConfig,
    WallConfig,
)
from ekd.data import Dataset
from ekd.data.combine import concatenate
from ekd.distillation.extra import without_energies
from ekd.distillation.labelling import label
from ekd.distillation.labels import Labels
from ekd.distillation.langevin import End, Snapshots, snapshots_of
from ekd.distillation.policy import Policy
from ekd.distillation.student import plan_committee, train_student
from ekd.distillation.student_frames import atom_mean, choose, force_errors, members_of, most_frames
from ekd.distillation.student_task import StudentTask, plan_task
from ekd.distillation.teachers import ASETeacher, MemberTeacher
from ekd.training import (
    Ensemble,
    TrainedModel,
    train_members,
)
from ekd.training.history import write_history
from ekd.training.parallel import Group

Students = TypeVar("Students", TrainedModel, Ensemble)


T = TypeVar("T")


_CHUNK_SIZE = 20  # trajectories that run together, and are lost together if a process is killed


@dataclass(frozen=True)
class Round:
    """Summary of a round.

    Attributes:
        n_trajectories: number of trajectories.
        n_cut_by_spread: number of trajectories cut where the teachers disagree too much.
        n_cut_too_close: number of trajectories cut where atoms came too close.
        n_cut_by_forces: number of trajectories cut where forces became too large.
        n_frames: number of frames kept and labeled.
        n_trained_on: number of frames, including earlier rounds, used in the training.
        error_before: mean of ``|F_student - F_teachers|`` over the atoms of the frames before the
            training, eV/Å; None if there are no frames.
        error_after: the same after the training; None if there was no training.
    """

    n_trajectories: int
    n_cut_by_spread: int
    n_cut_too_close: int
    n_cut_by_forces: int
    n_frames: int
    n_trained_on: int = 0
    error_before: float | None = None
    error_after: float | None = None

    def __str__(self) -> str:
        counts = (
            f"{self.n_trajectories} trajectories, cut where teachers disagree "
            f"{self.n_cut_by_spread}, atoms are too close {self.n_cut_too_close}, forces are too "
            f"large {self.n_cut_by_forces}; {self.n_frames} frames"
        )
        if self.error_before is None:
            return f"{counts}. Nothing to learn from: the student is unchanged"
        if self.error_after is None:
            return f"{counts}, all above student.spread.limit: the student is unchanged"
        return (
            f"{counts}, {self.n_trained_on} trained on; |F student - F teachers| on the new ones "
            f"{1e3 * self.error_before:.1f} -> {1e3 * self.error_after:.1f} meV/Å"
        )


@dataclass(frozen=True, eq=False)
class Rounds:
    """Settings shared by all rounds; see :func:`ekd.distillation.on_policy.run_rounds`."""

    config: OnPolicyConfig
    data: Dataset
    labels: Labels
    teachers: list[MemberTeacher | ASETeacher]
    networks: Ensemble
    training_part: NDArray[np.int64]
    task_settings: Mapping[str, Any]
    training: TrainingConfig
    seed: int
    wall: WallConfig | None
    directory: Path
    n_workers: int | None
    n_trainers: int | None
    resume: bool
    progress: bool
    chunk_size: int
    group: Group
    tensorboard: bool

    def run(self, number: int, students: Students, before: Labels) -> tuple[Students, Labels]:
        """Run a round: dynamics, labeling, selection of frames, training.

        Args:
            number: number of the round, from one.
            students: students of the previous round.
            before: labels that include the frames of all previous rounds.

        Returns:
            The students, and labels that also include the frames of this round.
        """
        target = self.directory if number == self.config.n_rounds else self._folder(number)
        made, ends = self._on_first(lambda: self._label(number, students))
        result = _counted(ends)
        after, trained = before, students
        if made is not None:
            after = before.with_extra(made)
            task, errors = self._task(students, after)
            frames = made.extra
            assert frames is not None
            result = replace(
                result,
                n_frames=len(frames),
                n_trained_on=task.provenance["n_on_policy"],
                error_before=atom_mean(errors[-len(frames) :], frames),
            )
            if result.n_trained_on:
                record = [*_earlier(students), asdict(result)]
                task = replace(task, provenance=task.provenance | {"on_policy": record})
                trained = self._train(number, task, students, target)
                left = self._on_first(lambda: force_errors(trained, frames, made.forces))
                result = replace(result, error_after=atom_mean(left, frames))
        concluded = self._conclude(trained, [*_earlier(students), asdict(result)], target)
        if self.progress:
            console = Console(stderr=True, highlight=False)
            console.print(f"round {number}: {result}", soft_wrap=True, markup=False)
        return concluded, after

    def _folder(self, number: int) -> Path:
        return self.directory / "rounds" / str(number)

    def _on_first(self, function: Callable[[], T]) -> T:
        """Call a function in rank 0 of the group, and send its result to all ranks."""
        found: T = self.group.from_first(function() if self.group.rank == 0 else None)
        return found

    def _label(self, number: int, students: Students) -> tuple[Labels | None, NDArray[np.int8]]:
        """Return labeled frames of the students' dynamics, and why trajectories ended."""
        found = self._explore(number, students)
        if found.frames is None:
            return None, found.ends
        made = label(
            self.teachers,
            None,
            self._folder(number) / "labels.h5",
            extra=found.frames,
            chunk_size=self.chunk_size,
            n_workers=self.n_workers,
            resume=self.resume,
            progress=self.progress,
            wall=self.wall,
        )
        return made, found.ends

    def _explore(self, number: int, students: Students) -> Snapshots:
        """Run trajectories of the students from random configurations."""
        config, members = self.config, members_of(students)
        random = np.random.default_rng([self.seed, number])
        start = self._starts(random)
        plan = {
            "n_snapshots": config.n_snapshots,
            "interval": config.interval,
            "temperature": config.temperature,
            "timestep": config.timestep,
            "friction": config.friction,
            "max_spread": config.max_spread,
            "chunk_size": _CHUNK_SIZE,
            "seed": int(random.integers(2**32)),
            "start": start.fingerprint,
            "students": [model.sha256 for model in members],
            "teachers": [model.sha256 for model in self.networks.members],
        }
        return snapshots_of(
            Policy(Ensemble(members), self.networks, config.max_spread),
            start,
            plan,
            self._folder(number) / "trajectories",
            self.resume,
            self.n_workers,
            self.progress,
            name=f"round {number}, trajectories",
        )

    def _starts(self, random: np.random.Generator) -> Dataset:
        """Draw configurations from the training part and the extra configurations."""
        extra, n_training = self.labels.extra, len(self.training_part)
        n_all = n_training + (0 if extra is None else len(extra))
        n = self.config.n_trajectories
        drawn = np.sort(random.choice(n_all, size=n, replace=n > n_all))
        of_data, of_extra = drawn[drawn < n_training], drawn[drawn >= n_training] - n_training
        parts = []
        if len(of_data):
            parts.append(without_energies(self.data.subset(self.training_part[of_data])))
        if extra is not None and len(of_extra):
            parts.append(extra.subset(of_extra))
        return concatenate(*parts)

    def _task(self, students: Students, labels: Labels) -> tuple[StudentTask, NDArray[np.float64]]:
        """Plan the training of a round; also return the errors of the students on all frames.

        Args:
            students: students whose errors are used to select frames.
            labels: labels that include all frames.
        """
        task = plan_task(self.data, labels, **self.task_settings)
        n_extra = 0 if self.labels.extra is None else len(self.labels.extra)
        first = len(self.data) + n_extra  # row of the first frame
        assert labels.extra is not None
        frames = labels.extra.subset(np.arange(n_extra, len(labels.extra)))
        forces = labels.forces[-frames.n_atoms :]
        errors = self._on_first(lambda: force_errors(students, frames, forces))
        rows = task.train_indices
        usable = rows[rows >= first]
        n_most = most_frames(int((rows < first).sum()), self.config.ratio)
        kept = usable[choose(errors[usable - first], n_most)]
        noted = task.provenance | {"n_extra": n_extra, "n_on_policy": len(kept)}
        chosen = np.concatenate([rows[rows < first], kept])
        return replace(task, train_indices=chosen, provenance=noted), errors

    def _train(self, number: int, task: StudentTask, students: Students, target: Path) -> Students:
        """Train each student further."""
        members = members_of(students)
        energies = [
            dict(zip(m.model.elements, m.model.reference_energies.tolist(), strict=True))
            for m in members
        ]
        title = f"round {number}, student"
        if isinstance(students, TrainedModel):
            return train_student(
                replace(task, start=students, reference_energies=energies[0]),
                model=students.model_config,
                training=self.training,
                seed=self.seed,
                directory=target,
                resume=self.resume,
                progress=self.progress,
                group=self.group,
                tensorboard=self.tensorboard,
                name=title,
            )
        job = plan_committee(
            task,
            len(members),
            model=members[0].model_config,
            training=self.training,
            seed=self.seed,
            directory=target,
        )
        own = [
            replace(plan, model=model.model_config, start=model, reference_energies=reference)
            for plan, model, reference in zip(job.members, members, energies, strict=True)
        ]
        return train_members(
            replace(job, members=own, title=title, tensorboard=self.tensorboard),
            self.n_trainers,
            resume=self.resume,
            progress=self.progress,
            group=self.group,
        )

    def _conclude(self, students: Students, record: list[dict[str, Any]], target: Path) -> Students:
        """Store the records of all rounds in the checkpoints of the target folder."""
        done = [
            replace(model, provenance=model.provenance | {"on_policy": record})
            for model in members_of(students)
        ]
        single = isinstance(students, TrainedModel)
        if self.group.rank == 0:
            for k, model in enumerate(done):
                folder = target if single else target / f"member-{k}"
                model.save(folder / "checkpoint.pt")
                if model.history:  # an imported network has none
                    write_history(folder / "history.csv", model.history)
        self.group.barrier()
        return done[0] if isinstance(students, TrainedModel) else Ensemble(done)


def _earlier(students: TrainedModel | Ensemble) -> list[dict[str, Any]]:
    """Return the records of previous rounds."""
    found: list[dict[str, Any]] = members_of(students)[0].provenance.get("on_policy", [])
    return found


def _counted(ends: NDArray[np.int8]) -> Round:
    return Round(
        n_trajectories=len(ends),
        n_cut_by_spread=int((ends == End.SPREAD).sum()),
        n_cut_too_close=int((ends == End.TOO_CLOSE).sum()),
        n_cut_by_forces=int((ends == End.LARGE_FORCES).sum()),
        n_frames=0,
    )
