"""What ``ekd stability`` is asked to do. Times are in ps, temperatures in K."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from ekd.config import FilePath, Section, located, read_toml
from ekd.errors import ConfigError
from ekd.evaluation.settings import ModelConfig, locate_model


class StructureConfig(Section):
    """Where runs start: a molecule, or a periodic box."""

    path: FilePath | None = Field(None, description="any file that ASE reads")
    molecule: str | None = Field(None, description="or a name that ase.build.molecule knows")
    frames: str = Field(
        "0", description="of the file, as in ASE: '0' is the first one, ':' all, '::100'"
    )
    name: str | None = Field(None, description="what tables call it")

    @model_validator(mode="after")
    def _one_source(self) -> StructureConfig:
        if (self.path is None) == (self.molecule is None):
            raise ValueError(
                "a structure is either a path = 'file' or a molecule = 'CH3OH', found "
                f"{'neither' if self.path is None else 'both'}"
            )
        return self


class FailureConfig(Section):
    """When a run counts as failed."""

    bond_factor: float = Field(
        1.25,
        gt=0,
        description="atoms of the starting structure that are closer than this times the sum of "
        "their covalent radii are bonded",
    )
    broken_factor: float = Field(
        1.6, gt=0, description="a bond is broken when it is longer than this times the same sum"
    )
    contact_factor: float = Field(
        0.5, ge=0, description="atoms closer than this times the sum have fallen into each other"
    )
    energy_limit: float = Field(
        1.0, gt=0, description="largest change of the potential energy, eV per atom"
    )
    false_alarm: float = Field(
        1e-12,
        gt=0,
        lt=1,
        description="a run is too hot when its temperature is higher than a canonical ensemble of "
        "as many atoms shows with this probability",
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

    timesteps: list[float] = Field([], description="ps; each gets runs. None: no such runs")
    temperature: float = Field(300.0, gt=0, description="K, of the equilibration before")
    duration: float = Field(5.0, gt=0, description="ps")
    equilibration: float = Field(0.5, gt=0, description="ps, with the thermostat")
    n_seeds: int = Field(2, ge=1, description="runs of every structure and time step")

    @property
    def bath_timestep(self) -> float:
        """Of the equilibration: the smallest one, so that runs of all time steps start alike."""
        return min(self.timesteps)

    @model_validator(mode="after")
    def _positive(self) -> DriftConfig:
        if any(not step > 0 for step in self.timesteps):
            raise ValueError(f"timesteps = {self.timesteps}: expected positive numbers (ps)")
        return self


class StabilityConfig(Section):
    """A whole test of stability."""

    output: FilePath = Field(Path("stability"), description="folder of everything that is written")
    models: list[ModelConfig] = Field(description="each [[models]]: what runs")
    structures: list[StructureConfig] = Field(description="each [[structures]]: where runs start")
    relax: bool = Field(
        False,
        description="relax each structure by the model that runs first: where a packed box starts, "
        "its strain would heat it past the limit within femtoseconds",
    )
    temperatures: list[float] = Field([300.0], description="K")
    n_seeds: int = Field(4, ge=1, description="runs of every structure and temperature")
    seed: int = Field(0, ge=0, description="of the first run; others count on")
    duration: float = Field(10.0, gt=0, description="ps, of a run that does not fail")
    timestep: float = Field(0.5e-3, gt=0, description="ps")
    friction: float = Field(10.0, gt=0, description="of the Langevin thermostat, 1/ps")
    check_every: int = Field(10, ge=1, description="steps between two looks for a failure")
    failure: FailureConfig = FailureConfig()
    drift: DriftConfig = DriftConfig()
    n_teachers: int | None = Field(
        None, ge=0, description="single teachers of an ensemble that run; None: all"
    )
    engine: Literal["auto", "ase"] = Field(
        "auto", description="'auto' runs periodic boxes in LAMMPS where the model can"
    )
    n_workers: int | None = Field(None, ge=1, description="processes; None: one per core")
    vector_plots: bool = Field(
        False, description="write the plots in `plots/` as PDF and SVG too, for papers"
    )

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
    """Read and validate a TOML file; paths count from it.

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
