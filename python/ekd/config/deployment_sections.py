"""The exported file, and the LAMMPS simulations that test it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ekd.config.section import Section


class ExportConfig(Section):
    """The exported file."""

    dtype: Literal["float32", "float64"] = Field("float64", description="precision in MD")
    description: str = Field("", description="free text for the model card")
    portable: bool = Field(
        False,
        description="use only standard libtorch operations, so the file runs without ekd, but more "
        "slowly",
    )


class NVEConfig(Section):
    """Gas-phase molecule at constant energy, to test energy conservation."""

    molecule: str = Field("CH3OH", description="name of a molecule in ase.build.molecule")
    temperature: float = Field(300.0, gt=0, description="initial temperature (K)")
    timestep: float = Field(0.25e-3, gt=0, description="time step (ps)")
    duration: float = Field(10.0, gt=0, description="duration (ps)")


class WaterConfig(Section):
    """Periodic water box at constant temperature."""

    n_molecules: int = Field(64, ge=1, description="number of water molecules")
    density: float = Field(0.997, gt=0, description="density (g/cm^3)")
    temperature: float = Field(300.0, gt=0, description="temperature (K)")
    timestep: float = Field(0.5e-3, gt=0, description="time step (ps)")
    duration: float = Field(
        2.0, gt=0, description="duration (ps); the first quarter is equilibration"
    )


class LammpsConfig(Section):
    """Molecular dynamics in LAMMPS with the exported student."""

    mpi_ranks: int = Field(2, ge=1, description="MPI ranks of the periodic run")
    nve: NVEConfig = NVEConfig()
    water: WaterConfig = WaterConfig()
