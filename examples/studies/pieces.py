"""Pools, bases, teachers, labels and students of a study, each found again by its settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import ekd
from ekd.config import TestConfig
from ekd.data import Dataset, split
from ekd.data.combine import concatenate
from ekd.distillation.extra import without_energies
from ekd.distillation.label_file import TeacherRecord
from ekd.errors import DataError
from ekd.files import atomic_write, sha256
from ekd.pipeline.bases import learns_from_pool, steps
from ekd.pipeline.labelled_data import load_labelled
from ekd.pool.recipe import DATA
from piece_settings import TEACHERS, PieceSettings
from study import Study, Variant

Row = dict[str, Any]
"""Columns of results.csv."""


@dataclass(frozen=True)
class Workshop:
    """Where pieces are made and kept.

    Attributes:
        study: the question.
        folder: of all pieces, shared by all studies.
        data: folder of data that are not shipped, or None.
        n_workers: processes.
        progress: show bars.
    """

    study: Study
    folder: Path
    data: Path | None
    n_workers: int | None
    progress: bool

    def experiment(self, variant: Variant, name: str, seed: int) -> Experiment:
        """A variant for one data set and seed."""
        return Experiment(self, variant, name, seed)

    def experiments(self, variants: Sequence[str], name: str, seed: int) -> list[Experiment]:
        """Those of some variants that there are for a data set and a seed."""
        chosen = map(self.study.variant, variants)
        return [self.experiment(v, name, seed) for v in chosen if v.is_for(name, seed)]

    def teachers(self, of: str | None, experiments: Sequence[Experiment]) -> ekd.Ensemble:
        """Those of a variant, for data set and seed of some experiments; None: of the first."""
        first = experiments[0]
        if of is None:
            return first.teachers
        return self.experiment(self.study.variant(of), first.name, first.seed).teachers


@dataclass(frozen=True)
class Experiment:
    """A variant for one data set and seed, and the pieces that it needs."""

    shop: Workshop
    variant: Variant
    name: str
    seed: int

    @cached_property
    def settings(self) -> PieceSettings:
        """What each piece depends on."""
        shop = self.shop
        return PieceSettings(shop.study, shop.folder, shop.data, self.variant, self.name, self.seed)

    @property
    def config(self) -> ekd.Config:
        """The configuration with all defaults."""
        return self.settings.config

    @property
    def reference(self) -> Experiment:
        """The first variant with the same teachers, see :attr:`PieceSettings.reference`."""
        return self.shop.experiment(self.settings.reference.variant, self.name, self.seed)

    @cached_property
    def training_set(self) -> Dataset:
        """True energies alone."""
        data = self.config.data
        return ekd.load_dataset(data.path, data.energy, energy_unit=data.energy_unit)

    @cached_property
    def with_true_forces(self) -> Dataset | None:
        """The training set with its true forces, which no teacher sees; None: it has none."""
        data, truth = self.config.data, self.config.test
        try:
            return ekd.load_dataset(data.path, data.energy, truth and truth.forces)
        except DataError:
            return None

    @property
    def split(self) -> dict[str, Any]:
        """How the training set is split."""
        data = self.config.data
        return {
            "validation_fraction": data.validation_fraction,
            "split_by": data.split_by,
            "split_seed": data.split_seed,
        }

    @cached_property
    def pool(self) -> ekd.Pool | None:
        """Geometries with cheap energies and forces; None: there is no section [pool]."""
        section = self.config.pool
        if section is None:
            return None
        return ekd.build_pool(
            self.training_set.subset(self.parts[0]),
            section.model_copy(update={"n_workers": self.shop.n_workers}),
            path=self.settings.folder_of("pool", self.settings.pool) / "pool.h5",
            cutoff=self.config.model.cutoff,
            seed=self.config.seed,
            resume=True,
            progress=self.shop.progress,
        )

    @cached_property
    def bases(self) -> ekd.Ensemble | None:
        """What teachers start from; None: random weights."""
        section = self.config.pretraining
        if section is None:
            return None
        bases = None
        if section.checkpoint is not None:
            bases = ekd.Ensemble([ekd.TrainedModel.load(section.checkpoint)])
        learned = self.pool if learns_from_pool(self.config) else None
        folder = self.settings.folder_of("bases", self.settings.bases)
        for step in steps(self.config, learned and learned.data, load_labelled(section.data)):
            bases = ekd.pretrain(
                step.data,
                self.config.model,
                n_bases=section.n_bases,
                seed=self.config.seed,
                training=step.training,
                validation_fraction=section.validation_fraction,
                split_seed=self.config.data.split_seed,
                starts=bases,
                directory=folder / step.folder,
                n_workers=self.shop.n_workers,
                resume=True,
                progress=self.shop.progress,
            )
        return bases

    @property
    def start(self) -> ekd.TrainedModel | None:
        """What the student starts from; None: random weights."""
        if self.bases is None or not self.config.student.from_base:
            return None
        return self.bases.members[0]

    @cached_property
    def teachers(self) -> ekd.Ensemble:
        """The trained teachers, or the students that take their place."""
        if self.variant.generation_of is not None:
            earlier = self.shop.study.variant(self.variant.generation_of)
            return self.shop.experiment(earlier, self.name, self.seed).students
        section = self.config.teachers
        return ekd.train_ensemble(
            self.training_set,
            model=self.config.model,
            n_members=section.n_members,
            seed=self.config.seed,
            training=section.training,
            splits=section.splits,
            n_folds=section.n_folds,
            overrides=section.overrides,
            starts=self.bases,
            directory=self.settings.folder_of("teachers", self.settings.teachers),
            n_workers=self.shop.n_workers,
            resume=True,
            progress=self.shop.progress,
            **self.split,
        )

    @cached_property
    def labels(self) -> ekd.Labels:
        """What the student learns beside the energies."""
        if self.variant.learn == "forces":
            return _true_labels(self.training_set, self.with_true_forces)
        section = self.config.labels
        folder = self.settings.folder_of("labels", self.settings.labels)
        if (folder / "labels.h5").exists():
            return ekd.Labels.load(folder / "labels.h5", self.training_set)
        return ekd.label(
            self._asked,
            self.training_set,
            folder / "labels.h5",
            extra=_extra(self, self._asked),
            chunk_size=section.chunk_size,
            n_workers=self.shop.n_workers,
            resume=True,
            progress=self.shop.progress,
            wall=section.wall,
        )

    @property
    def _asked(self) -> ekd.Ensemble:
        """The teachers that give labels."""
        return ekd.Ensemble(self.teachers.members[: self.variant.n_teachers])

    @cached_property
    def parts(self) -> tuple[Any, Any]:
        """Configurations of the training set that are trained on, and that are held out."""
        data = self.config.data
        return split(self.training_set, data.validation_fraction, data.split_by, data.split_seed)

    @cached_property
    def students(self) -> ekd.Ensemble:
        """The trained student, or students."""
        section = self.config.student
        if not self.settings.has_rounds:
            return self.first_students
        return ekd.distill_on_policy(
            self.first_students,
            self._asked,
            self.training_set,
            self.labels,
            on_policy=section.on_policy,
            training=section.training,
            seed=self.config.seed + self.config.teachers.n_members,
            wall=self.config.labels.wall,
            directory=self.settings.folder_of("student", self.settings.students),
            n_workers=self.shop.n_workers,
            resume=True,
            progress=self.shop.progress,
            **self._lessons,
            **self.split,
        )

    @property
    def _lessons(self) -> dict[str, Any]:
        """How students learn from labels."""
        section = self.config.student
        return {
            "spread": section.spread,
            "uncertainty": section.uncertainty,
            "extra_energy_weight": section.extra_energy_weight,
            "extra_force_weight": section.extra_force_weight,
        }

    @cached_property
    def first_students(self) -> ekd.Ensemble:
        """Student, or students, before rounds on their own dynamics."""
        section = self.config.student
        shared: dict[str, Any] = {
            "model": section.model or self.config.model,
            "training": section.training,
            "seed": self.config.seed + self.config.teachers.n_members,
            "directory": self.settings.folder_of("student", self.settings.first_students),
            "n_members": section.n_members,
            "n_workers": self.shop.n_workers,
            "resume": True,
            "progress": self.shop.progress,
            **self.split,
        }
        if self.variant.learn == "energies":
            if self.variant.training == "teachers":
                shared["training"] = self.config.teachers.training
            starts = None if self.start is None else ekd.Ensemble([self.start])
            return ekd.train_ensemble(self.training_set, starts=starts, **shared)
        return ekd.distill_committee(
            self.training_set, self.labels, start=self.start, **self._lessons, **shared
        )

    @cached_property
    def truth(self) -> dict[str, Dataset]:
        """The test sets; and what was held out, with true forces where the file has them."""
        if self.config.test is None:
            raise DataError(f"sets/{self.name}.toml has no [test]; studies measure on it")
        measured = _true(self.config.test)
        slices = {
            f"test {name}": measured.subset(np.arange(*rows)) for name, rows in self._slices.items()
        }
        known = self.with_true_forces or self.training_set
        far = {} if self.config.far is None else {"far": _true(self.config.far)}
        return {"test": measured, **far, "validation": known.subset(self.parts[1]), **slices}

    @property
    def _slices(self) -> dict[str, list[int]]:
        return self.shop.study.slices.get(self.name, {})

    def measure_teachers(self) -> list[Row]:
        """Errors of the single teachers, in the mean, and of their ensemble."""
        name = self.settings.teachers_name
        folder = self.settings.folder_of("teachers", self.settings.teachers)
        names = {f"{TEACHERS}, one": "single teacher", TEACHERS: "ensemble"}
        return [
            {**row, "variant": name, "model": names[row["model"]], "teachers": name}
            for row in self._measured(folder, TEACHERS)
        ]

    def measure(self) -> list[Row]:
        """Errors of the student; of several those of the single ones, in the mean, too."""
        folder = self.settings.folder_of("student", self.settings.students)
        names = {"student, one": "single student", "student": "student"}
        if self.config.student.n_members > 1:
            names["student"] = "committee"
        return [
            {
                **row,
                "variant": self.variant.name,
                "model": names[row["model"]],
                "teachers": self.settings.teachers_name,
            }
            for row in self._measured(folder, "student")
        ]

    def _measured(self, folder: Path, what: str) -> list[Row]:
        """Rows of a model; they are kept beside it."""
        section = self.config.far  # a set that may grow
        far = [] if section is None else [f"{section.path.stem}-{sha256(section.path)[:12]}"]
        path = folder / f"{'-'.join(['measured', *self._slices, *far])}.json"
        if not path.exists():
            ensemble = self.teachers if what == TEACHERS else self.students
            rows = _measure(what, ensemble, self.truth, self.shop.n_workers)
            if what != TEACHERS and self.settings.has_rounds:
                before = _seconds(self.first_students)
                for row in rows:
                    single = row["model"] != what
                    row["training_seconds"] += before / (len(ensemble) if single else 1)
            with atomic_write(path) as temporary:
                temporary.write_text(json.dumps(rows, indent=1))
        found: list[Row] = json.loads(path.read_text())
        return [{"set": self.name, "seed": self.seed, **row} for row in found]


def _extra(made: Experiment, teachers: ekd.Ensemble) -> Dataset | None:
    """Extra configurations, as ``ekd label`` makes them."""
    section, seed = made.config.labels, made.config.seed
    training, _ = made.parts
    extra = [ekd.read_structures(path) for path in section.structures]
    if made.settings.labels_pool:
        assert made.pool is not None
        cheap = made.pool.data
        extra.append(without_energies(cheap.subset(cheap.groups != DATA)))
    if section.perturbed.n_copies:
        start = made.training_set.subset(training)
        extra.append(
            ekd.perturb(start, section.perturbed.displacement, section.perturbed.n_copies, seed)
        )
    if section.md.n_trajectories:
        settings = section.md.model_dump()
        n = min(settings.pop("n_trajectories"), len(training))
        chosen = np.random.default_rng(seed).permutation(training)[:n]
        extra.append(
            ekd.sample_md(
                teachers,
                made.training_set.subset(chosen),
                **settings,
                seed=seed,
                n_workers=made.shop.n_workers,
                progress=made.shop.progress,
                wall=section.wall,
            )
        )
    return concatenate(*extra) if extra else None


def _true(section: TestConfig) -> Dataset:
    """A test set."""
    return ekd.load_dataset(
        section.path, section.energy, section.forces, energy_unit=section.energy_unit
    )


def _seconds(ensemble: ekd.Ensemble) -> float:
    """What the training took."""
    return sum(float(record["seconds"]) for model in ensemble.members for record in model.history)


def _measure(
    name: str, ensemble: ekd.Ensemble, truth: dict[str, Dataset], n_workers: int | None
) -> list[Row]:
    found = ekd.evaluate(
        {name: ensemble}, truth, same_level=True, n_workers=n_workers, progress=False
    )
    rows: dict[str, Row] = {}
    for entry in found.select():
        row = rows.setdefault(entry.model, {"model": entry.model})
        if entry.quantity in ("energy", "force", "relative_energy"):
            row[f"{entry.dataset}_{entry.quantity}_rmse"] = entry.errors.rmse
            row[f"{entry.dataset}_{entry.quantity}_mae"] = entry.errors.mae
    for calibration in found.calibrations:
        if calibration.quantity == "force":
            # Of members that disagree, or of what a student has learned about that.
            estimate = getattr(calibration, "estimate", "spread")
            row = rows.setdefault(calibration.model, {"model": calibration.model})
            row[f"{calibration.dataset}_{estimate}_spearman"] = calibration.result.spearman
            scale = calibration.result.scale  # infinite where there is no spread at all
            row[f"{calibration.dataset}_{estimate}_scale"] = scale if np.isfinite(scale) else None
    seconds = _seconds(ensemble)
    for row in rows.values():
        row["training_seconds"] = seconds / (len(ensemble) if row["model"] != name else 1)
    return list(rows.values())


def _true_labels(data: Dataset, known: Dataset | None) -> ekd.Labels:
    """True forces in the place of labels: the upper bound of what forces can give.

    Raises:
        DataError: the training file has none.
    """
    if known is None or known.forces is None:
        raise DataError(
            f"'{data.provenance.path}' has no forces to train on; leave out the variant with "
            "learn = 'forces' for this data set"
        )
    known = replace(known, provenance=data.provenance)
    return ekd.Labels(
        energies=None,
        energies_std=None,
        member_energies=known.energies[:, None],
        forces=known.forces,
        forces_std=np.zeros(known.n_atoms),
        teachers=(TeacherRecord("true forces", "0" * 64, use_energies=False),),
        data_fingerprint=data.fingerprint,
    )
