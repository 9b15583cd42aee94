"""Labels: additional teachers, extra configurations, and the disagreement penalty (wall)."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from ekd.config.section import Arguments, FilePath, Section, Workers


class TeacherConfig(Section):
    """An additional teacher that is not trained here: an ASE calculator or an ekd checkpoint."""

    calculator: str | None = Field(
        None,
        description="'module:Class' of an ASE calculator, or 'module:function' that returns one",
    )
    folder: FilePath = Field(
        Path(),
        description="folder searched first for the module; default: the folder of this file",
    )
    arguments: Arguments = Field({}, description="keyword arguments of the calculator")
    files: dict[str, FilePath] = Field(
        {}, description="keyword arguments that are paths, relative to the folder of this file"
    )
    elements: list[str] | None = Field(
        None,
        description="supported elements, for calculators that do not reject other elements "
        "themselves",
    )
    checkpoint: FilePath | None = Field(
        None, description="checkpoint of an ekd network, e.g. from 'ekd import-hippynn'"
    )
    use_energies: bool | None = Field(
        None,
        description="whether its energies are at the level of theory of the data; default: true "
        "for a checkpoint, false for a calculator",
    )
    name: str | None = Field(None, description="name in tables")

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
    """Extra configurations: training configurations with all atoms displaced."""

    n_copies: int = Field(0, ge=0, description="number of copies per training configuration")
    displacement: float = Field(
        0.05, gt=0, description="standard deviation of each displacement component (Å)"
    )


class MDConfig(Section):
    """Extra configurations: snapshots of Langevin dynamics with the mean forces of the teachers."""

    n_trajectories: int = Field(
        0,
        ge=0,
        description="number of trajectories; each starts from a random training configuration",
    )
    n_snapshots: int = Field(10, ge=1, description="number of snapshots per trajectory")
    interval: float = Field(0.02, gt=0, description="time between snapshots (ps)")
    temperature: float = Field(300.0, gt=0, description="temperature (K)")
    timestep: float = Field(0.5e-3, gt=0, description="time step (ps)")
    friction: float = Field(10.0, gt=0, description="friction of the thermostat (1/ps)")


class WallConfig(Section):
    """Disagreement penalty (wall): raises labels of extra configurations where teachers disagree.

    Only teachers whose energies are used contribute.
    """

    strength: float = Field(
        0.0,
        ge=0,
        description="increase of the energy per increase of the teachers' energy spread, far above "
        "the onset; 0: no wall",
    )
    onset: float = Field(
        0.015,
        gt=0,
        description="energy spread at which the wall begins, divided by the square root of the "
        "number of atoms (eV)",
    )


class LabelsConfig(Section):
    """Teachers, extra configurations and execution of the labeling."""

    chunk_size: int = Field(
        500,
        ge=1,
        description="configurations per chunk; an interruption loses at most chunks in progress",
    )
    n_workers: Workers = None
    teachers: list[TeacherConfig] = Field(
        [], description="additional teachers that are not trained here"
    )
    structures: list[FilePath] = Field(
        [],
        description="files with extra configurations, in any ASE format, or pools; their energies "
        "are ignored",
    )
    pool: bool = Field(
        True, description="also label the geometries of [pool], if that section exists"
    )
    perturbed: PerturbedConfig = PerturbedConfig()
    md: MDConfig = MDConfig()
    wall: WallConfig = WallConfig()
