"""The exported file, and the dynamics in LAMMPS that test it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ekd.config.section import Section


class ExportConfig(Section):
    """The deployed file."""

    dtype: Literal["float32", "float64"] = Field("float64", description="precision in MD")
    description: str = Field("", description="free text for the model card")
    portable: bool = Field(
        False, description="only operations that every libtorch has: runs without ekd, more slowly"
    )


class NVEConfig(Section):
    """Gas-phase molecule at constant energy: does the student conserve it?"""

    molecule: str = Field("CH3OH", description="a molecule known to ase.build.molecule")
    temperature: float = Field(300.0, gt=0, description="initial temperature (K)")
    timestep: float = Field(0.25e-3, gt=0, description="ps")
    duration: float = Field(10.0, gt=0, description="ps")


class WaterConfig(Section):
    """Periodic water box at constant temperature."""

    n_molecules: int = Field(64, ge=1, description="water molecules in the box")
    density: float = Field(0.997, gt=0, description="g/cm^3")
    temperature: float = Field(300.0, gt=0, description="K")
    timestep: float = Field(0.5e-3, gt=0, description="ps")
    duration: float = Field(2.0, gt=0, description="ps, the first quarter is equilibration")


class LammpsConfig(Section):
    """Molecular dynamics in LAMMPS with the exported student."""

    mpi_ranks: int = Field(2, ge=1, description="MPI ranks of the periodic run")
    nve: NVEConfig = NVEConfig()
    water: WaterConfig = WaterConfig()
