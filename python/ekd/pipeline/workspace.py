"""Shared state of the stages of a run: settings, output folder, data and models."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from ekd.config import Config
from ekd.data import Dataset, load_dataset, split
from ekd.distillation import ASETeacher, MemberTeacher, load_students
from ekd.distillation.teachers import as_teachers, from_config
from ekd.pipeline import bases
from ekd.pipeline.labelled_data import load_labelled
from ekd.pipeline.record import Record
from ekd.training import Ensemble, load_ensemble, plan_ensemble
from ekd.training.job import Job
from ekd.training.parallel import Group


class Workspace:
    """A configuration, its output folder, and the data and models that stages read.

    Data and models are read on first use, and cached.

    Args:
        config: from :func:`ekd.config.load_config`.
        progress: show progress bars and a line per stage.
        group: processes that share the training; the first one writes all files.

    Attributes:
        record: completed work in the folder.
        writes: whether this process writes files.
        console: output for users; quiet without ``progress``.
    """

    def __init__(self, config: Config, progress: bool, group: Group) -> None:
        self.config = config
        self.folder = config.output
        self.group = group
        self.writes = group.rank == 0
        self.progress = progress and self.writes
        self.console = Console(quiet=not self.progress)
        self.record = self._read_record()

    def reload_record(self) -> None:
        """Read the record again, as another process may have changed it."""
        self.record = self._read_record()

    def _read_record(self) -> Record:
        return Record.load(self.folder / "stages.json", writable=self.writes)

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
        """The test set, if the configuration has one."""
        return load_labelled(self.config.test)

    @cached_property
    def far(self) -> Dataset | None:
        """The second test set, far from the training set, if the configuration has one."""
        return load_labelled(self.config.far)

    def test_sets(self) -> dict[str, Dataset]:
        """Return the available test sets, by the names of their sections."""
        both = {"test": self.test, "far": self.far}
        return {name: data for name, data in both.items() if data is not None}

    @cached_property
    def truth(self) -> Dataset:
        """Reference data for the errors: the test set, otherwise the held-out set."""
        if self.test is not None:
            return self.test
        return self.data.subset(self.held_out)

    @cached_property
    def _parts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        data = self.config.data
        return split(self.data, data.validation_fraction, by=data.split_by, seed=data.split_seed)

    @property
    def trained_on(self) -> NDArray[np.int64]:
        """Configurations of the training set that models are trained on."""
        return self._parts[0]

    @property
    def held_out(self) -> NDArray[np.int64]:
        """Configurations of the training set that no model is trained on."""
        return self._parts[1]

    @property
    def split(self) -> dict[str, Any]:
        """The split of the training set, as arguments of the training functions."""
        data = self.config.data
        return {
            "validation_fraction": data.validation_fraction,
            "split_by": data.split_by,
            "split_seed": data.split_seed,
        }

    @cached_property
    def base_data(self) -> Dataset | None:
        """The data set of [pretraining.data], if there is such a section."""
        section = self.config.pretraining
        return load_labelled(None if section is None else section.data)

    @cached_property
    def bases(self) -> Ensemble | None:
        """The bases that teachers start from, read from the output folder; None: random weights."""
        return bases.load_bases(self.config, self.folder)

    @cached_property
    def teacher_job(self) -> Job:
        """The planned training of the teachers."""
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
            **self.split,
        )
        return replace(job, tensorboard=self.config.tensorboard)

    @cached_property
    def members(self) -> Ensemble:
        """The teachers trained in this run, read from the output folder; may be empty."""
        if self.config.teachers.n_members == 0:
            return Ensemble([])
        return load_ensemble(self.folder / "teachers")

    @cached_property
    def teachers(self) -> list[MemberTeacher | ASETeacher]:
        """All teachers: those trained in this run, then the others."""
        members = as_teachers(self.members) if len(self.members) else []
        return [*members, *self.other_teachers]

    @cached_property
    def other_teachers(self) -> list[MemberTeacher | ASETeacher]:
        """The teachers given in the section [labels]."""
        return [from_config(section) for section in self.config.labels.teachers]

    @cached_property
    def students(self) -> Ensemble:
        """The trained student or students, read from the output folder."""
        return load_students(self.folder / "student")
