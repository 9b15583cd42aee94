"""On-policy rounds: students learn from frames of their own dynamics, which the teachers label.

A student is trained on geometries that others chose, and in its own dynamics it meets those that it
chooses itself. Where it is wrong there, it is wrong where it is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from ekd.config import (
    OnPolicyConfig,
    SpreadConfig,
    StudentConfig,
    TrainingConfig,
    UncertaintyConfig,
    WallConfig,
)
from ekd.data import Dataset, split
from ekd.data.combine import concatenate
from ekd.distillation.extra import without_energies
from ekd.distillation.labelling import CHUNK_SIZE, label, records_of
from ekd.distillation.labels import Labels
from ekd.distillation.langevin import End, Snapshots, are_large, moved, snapshots_of
from ekd.distillation.student import plan_committee, prepare, train_student
from ekd.distillation.teachers import ASETeacher, MemberTeacher, TeacherLike, as_teachers
from ekd.errors import ConfigError
from ekd.models import HIPNN
from ekd.training import (
    Ensemble,
    EnsemblePredictions,
    TrainedModel,
    member_directory,
    train_members,
)
from ekd.training.ensemble import evaluate_models
from ekd.training.loop import write_history
from ekd.training.parallel import ALONE, Group

Students = TypeVar("Students", TrainedModel, Ensemble)
T = TypeVar("T")

_CHUNK_SIZE = 20  # trajectories that move together, and are lost together when a process is killed


@dataclass(frozen=True)
class Round:
    """What a round came to.

    Attributes:
        n_trajectories: that were begun.
        n_cut_by_spread: that ended where the teachers disagree too much.
        n_cut_too_close: where atoms came too close.
        n_cut_by_forces: where forces became too large.
        n_frames: that were kept and labelled.
        n_trained_on: frames, of this round and those before, that the students were trained on.
        error_before: of the students that made the frames, mean over their atoms of
            ``|F_student - F_teachers|``, eV/Å; None: there are no frames.
        error_after: the same of the students that were trained on them; None: none were.
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
            return f"{counts}. Nothing to learn from: the student stays as it is"
        if self.error_after is None:
            return f"{counts}, all above student.spread.limit: the student stays as it is"
        return (
            f"{counts}, {self.n_trained_on} trained on; |F student - F teachers| on the new ones "
            f"{1e3 * self.error_before:.1f} -> {1e3 * self.error_after:.1f} meV/Å"
        )


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
            lessons={
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
    lessons: Mapping[str, Any],
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
        lessons: arguments of :func:`ekd.distillation.student.prepare` beside data and labels.
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
    rounds = _Rounds(
        on_policy,
        data,
        labels,
        chosen,
        networks=_networks(chosen, on_policy),
        training_part=_training_part(data, labels, on_policy, lessons),
        lessons=lessons,
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


@dataclass(frozen=True, eq=False)
class _Rounds:
    """What all rounds have in common; see :func:`run_rounds`."""

    config: OnPolicyConfig
    data: Dataset
    labels: Labels
    teachers: list[MemberTeacher | ASETeacher]
    networks: Ensemble
    training_part: NDArray[np.int64]
    lessons: Mapping[str, Any]
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
        """A round: dynamics, labels, choice, training.

        Args:
            number: from one.
            students: of the round before.
            before: labels with the frames of all rounds before.

        Returns:
            The students, and the labels with the frames of this round too.
        """
        target = self.directory if number == self.config.n_rounds else self._folder(number)
        made, ends = self._on_first(lambda: self._label(number, students))
        result = _counted(ends)
        after, trained = before, students
        if made is not None:
            after = before.with_extra(made)
            lesson, errors = self._lesson(students, after)
            frames = made.extra
            assert frames is not None
            result = replace(
                result,
                n_frames=len(frames),
                n_trained_on=lesson["provenance"]["n_on_policy"],
                error_before=_mean(errors[-len(frames) :], frames),
            )
            if result.n_trained_on:
                lesson["provenance"]["on_policy"] = [*_earlier(students), asdict(result)]
                trained = self._train(number, lesson, students, target)
                left = self._on_first(lambda: force_errors(trained, frames, made.forces))
                result = replace(result, error_after=_mean(left, frames))
        concluded = self._conclude(trained, [*_earlier(students), asdict(result)], target)
        if self.progress:
            console = Console(stderr=True, highlight=False)
            console.print(f"round {number}: {result}", soft_wrap=True, markup=False)
        return concluded, after

    def _folder(self, number: int) -> Path:
        return self.directory / "rounds" / str(number)

    def _on_first(self, function: Callable[[], T]) -> T:
        """What the first process of the group finds out, for all."""
        found: T = self.group.from_first(function() if self.group.rank == 0 else None)
        return found

    def _label(self, number: int, students: Students) -> tuple[Labels | None, NDArray[np.int8]]:
        """Frames of the students' dynamics with their labels, and why trajectories ended."""
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
        """Trajectories of the students, from configurations drawn at random."""
        config, members = self.config, _members(students)
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
            _Policy(Ensemble(members), self.networks, config.max_spread),
            start,
            plan,
            self._folder(number) / "trajectories",
            self.resume,
            self.n_workers,
            self.progress,
            name=f"round {number}, trajectories",
        )

    def _starts(self, random: np.random.Generator) -> Dataset:
        """Draw from the training part and from the extra configurations of the labels."""
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

    def _lesson(
        self, students: Students, labels: Labels
    ) -> tuple[dict[str, Any], NDArray[np.float64]]:
        """What a round learns from, and the errors of the students on all frames so far.

        Args:
            students: whose errors choose among the frames.
            labels: with all frames.
        """
        lesson = prepare(self.data, labels, **self.lessons)
        n_extra = 0 if self.labels.extra is None else len(self.labels.extra)
        first = len(self.data) + n_extra  # row of the first frame
        assert labels.extra is not None
        frames = labels.extra.subset(np.arange(n_extra, len(labels.extra)))
        forces = labels.forces[-frames.n_atoms :]
        errors = self._on_first(lambda: force_errors(students, frames, forces))
        rows = lesson["train_indices"]
        usable = rows[rows >= first]
        n_most = most_frames(int((rows < first).sum()), self.config.ratio)
        kept = usable[choose(errors[usable - first], n_most)]
        lesson["train_indices"] = np.concatenate([rows[rows < first], kept])
        lesson["provenance"] |= {"n_extra": n_extra, "n_on_policy": len(kept)}
        return lesson, errors

    def _train(
        self, number: int, lesson: dict[str, Any], students: Students, target: Path
    ) -> Students:
        """Train each student further."""
        members = _members(students)
        energies = [
            dict(zip(m.model.elements, m.model.reference_energies.tolist(), strict=True))
            for m in members
        ]
        title = f"round {number}, student"
        if isinstance(students, TrainedModel):
            return train_student(
                lesson | {"start": students, "reference_energies": energies[0]},
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
            lesson,
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
        """Put down what all rounds so far came to, in checkpoints at the target."""
        done = [
            replace(model, provenance=model.provenance | {"on_policy": record})
            for model in _members(students)
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


def force_errors(
    students: TrainedModel | Ensemble, frames: Dataset, forces: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean over the atoms of each configuration of ``|F_student - F_teachers|``, [n] eV/Å.

    Args:
        students: of several, the mean counts.
        frames: configurations.
        forces: of the teachers, [n_atoms, 3] eV/Å.
    """
    difference = np.linalg.norm(
        Ensemble(_members(students)).predict(frames).forces - forces, axis=1
    )
    errors: NDArray[np.float64] = np.add.reduceat(difference, frames.offsets[:-1])
    return errors / frames.n_atoms_per_config


def most_frames(n_others: int, ratio: float) -> int:
    """The most frames that are no larger a share than ``ratio`` beside other configurations."""
    return int(ratio * n_others / (1 - ratio) + 1e-9)


def choose(errors: NDArray[np.float64], n_most: int) -> NDArray[np.int64]:
    """Numbers of the largest errors, in rising order; of equal ones the first are taken."""
    return np.sort(np.argsort(-errors, kind="stable")[:n_most])


@dataclass(frozen=True)
class _Policy:
    """The students move the atoms, and the teachers say where that ends."""

    students: Ensemble
    teachers: Ensemble
    max_spread: float

    def begin(self, start: Dataset) -> _Led:
        students, teachers = (
            [member.in_float64() for member in each.members]
            for each in (self.students, self.teachers)
        )
        return _Led(students, teachers, self.max_spread, start)


@dataclass(frozen=True)
class _Led:
    """Configurations that the students lead anywhere."""

    students: list[HIPNN]
    teachers: list[HIPNN]
    max_spread: float
    start: Dataset

    def forces(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean over the students, [n_atoms, 3] eV/Å."""
        predictions = evaluate_models(self.students, moved(self.start, positions))
        mean: NDArray[np.float64] = np.mean([p.forces for p in predictions], axis=0)
        return mean

    def verdict(
        self, positions: NDArray[np.float64], running: NDArray[np.bool_]
    ) -> NDArray[np.int8]:
        """Where the teachers disagree too much, or say that atoms are torn apart."""
        here = moved(self.start, positions).subset(running)
        found = EnsemblePredictions.of(evaluate_models(self.teachers, here))
        worst = np.maximum.reduceat(found.forces_std, here.offsets[:-1])
        ends = np.where(worst <= self.max_spread, End.NONE, End.SPREAD)  # of nan too
        ends[(ends == End.NONE) & are_large(here, found.forces)] = End.LARGE_FORCES
        result = np.zeros(len(running), dtype=np.int8)
        result[running] = ends
        return result


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
    data: Dataset, labels: Labels, config: OnPolicyConfig, lessons: Mapping[str, Any]
) -> NDArray[np.int64]:
    """Configurations of the data that are trained on."""
    labels.check(data)
    names = ("validation_fraction", "split_by", "split_seed")
    training, _ = split(data, *(lessons[name] for name in names))
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
    chosen = training or _members(students)[0].training_config or StudentConfig().training
    return chosen.model_copy(
        update={"epochs": config.epochs, "learning_rate": config.learning_rate}
    )


def _members(students: TrainedModel | Ensemble) -> list[TrainedModel]:
    return [students] if isinstance(students, TrainedModel) else students.members


def _earlier(students: TrainedModel | Ensemble) -> list[dict[str, Any]]:
    """Records of rounds that are over."""
    found: list[dict[str, Any]] = _members(students)[0].provenance.get("on_policy", [])
    return found


def _counted(ends: NDArray[np.int8]) -> Round:
    return Round(
        n_trajectories=len(ends),
        n_cut_by_spread=int((ends == End.SPREAD).sum()),
        n_cut_too_close=int((ends == End.TOO_CLOSE).sum()),
        n_cut_by_forces=int((ends == End.LARGE_FORCES).sum()),
        n_frames=0,
    )


def _mean(errors: NDArray[np.float64], frames: Dataset) -> float:
    """Over the atoms of all frames."""
    return float(np.average(errors, weights=frames.n_atoms_per_config))
