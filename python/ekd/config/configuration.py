"""All settings of the pipeline: names, defaults, bounds and meaning, in one place.

A TOML file is read into :class:`Config`. Unknown keys are refused, and the most similar known key
is suggested. Paths in a file are relative to that file. Lengths are in Å, energies in eV, times
in ps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from ekd.config.data_sections import DataConfig, TestConfig
from ekd.config.deployment_sections import ExportConfig, LammpsConfig
from ekd.config.label_sections import LabelsConfig
from ekd.config.pretraining_sections import PoolConfig, PretrainingConfig
from ekd.config.section import FilePath, Section, VectorPlots
from ekd.config.student_sections import StudentConfig
from ekd.config.training_sections import HIPNNConfig, TeachersConfig
from ekd.errors import ConfigError

_OF_FINE_TUNING = {
    "teachers": {"epochs": 60, "learning_rate": 1e-3},
    "student": {"epochs": 60, "learning_rate": 2e-3},
}
"""Defaults of [teachers.training] and [student.training] that change after pretraining."""


_ADD_A_POOL = "add a section [pool], which makes geometries with energies and forces of GFN2-xTB"


class Config(Section):
    """The whole pipeline: data, teachers, labels, student, export, MD."""

    output: FilePath = Field(Path("run"), description="output folder")
    seed: int = Field(
        0, ge=0, description="seed of the first teacher; the others use consecutive seeds"
    )
    tensorboard: bool = Field(
        False,
        description="write TensorBoard logs next to each training history; requires the package "
        "tensorboard",
    )
    vector_plots: VectorPlots = False
    data: DataConfig
    test: TestConfig | None = None
    far: TestConfig | None = Field(
        None,
        description="second test set, far from the training set; reported separately",
    )
    pool: PoolConfig | None = None
    pretraining: PretrainingConfig | None = None
    model: HIPNNConfig = HIPNNConfig()
    teachers: TeachersConfig = TeachersConfig()
    labels: LabelsConfig = LabelsConfig()
    student: StudentConfig = StudentConfig()
    export: ExportConfig = ExportConfig()
    lammps: LammpsConfig = LammpsConfig()

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_fine_tuning(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("pretraining") is None:
            return values
        for section, defaults in _OF_FINE_TUNING.items():
            given = values.get(section, {})
            if isinstance(given, dict) and isinstance(given.get("training", {}), dict):
                training = defaults | given.get("training", {})
                values = values | {section: given | {"training": training}}
        return values

    @model_validator(mode="before")
    @classmethod
    def _no_more_bases_than_teachers(cls, values: Any) -> Any:
        section = values.get("pretraining") if isinstance(values, dict) else None
        if not isinstance(section, dict) or "n_bases" in section:
            return values
        if section.get("checkpoint") and not section.get("data"):  # the checkpoint is the one base
            return values
        teachers = values.get("teachers", {})
        given = teachers.get("n_members") if isinstance(teachers, dict) else teachers.n_members
        default = PretrainingConfig.model_fields["n_bases"].default
        if not isinstance(given, int) or given >= default:
            return values
        return values | {"pretraining": section | {"n_bases": max(1, given)}}

    @model_validator(mode="after")
    def _has_a_pool(self) -> Config:
        section = self.pretraining
        if section is None or section.data or section.checkpoint or (self.pool and section.pool):
            return self
        raise ValueError(
            "[pretraining] has nothing to learn from; "
            + ("set pool = true in it" if self.pool else _ADD_A_POOL)
            + ", or add [pretraining.data] with a data set, or checkpoint = 'file' in [pretraining]"
        )

    @model_validator(mode="after")
    def _wall_has_labels_to_lift(self) -> Config:
        labels = self.labels
        others = [
            labels.structures,
            labels.perturbed.n_copies,
            labels.md.n_trajectories,
            self.pool is not None and labels.pool,
            self.student.on_policy.n_rounds,
        ]
        if labels.wall.strength and not any(others):
            raise ValueError(
                f"labels.wall.strength = {labels.wall.strength}: the wall raises only labels of "
                "extra configurations, and there are none; set labels.md.n_trajectories, "
                "labels.perturbed.n_copies or labels.structures, add a section [pool], or set "
                "strength = 0"
            )
        return self

    @model_validator(mode="after")
    def _has_teachers(self) -> Config:
        n_members = self.teachers.n_members
        if n_members < 2 and not self.labels.teachers:
            raise ValueError(
                f"teachers.n_members = {n_members}: at least 2 are needed for a spread; train "
                "more, or add others to [[labels.teachers]]"
            )
        if n_members == 0 and self.labels.md.n_trajectories > 0:
            raise ValueError(
                "labels.md.n_trajectories: MD runs with teachers that are trained here; set "
                "teachers.n_members, or give snapshots as labels.structures"
            )
        n_counting = n_members + sum(teacher.counts for teacher in self.labels.teachers)
        if self.labels.wall.strength and n_counting < 2:
            raise ValueError(
                f"labels.wall.strength = {self.labels.wall.strength}: the wall needs energies of "
                f"at least 2 teachers, found {n_counting}; train more, or set use_energies for "
                "teachers at the level of theory of the data"
            )
        n_networks = n_members + sum(t.checkpoint is not None for t in self.labels.teachers)
        if self.student.on_policy.n_rounds and n_networks < 2:
            raise ValueError(
                f"student.on_policy.n_rounds = {self.student.on_policy.n_rounds}: on-policy rounds "
                f"need at least 2 teachers that are ekd networks, found {n_networks}; train at "
                "least 2, or add checkpoints to [[labels.teachers]]"
            )
        for k, member in enumerate(self.teachers.overrides):
            try:
                member.apply(self.model, self.teachers.training)
            except ConfigError as error:
                raise ValueError(
                    f"[[teachers.overrides]] number {k}, counted from 0: {error}"
                ) from None
        return self

    @model_validator(mode="after")
    def _starts_fit(self) -> Config:
        """Require networks that start from a base to have its architecture."""
        if self.pretraining is None:
            return self
        if self.student.model is not None and self.student.from_base:
            differ = _differences(self.student.model, self.model)
            if differ:
                raise ValueError(
                    f"the student starts from a base, which has the architecture of [model], and "
                    f"[student.model] has {differ}; remove [student.model], or set from_base = "
                    "false in [student]"
                )
        for k, member in enumerate(self.teachers.overrides):
            own = HIPNNConfig(**(self.model.model_dump() | member.model))
            if differ := _differences(own, self.model):
                raise ValueError(
                    f"[[teachers.overrides]] number {k}, counted from 0: the teacher starts from a "
                    f"base, which has the architecture of [model], and has {differ}; remove these "
                    "keys of model, or the section [pretraining]"
                )
        return self


def _differences(own: HIPNNConfig, other: HIPNNConfig) -> str:
    """Describe the keys in which two architectures differ; empty if they agree."""
    ours, theirs = own.model_dump(), other.model_dump()
    return ", ".join(
        f"{key} = {ours[key]} instead of {theirs[key]}" for key in ours if ours[key] != theirs[key]
    )
