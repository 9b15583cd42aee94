"""What the teachers are asked, and which others there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from ekd.config.section import FilePath, Section


class TeacherConfig(Section):
    """A teacher beside those that are trained: a calculator of ASE, or a checkpoint of ekd."""

    calculator: str | None = Field(
        None,
        description="'module:Class' of an ASE calculator, or 'module:function' that returns one",
    )
    folder: FilePath = Field(
        Path(), description="searched first for the module; the folder of this file by default"
    )
    arguments: dict[str, Any] = Field({}, description="keyword arguments of the calculator")
    files: dict[str, FilePath] = Field(
        {}, description="keyword arguments that are paths, from the folder of this file"
    )
    elements: list[str] | None = Field(
        None, description="elements that the calculator knows, if it would not refuse others"
    )
    checkpoint: FilePath | None = Field(
        None, description="a network of ekd, e.g. from 'ekd import-hippynn'"
    )
    use_energies: bool | None = Field(
        None,
        description="whether its energies are at the level of theory of the data; None: those of a "
        "checkpoint are, those of a calculator are not",
    )
    name: str | None = Field(None, description="what tables call it")

    @property
    def counts(self) -> bool:
        """Whether its energies are at the level of theory of the data."""
        return self.checkpoint is not None if self.use_energies is None else self.use_energies

    @model_validator(mode="after")
    def _one_kind(self) -> TeacherConfig:
        if (self.calculator is None) == (self.checkpoint is None):
            raise ValueError(
                "a teacher is either a calculator = 'module:Class' or a checkpoint = 'file', found "
                f"{'neither' if self.calculator is None else 'both'}"
            )
        if self.checkpoint is not None and (self.arguments or self.files or self.elements):
            raise ValueError("arguments, files and elements belong to a calculator")
        return self


class PerturbedConfig(Section):
    """Extra configurations: copies of the training part with every atom displaced."""

    n_copies: int = Field(0, ge=0, description="of every training configuration")
    displacement: float = Field(0.05, gt=0, description="standard deviation of every component (Å)")


class MDConfig(Section):
    """Extra configurations: snapshots of Langevin dynamics with the mean forces of the teachers."""

    n_trajectories: int = Field(
        0, ge=0, description="number; each starts from a training configuration drawn at random"
    )
    n_snapshots: int = Field(10, ge=1, description="of each trajectory")
    interval: float = Field(0.02, gt=0, description="between snapshots (ps)")
    temperature: float = Field(300.0, gt=0, description="K")
    timestep: float = Field(0.5e-3, gt=0, description="ps")
    friction: float = Field(10.0, gt=0, description="of the thermostat (1/ps)")


class WallConfig(Section):
    """Labels of extra configurations rise where the trained teachers disagree."""

    strength: float = Field(
        0.0,
        ge=0,
        description="multiples of the spread of the energies, far above the onset; 0: no wall",
    )
    onset: float = Field(
        0.015,
        gt=0,
        description="eV times the root of the number of atoms: the spread where the wall begins",
    )


class LabelsConfig(Section):
    """What the teachers are asked."""

    chunk_size: int = Field(
        500, ge=1, description="configurations per chunk: the most that an interruption costs"
    )
    n_workers: int | None = Field(None, ge=1, description="processes; None: one per core")
    teachers: list[TeacherConfig] = Field([], description="teachers beside those that are trained")
    structures: list[FilePath] = Field(
        [],
        description="files of extra configurations, in any format of ASE, or pools; energies are "
        "ignored",
    )
    pool: bool = Field(
        True, description="label the geometries of [pool] too, where there is such a section"
    )
    perturbed: PerturbedConfig = PerturbedConfig()
    md: MDConfig = MDConfig()
    wall: WallConfig = WallConfig()
