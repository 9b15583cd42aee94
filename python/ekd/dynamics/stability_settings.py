"""Settings of ``ekd stability``. Times are in ps, temperatures in K."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from ekd.config import FilePath, Section, VectorPlots, Workers, located, read_toml
from ekd.errors import ConfigError
from ekd.evaluation.evaluation_settings import ModelConfig, locate_model


class StructureConfig(Section):
    """A starting structure: a molecule or a periodic box."""

    path: FilePath | None = Field(None, description="any file that ASE reads")
    molecule: str | None = Field(
        None, description="name of a molecule in ase.build.molecule, instead of path"
    )
    frames: str = Field(
        "0", description="frames of the file, as in ASE: '0' (the first), ':' (all) or '::100'"
    )
    name: str | None = Field(None, description="name in tables")

    @model_validator(mode="after")
    def _one_source(self) -> StructureConfig:
        if (self.path is None) == (self.molecule is None):
            raise ValueError(
                "a structure is either a path = 'file' or a molecule = 'CH3OH', found "
                f"{'neither' if self.path is None else 'both'}"
            )
        return self


class FailureConfig(Section):
    """Failure criteria of a run."""

    bond_factor: float = Field(
        1.25,
        gt=0,
        description="atoms are bonded if they are closer in the starting structure than this "
        "factor times the sum of their covalent radii",
    )
    broken_factor: float = Field(
        1.6, gt=0, description="a bond is broken if it is longer than this factor times that sum"
    )
    contact_factor: float = Field(
        0.5, ge=0, description="atoms are too close if closer than this factor times that sum"
    )
    energy_limit: float = Field(
        1.0, gt=0, description="largest change of the potential energy (eV per atom)"
    )
    false_alarm: float = Field(
        1e-12,
        gt=0,
        lt=1,
        description="a run is too hot if its temperature is exceeded with at most this probability "
        "in a canonical ensemble with the same number of atoms",
    )

    @model_validator(mode="after")
    def _ordered(self) -> FailureConfig:
        if not self.contact_factor < self.bond_factor < self.broken_factor:
            raise ValueError(
                "contact_factor < bond_factor < broken_factor is required, found "
                f"{self.contact_factor}, {self.bond_factor}, {self.broken_factor}"
            )
        return self


class DriftConfig(Section):
    """Runs at constant energy, for the drift of the total energy."""

    timesteps: list[float] = Field([], description="time steps to test (ps); []: no such runs")
    temperature: float = Field(300.0, gt=0, description="temperature of the equilibration (K)")
    duration: float = Field(5.0, gt=0, description="duration at constant energy (ps)")
    equilibration: float = Field(
        0.5, gt=0, description="duration of the equilibration with a thermostat (ps)"
    )
    n_seeds: int = Field(2, ge=1, description="number of runs per structure and time step")

    @property
    def bath_timestep(self) -> float:
        """Time step of the equilibration: the smallest, so all runs start from the same state."""
        return min(self.timesteps)

    @model_validator(mode="after")
    def _positive(self) -> DriftConfig:
        if any(not step > 0 for step in self.timesteps):
            raise ValueError(f"timesteps = {self.timesteps}: expected positive numbers (ps)")
        return self


class StabilityConfig(Section):
    """A complete stability test."""

    output: FilePath = Field(Path("stability"), description="output folder")
    models: list[ModelConfig] = Field(description="each [[models]]: a model to run")
    structures: list[StructureConfig] = Field(description="each [[structures]]: a start of runs")
    relax: bool = Field(
        False,
        description="first relax each structure with the model, e.g. packed boxes, whose strain "
        "would heat them past the limit within femtoseconds",
    )
    temperatures: list[float] = Field([300.0], description="temperatures (K)")
    n_seeds: int = Field(4, ge=1, description="number of runs per structure and temperature")
    seed: int = Field(
        0, ge=0, description="seed of the first run; the others use consecutive seeds"
    )
    duration: float = Field(10.0, gt=0, description="duration of a run that does not fail (ps)")
    timestep: float = Field(0.5e-3, gt=0, description="time step (ps)")
    friction: float = Field(10.0, gt=0, description="friction of the Langevin thermostat (1/ps)")
    check_every: int = Field(10, ge=1, description="steps between checks for a failure")
    failure: FailureConfig = FailureConfig()
    drift: DriftConfig = DriftConfig()
    n_teachers: int | None = Field(
        None, ge=0, description="number of individual teachers of an ensemble to run; default: all"
    )
    engine: Literal["auto", "ase"] = Field(
        "auto", description="'auto' runs periodic boxes in LAMMPS if the model can be exported"
    )
    n_workers: Workers = None
    vector_plots: VectorPlots = False

    @model_validator(mode="after")
    def _something_to_do(self) -> StabilityConfig:
        if not self.models or not self.structures:
            raise ValueError("at least one [[models]] and one [[structures]] are needed")
        if any(not value > 0 for value in self.temperatures):
            raise ValueError(f"temperatures = {self.temperatures}: expected positive numbers (K)")
        if not self.temperatures and not self.drift.timesteps:
            raise ValueError("neither temperatures nor drift.timesteps: there is nothing to run")
        if self.duration < self.check_every * self.timestep:
            raise ValueError(
                f"duration = {self.duration} ps is shorter than check_every = {self.check_every} "
                f"steps of {self.timestep} ps"
            )
        return self


def load_stability_config(path: str | os.PathLike[str]) -> StabilityConfig:
    """Read and validate a TOML file; paths in it are relative to its folder.

    Raises:
        ConfigError: the file is missing, is not TOML, or fails validation.
    """
    base = Path(path).parent
    try:
        config = StabilityConfig(**read_toml(path))
    except ConfigError as error:
        raise error.within(f"'{path}'") from None

    def here(entry: StructureConfig) -> StructureConfig:
        return entry.model_copy(update={"path": entry.path and located(entry.path, base)})

    return config.model_copy(
        update={
            "output": located(config.output, base),
            "models": [locate_model(model, base) for model in config.models],
            "structures": [here(entry) for entry in config.structures],
        }
    )
