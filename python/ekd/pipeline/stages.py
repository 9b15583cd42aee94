"""The stages, what each needs and leaves, and when one may be skipped."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape

from ekd import interruption
from ekd.config import LEAST_SQUARES, RESOLVED, Config, DataConfig, write_config
from ekd.data import Dataset, load_dataset, split
from ekd.data.combine import concatenate
from ekd.distillation import (
    ASETeacher,
    Labels,
    MemberTeacher,
    label,
    load_students,
    perturb,
    read_structures,
    sample_md,
)
from ekd.distillation.extra import without_energies
from ekd.distillation.on_policy import run_rounds
from ekd.distillation.student import plan_committee, prepare, train_student
from ekd.distillation.teachers import as_teachers, from_config
from ekd.elements import symbol
from ekd.errors import ConfigError, DataError, EKDError, find_code
from ekd.files import atomic_write, remove
from ekd.lammps import dynamics
from ekd.lammps.run import installed_program
from ekd.lammps.structures import molecule
from ekd.locks import lock_file, locked_folder
from ekd.pipeline import pretraining, summary, teachers, trainings
from ekd.pipeline.evaluation import FAR, NEAR, Measured
from ekd.pipeline.inputs import load_labelled
from ekd.pipeline.manifest import MANIFEST, Manifest
from ekd.pipeline.order import LEAVES, NEEDS, OPTIONAL, SECTIONS, STAGES, UNFINISHED, verb
from ekd.pipeline.record import Existing, Record
from ekd.pool import build_pool
from ekd.training import (
    Ensemble,
    load_ensemble,
    plan_ensemble,
    train_members,
)
from ekd.training.ensemble import is_finished
from ekd.training.job import Job
from ekd.training.parallel import ALONE, Group
from ekd.training.tensorboard import require_tensorboard

_FEW = 5000  # least squares made better teachers of 450, 900 and 3073 energies: docs/studies.md


class Pipeline:
    """All stages over one configuration, in one output folder.

    Args:
        config: from :func:`ekd.config.load_config`.
        existing: what happens to results that are already there.
        progress: show progress bars and a line per stage.
        group: processes that share the training; the first writes all files.
    """

    def __init__(
        self,
        config: Config,
        existing: Existing = Existing.REFUSE,
        progress: bool = True,
        group: Group = ALONE,
    ) -> None:
        self.config = config
        self.folder = config.output
        self.existing = existing
        self.group = group
        self.writes = group.rank == 0
        self.progress = progress and self.writes
        self.console = Console(quiet=not self.progress)
        self.record = Record.load(self.folder / "stages.json", writable=self.writes)
        self.manifest = Manifest.load(self.folder / MANIFEST, writable=self.writes)
        self.summary: dict[str, Any] | None = None
        """Set by the stage ``report``."""

    def run(self, stages: Sequence[str] = STAGES) -> None:
        """Run some stages in their order.

        Everything that can be known to fail is looked at before the first stage starts.

        Raises:
            EKDError: results are in the way, earlier stages are missing, or a stage fails.
        """
        stages = [stage for stage in STAGES if stage in stages and self._is_wanted(stage, stages)]
        self._check_processes(stages)
        self._check_all(stages)
        self._check_inputs(stages)
        with self._locked():
            self._check_all(stages)  # another process may have been at work until now
            self._run(stages)

    def _run(self, stages: Sequence[str]) -> None:
        self._write_config()
        actions: dict[str, Callable[[], None]] = {
            "pool": self._pool,
            "pretrain": self._pretrain,
            "train": self._train,
            "label": self._label,
            "distill": self._distill,
            "evaluate": self._evaluate,
            "export": self._export,
            "lammps": self._lammps,
            "report": self._report,
        }
        for stage in stages:
            interruption.check()
            if self._is_done(stage):
                self.console.print(f"[dim]{stage}: complete, kept[/dim]")
                continue
            self.console.print(f"[bold]{stage}[/bold]")
            if self.existing is Existing.OVERWRITE and self.writes:
                self._remove(stage)
            resumed = not self.setting_differences(stage)
            with self.record.timed(stage, self.settings(stage)):
                self.manifest.begin(stage, resumed, self.config)
                actions[stage]()
                self.manifest.finish(stage, self.config)

    def train_member(self, member: int) -> None:
        """Train one teacher, as one job of several that share the output folder.

        The stage is complete when all are; the next stage sees to it.

        Raises:
            EKDError: there is no such teacher, it is there already, or its training fails.
        """
        n_members = self.config.teachers.n_members
        if not 0 <= member < n_members:
            raise ConfigError(
                f"there is no member {member}: teachers.n_members = {n_members}, so that members "
                f"are 0 to {n_members - 1}"
                if n_members
                else "teachers.n_members = 0: there are no members to train",
                code="EKD-CONFIG-025",
            )
        self._check_needed("train", coming=[])
        self._check_inputs(["train"])
        directory = self._job.member_directory(member)
        if directory.exists() and self.existing is Existing.REFUSE:
            raise _in_the_way(directory)
        with self._locked(shared=True):
            if self.existing is Existing.RESUME:
                self._require_same_settings("train")
            self._write_config()
            self._advise()
            if self.existing is Existing.OVERWRITE and self.writes:
                with locked_folder(directory):
                    for path in directory.iterdir():
                        if path != lock_file(directory):
                            remove(path)
            train_members(
                self._job, resume=True, progress=self.progress, group=self.group, only=[member]
            )

    @contextlib.contextmanager
    def _locked(self, shared: bool = False) -> Iterator[None]:
        """Keep other processes from writing to the output folder.

        Args:
            shared: but for those that train other members.

        Raises:
            EKDError: another process is at work there.
        """
        with contextlib.ExitStack() as stack:
            problem = None
            if self.writes:
                try:
                    stack.enter_context(locked_folder(self.folder, shared))
                except EKDError as error:
                    problem = str(error)
            problem = self.group.from_first(problem)
            if problem is not None:
                raise EKDError(problem, code=find_code(problem))
            self.record = Record.load(self.record.path, writable=self.writes)
            yield

    def settings(self, stage: str) -> dict[str, Any]:
        """Return everything that the result of a stage depends on, by dotted key."""
        sections = [name for one in (*self._needed(stage), stage) for name in SECTIONS[one]]
        values = self.config.model_dump(mode="json", include=set(sections))
        # Where a file lies and how many processes work on it does not change a result; what is in
        # the file does.
        values["data"].update(path=None, fingerprint=self.data.fingerprint)
        for key in ("stream", "keys", "where", "states"):
            values["data"].pop(key)
        given = self.data.reference_energies or {}
        values["data"]["reference_energies"] = None
        values["data"] |= {f"reference_energies.{symbol(z)}": e for z, e in given.items()}
        for name in ("teachers", "labels", "student"):
            values.get(name, {}).pop("n_workers", None)
            for key in ("device", "checkpoint_minutes"):
                values.get(name, {}).get("training", {}).pop(key, None)
        identities = pretraining.identify(self.config, self._base_data)
        values |= {name: found for name, found in identities.items() if name in values}
        if stage == "pool":  # which depends on the cutoff of the model alone
            values["model"] = {"cutoff": self.config.model.cutoff}
        if "labels" in values:
            values["labels"] |= teachers.identify(self.config.labels)
        held_out = self._held_out() if "test" in values else {}
        for name, data in held_out.items():
            values[name].update(path=None, fingerprint=data.fingerprint)
            for key in ("keys", "where", "states"):
                values[name].pop(key)
        return _flatten(values)

    @cached_property
    def data(self) -> Dataset:
        """The training set."""
        section = self.config.data
        return load_dataset(
            section.path,
            energy=section.energy,
            energy_unit=section.energy_unit,
            stream=section.stream,
            keys=section.keys,
            where=section.where,
            states=section.states,
            reference_energies=section.reference_energies,
        )

    @cached_property
    def test(self) -> Dataset | None:
        """The test set, if the configuration names one."""
        return load_labelled(self.config.test)

    @cached_property
    def far(self) -> Dataset | None:
        """The second test set, far from the training set, if the configuration names one."""
        return load_labelled(self.config.far)

    def _held_out(self) -> dict[str, Dataset]:
        """The test sets that there are, by the names of their sections."""
        both = {"test": self.test, "far": self.far}
        return {name: data for name, data in both.items() if data is not None}

    @cached_property
    def _base_data(self) -> Dataset | None:
        """The data set of [pretraining.data], if there is such a section."""
        section = self.config.pretraining
        return load_labelled(None if section is None else section.data)

    @cached_property
    def bases(self) -> Ensemble | None:
        """What teachers start from, read from the output folder; None: random weights."""
        return pretraining.load_bases(self.config, self.folder)

    @cached_property
    def members(self) -> Ensemble:
        """The teachers that are trained here, read from the output folder; perhaps none."""
        if self.config.teachers.n_members == 0:
            return Ensemble([])
        return load_ensemble(self.folder / "teachers")

    @cached_property
    def teachers(self) -> list[MemberTeacher | ASETeacher]:
        """All teachers: those that are trained here, then the others."""
        members = as_teachers(self.members) if len(self.members) else []
        return [*members, *self.other_teachers]

    @cached_property
    def other_teachers(self) -> list[MemberTeacher | ASETeacher]:
        """The teachers that the section [labels] names."""
        return [from_config(section) for section in self.config.labels.teachers]

    @cached_property
    def students(self) -> Ensemble:
        """The trained student, or students, read from the output folder."""
        return load_students(self.folder / "student")

    def _pool(self) -> None:
        pool = build_pool(
            self.data.subset(self._parts[0]),
            self.config.pool,
            path=self.folder / pretraining.POOL,
            cutoff=self.config.model.cutoff,
            seed=self.config.seed,
            resume=True,
            progress=self.progress,
        )
        self.console.print(pool.summary.table())
        for note in pool.summary.notes:
            self.console.print(escape(note), soft_wrap=True, highlight=False)

    def _pretrain(self) -> None:
        bases = pretraining.train_bases(
            self.config, self.folder, self.data, self._base_data, self.progress, self.group
        )
        folder = self.folder / pretraining.BASES
        if self.writes and bases.members[0].history:
            trainings.draw_curves(folder, bases.members, "base")
        first = folder / pretraining.FIRST_STEP
        if self.writes and first.is_dir():
            trainings.draw_curves(first, load_ensemble(first).members, "pool base")

    def _train(self) -> None:
        section = self.config.teachers
        if section.n_members == 0:
            (self.folder / "teachers").mkdir(parents=True, exist_ok=True)
            self.console.print("no teachers to train: those in \\[labels] are all")
            return
        self._advise()
        members = train_members(
            self._job, section.n_workers, resume=True, progress=self.progress, group=self.group
        )
        self._conclude_teachers(members)

    def _advise(self) -> None:
        """Name what is better where energies are few and teachers start from random weights."""
        if self.config.pretraining is not None:
            return
        n_energies, optimizer = len(self._parts[0]), self.config.teachers.training.optimizer
        if optimizer != LEAST_SQUARES and n_energies <= _FEW and self.group.n_ranks == 1:
            advice = (
                f"{n_energies} energies are few enough for least squares: with optimizer = "
                f'"{LEAST_SQUARES}" in [teachers.training] a teacher takes seconds to minutes, and '
                "is often much better (docs/training.md, Few energies). Sections [pool] and "
                "[pretraining] are another way, where a cheap calculator knows the elements "
                "(docs/pretraining.md)"
            )
            self.console.print(f"[yellow]hint:[/] {escape(advice)}", soft_wrap=True)

    def _conclude_teachers(self, members: Ensemble) -> None:
        if self.writes:
            trainings.conclude(
                self.folder / "teachers", members.members, "teacher", self.data, self._parts[1]
            )

    @cached_property
    def _job(self) -> Job:
        """The training of the teachers."""
        section = self.config.teachers
        job = plan_ensemble(
            self.data,
            self.folder / "teachers",
            model=self.config.model,
            n_members=section.n_members,
            seed=self.config.seed,
            training=section.training,
            splits=section.splits,
            n_folds=section.n_folds,
            overrides=section.overrides,
            starts=self.bases,
            **self._split,
        )
        return replace(job, tensorboard=self.config.tensorboard)

    def _label(self) -> None:
        section = self.config.labels
        snapshots = self.folder / "snapshots.parts"
        label(
            self.teachers,
            self.data,
            path=self.folder / "labels.h5",
            extra=self._extra(snapshots),
            chunk_size=section.chunk_size,
            n_workers=section.n_workers,
            resume=True,
            progress=self.progress,
            wall=section.wall,
        )
        shutil.rmtree(snapshots, ignore_errors=True)

    def _extra(self, snapshots: Path) -> Dataset | None:
        """Extra configurations; those made here come from the training part alone."""
        section, seed = self.config.labels, self.config.seed
        training, _ = self._parts
        extra = [read_structures(path) for path in section.structures]
        pool = pretraining.pool_for_labels(self.config, self.folder)
        if pool is not None:
            extra.append(without_energies(pool))
        if section.perturbed.n_copies:
            extra.append(
                perturb(
                    self.data.subset(training),
                    section.perturbed.displacement,
                    section.perturbed.n_copies,
                    seed,
                )
            )
        if section.md.n_trajectories:
            settings = section.md.model_dump()
            n = min(settings.pop("n_trajectories"), len(training))
            chosen = np.random.default_rng(seed).permutation(training)[:n]
            extra.append(
                sample_md(
                    self.members,
                    self.data.subset(chosen),
                    **settings,
                    seed=seed,
                    n_workers=section.n_workers,
                    directory=snapshots,
                    resume=True,
                    progress=self.progress,
                    wall=section.wall,
                )
            )
        return concatenate(*extra) if extra else None

    def _distill(self) -> None:
        student, folder = self.config.student, self.folder / "student"
        labels = Labels.load(self.folder / "labels.h5", self.data)
        lessons = {
            "spread": student.spread,
            "uncertainty": student.uncertainty,
            "extra_energy_weight": student.extra_energy_weight,
            "extra_force_weight": student.extra_force_weight,
            **self._split,
        }
        base = self.bases.members[0] if self.bases is not None and student.from_base else None
        lesson = prepare(self.data, labels, start=base, **lessons)
        has_rounds = student.on_policy.n_rounds > 0
        shared: dict[str, Any] = {
            "model": student.model or self.config.model,
            "training": student.training,
            "seed": self.config.seed + self.config.teachers.n_members,
            "directory": folder / "rounds" / "0" if has_rounds else folder,
        }
        if student.n_members == 1:
            students = Ensemble(
                [
                    train_student(
                        lesson,
                        **shared,
                        resume=True,
                        progress=self.progress,
                        group=self.group,
                        tensorboard=self.config.tensorboard,
                    )
                ]
            )
        else:
            job = plan_committee(lesson, student.n_members, **shared)
            job = replace(job, tensorboard=self.config.tensorboard)
            students = train_members(
                job, student.n_workers, resume=True, progress=self.progress, group=self.group
            )
        if has_rounds:
            students = self._rounds(students, labels, lessons, shared["seed"])
        if self.writes:
            held_out = self._parts[1]
            trainings.conclude(folder, students.members, "student", self.data, held_out, labels)

    def _rounds(
        self, students: Ensemble, labels: Labels, lessons: dict[str, Any], seed: int
    ) -> Ensemble:
        """Train the students further on frames of their own dynamics."""
        student, section = self.config.student, self.config.labels
        settings: dict[str, Any] = {
            "on_policy": student.on_policy,
            "training": student.training,
            "seed": seed,
            "lessons": lessons,
            "wall": section.wall,
            "directory": self.folder / "student",
            "n_workers": section.n_workers,
            "n_trainers": student.n_workers,
            "resume": True,
            "progress": self.progress,
            "chunk_size": section.chunk_size,
            "group": self.group,
            "tensorboard": self.config.tensorboard,
        }
        shared = (self.teachers, self.data, labels)
        if student.n_members == 1:
            return Ensemble([run_rounds(students.members[0], *shared, **settings)])
        return run_rounds(students, *shared, **settings)

    def _evaluate(self) -> None:
        folder = self.folder / "evaluation"

        def measured(truth: Dataset, held_out: str, name: str) -> dict[str, Any]:
            found = Measured.of(truth, self.teachers, self.students)
            found.save(folder / name)
            return found.errors | {
                "held_out": held_out,
                "teacher_names": [teacher.name for teacher in self.teachers],
                "n_students": len(self.students),
            }

        held_out = "test set" if self.test is not None else "validation split"
        result = measured(self.truth, held_out, NEAR)
        result["far"] = None if self.far is None else measured(self.far, "far set", FAR)
        _write_json(folder / "metrics.json", result)

    def _export(self) -> None:
        self.students.export(
            self.folder / "student.pt",
            dtype=self.config.export.dtype,
            description=self.config.export.description,
            portable=self.config.export.portable,
        )

    def _lammps(self) -> None:
        result = dynamics.run(
            self.folder / "lammps",
            model=self.folder / "student.pt",
            known={symbol(number) for number in self.data.elements},
            config=self.config.lammps,
            seed=self.config.seed,
            progress=self.progress,
        )
        _write_json(self.folder / "lammps" / "results.json", result)
        for sentence in summary.broken_off(result):
            self.console.print(f"[yellow]look:[/] {escape(sentence)}", soft_wrap=True)

    def _report(self) -> None:
        start = time.perf_counter()
        evaluation = _read_json(self.folder / "evaluation" / "metrics.json")
        with_lammps = self.record.is_complete("lammps") and not self.setting_differences("lammps")
        dynamics = _read_json(self.folder / "lammps" / "results.json") if with_lammps else None
        figures = summary.draw(self.folder, evaluation, dynamics, self.truth, self.far)
        seconds = {
            stage: self.record.entries[stage].wall_seconds
            for stage in STAGES[:-1]
            if self.record.is_complete(stage)
        }
        seconds["report"] = time.perf_counter() - start
        self.summary = summary.summarize(evaluation, dynamics, seconds)
        summary.write(
            self.folder,
            self.summary,
            figures,
            dynamics,
            training_set=self.data,
            truth=self.truth,
            held_out=evaluation["held_out"],
            far=self.far,
        )

    @cached_property
    def truth(self) -> Dataset:
        """What the models are measured against: the test set, else what training held out."""
        if self.test is not None:
            return self.test
        return self.data.subset(self._parts[1])

    @cached_property
    def _parts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Configurations of the training set that are trained on, and that are held out."""
        data = self.config.data
        return split(self.data, data.validation_fraction, by=data.split_by, seed=data.split_seed)

    @property
    def _split(self) -> dict[str, Any]:
        data = self.config.data
        return {
            "validation_fraction": data.validation_fraction,
            "split_by": data.split_by,
            "split_seed": data.split_seed,
        }

    def _outputs(self, stage: str) -> list[Path]:
        names = (*LEAVES[stage], *UNFINISHED.get(stage, ()))
        return [self.folder / name for name in names if (self.folder / name).exists()]

    def _is_done(self, stage: str) -> bool:
        return (
            self.existing is Existing.RESUME
            and self.record.is_complete(stage)
            and len(LEAVES[stage]) > 0
            and all((self.folder / name).exists() for name in LEAVES[stage])
            and (stage != "label" or self._labels_are_intact)
        )

    @cached_property
    def _labels_are_intact(self) -> bool:
        """A damaged chunk is labelled again rather than found by the student."""
        try:
            Labels.load(self.folder / "labels.h5")
        except DataError as error:
            self.console.print(f"[yellow]{escape(error.for_command_line)}[/yellow]")
            return False
        return True

    def _remove(self, stage: str) -> None:
        self.record.forget(stage)
        self.manifest.forget(stage)
        for path in self._outputs(stage):
            remove(path)

    def _check_all(self, stages: Sequence[str]) -> None:
        for stage in stages:
            self._check(stage, coming=stages)

    def _check(self, stage: str, coming: Sequence[str]) -> None:
        """Refuse to start where results are in the way or earlier ones are missing or stale."""
        self._check_needed(stage, coming)
        if outputs := self._outputs(stage):
            if self.existing is Existing.REFUSE:
                raise _in_the_way(outputs[0])
            if self.existing is Existing.RESUME:
                self._require_same_settings(stage)

    def _check_needed(self, stage: str, coming: Sequence[str]) -> None:
        """Refuse to start where earlier results are missing or stale."""
        for needed in self._needed(stage):
            if needed in coming or not self._has_section(needed):
                continue
            if needed == "train" and not self.record.is_complete(needed):
                self._adopt_teachers(stage)
            if not self.record.is_complete(needed):
                raise EKDError(
                    f"'{verb(stage)}' needs the results of '{needed}', which are not in "
                    f"'{self.folder}'; run 'ekd {needed}' with this configuration first",
                    code="EKD-RUN-007",
                )
            self._require_same_settings(needed)

    def _needed(self, stage: str) -> tuple[str, ...]:
        """Stages that must be complete before, whether they have a section or not."""
        if stage in ("pretrain", "train") and not pretraining.learns_from_pool(self.config):
            return tuple(needed for needed in NEEDS[stage] if needed != "pool")
        return NEEDS[stage]

    def _adopt_teachers(self, stage: str) -> None:
        """Take over teachers that were trained one by one, once all are there."""
        members = range(self.config.teachers.n_members)
        folders = [self._job.member_directory(k) for k in members]
        begun = [k for k in members if (folders[k] / "checkpoint.pt").exists()]
        if not begun:
            return
        missing = [k for k in members if not is_finished(folders[k])]
        if missing:
            listed = ", ".join(
                f"member {k} ({'not finished' if k in begun else 'not begun'})" for k in missing
            )
            raise EKDError(
                f"'{stage}' needs all {len(members)} teachers, and in '{self.folder / 'teachers'}' "
                f"{len(missing)} are missing: {listed}; train each with 'ekd train CONFIG "
                "--member K --resume', or all with 'ekd train CONFIG --resume'",
                code="EKD-RUN-004",
            )
        # Reads them, and checks that they belong to this configuration and these data.
        teachers = Ensemble([self._job.train_member(k, resume=True) for k in members])
        seconds = [sum(record["seconds"] for record in m.history) for m in teachers.members]
        self.manifest.begin("train", resumed=False, config=self.config)
        self._conclude_teachers(teachers)
        self.manifest.finish("train", self.config)
        self.record.adopt("train", self.settings("train"), max(seconds))

    def _has_section(self, stage: str) -> bool:
        """Whether the configuration has the section that a stage is for."""
        return stage not in OPTIONAL or getattr(self.config, OPTIONAL[stage]) is not None

    def _is_wanted(self, stage: str, stages: Sequence[str]) -> bool:
        """Whether a stage is to be run; one without its section is passed over.

        Raises:
            ConfigError: it is the only one, and the configuration lacks the section.
        """
        if self._has_section(stage):
            return True
        if len(stages) > 1:
            return False
        section = OPTIONAL[stage]
        raise ConfigError(
            f"'{stage}' needs a section [{section}], which the configuration lacks; add one, if "
            f"only the line '[{section}]', which takes the defaults",
            code="EKD-CONFIG-026",
        )

    def _check_processes(self, stages: Sequence[str]) -> None:
        shared = ("pretrain", "train", "distill")
        others = [stage for stage in stages if stage not in shared]
        if self.group.n_ranks > 1 and others:
            raise EKDError(
                f"torchrun started {self.group.n_ranks} processes of '{others[0]}', which works in "
                "one; only 'pretrain', 'train' and 'distill' share their work that way. Run it "
                "without torchrun",
                code="EKD-RUN-005",
            )

    def _write_config(self) -> None:
        """Leave the settings beside the results; all processes have looked at those before."""
        self.group.barrier()
        if self.writes:
            write_config(self.config, self.folder / RESOLVED)

    def setting_differences(self, stage: str) -> list[str]:
        """Settings that differ from those the results of a stage were made with, in words."""
        return self.record.differences(stage, self.settings(stage), _defaults())

    def _require_same_settings(self, stage: str) -> None:
        differences = self.setting_differences(stage)
        if differences:
            listed = "\n  ".join(differences)
            raise EKDError(
                f"the results of '{stage}' in '{self.folder}' were made with other settings:\n"
                f"  {listed}\n"
                "choose another folder with --output, or make them again with "
                f"'ekd run --from {stage} --overwrite'",
                code="EKD-RUN-006",
            )

    def _check_inputs(self, stages: Sequence[str]) -> None:
        """Find now what would otherwise stop a stage hours later."""
        for name, held_out in self._held_out().items():
            unknown = set(held_out.elements) - set(self.data.elements)
            if unknown:
                raise DataError(
                    f"the {name} set has {', '.join(map(symbol, sorted(unknown)))}, which the "
                    "training set lacks; the teachers cannot know them",
                    code="EKD-DATA-062",
                )
        if {"pretrain", "train", "distill"} & set(stages):
            pretraining.check(self.config, self.data, self._base_data)
        if self.config.tensorboard and {"pretrain", "train", "distill"} & set(stages):
            require_tensorboard()
        asking = {"label", "evaluate"}
        if self.config.student.on_policy.n_rounds:
            asking.add("distill")
        if asking & {stage for stage in stages if not self._is_done(stage)}:
            self._check_teachers()
        if "lammps" in stages and not self._is_done("lammps"):
            installed_program().command(self.config.lammps.mpi_ranks)
            molecule(self.config.lammps.nve.molecule)

    def _check_teachers(self) -> None:
        elements = set(self.data.elements)
        for path in self.config.labels.structures:
            unknown = set(read_structures(path).elements) - elements
            if unknown:
                raise DataError(
                    f"'{path}' has {', '.join(map(symbol, sorted(unknown)))}, which the training "
                    "set lacks; the student could not learn them",
                    code="EKD-DATA-062",
                )
        for teacher in self.other_teachers:
            teacher.check(sorted(elements))


def _in_the_way(path: Path) -> EKDError:
    return EKDError(
        f"'{path}' already exists; add --resume to keep what is complete and continue, --overwrite "
        "to remove it and start again, or choose another folder with --output",
        code="EKD-RUN-001",
    )


@cache
def _defaults() -> dict[str, Any]:
    """Settings that a record may be too old to know."""
    data = DataConfig(path=Path())
    return _flatten(Config(data=data).model_dump(mode="json"))


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat.update(_flatten(value, f"{name}.") if isinstance(value, dict) else {name: value})
    return flat


def _read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
