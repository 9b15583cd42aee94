"""The pool of cheaply labeled geometries, and the bases pretrained on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, model_validator

from ekd.config.data_sections import LabelledDataConfig
from ekd.config.section import Arguments, FilePath, Range, Section, Workers
from ekd.config.training_sections import TrainingConfig

TBLITE: Final = "tblite.ase:TBLite"
"""The default calculator of pools."""


_OF_TBLITE = {"method": "GFN2-xTB", "verbosity": 0}
"""Arguments of tblite. Its forces depend on previous calculations by up to 6e-4 eV/Å
(findings/tblite_history_and_periodicity.sh), so a new calculator is made for each geometry."""


class CalculatorConfig(Section):
    """An ASE calculator for cheap energies and forces."""

    calculator: str = Field(
        TBLITE,
        description="'module:Class' of an ASE calculator, or 'module:function' that returns one; "
        "default: GFN2-xTB, which requires the package tblite",
    )
    folder: FilePath = Field(
        Path(),
        description="folder searched first for the module; default: the folder of this file",
    )
    arguments: Arguments = Field(
        {},
        description="keyword arguments of the calculator; for tblite, the method defaults to "
        "GFN2-xTB",
    )
    files: dict[str, FilePath] = Field(
        {}, description="keyword arguments that are paths, relative to the folder of this file"
    )
    elements: list[str] | None = Field(
        None,
        description="supported elements, for calculators that do not reject other elements "
        "themselves",
    )
    reuse: bool = Field(
        False,
        description="use one calculator for all geometries of a chunk, e.g. for networks that are "
        "slow to load; false: a new one for each geometry, so that results are independent of "
        "previous calculations",
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_tblite(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("calculator", TBLITE) == TBLITE:
            return values | {"arguments": _OF_TBLITE | values.get("arguments", {})}
        return values


class PoolConfig(Section):
    """Geometries with energies and forces of a cheap calculator: ``ekd pool``, docs/pool.md."""

    calculator: CalculatorConfig = CalculatorConfig()
    molecules: list[str] | None = Field(
        None,
        description="names of molecules in ase.build.molecule; default: all closed-shell molecules "
        "of ASE's G2 set with at most max_heavy_atoms heavy atoms and only elements of the data",
    )
    max_heavy_atoms: int = Field(
        6,
        ge=1,
        description="maximum number of heavy atoms in automatically chosen and joined molecules",
    )
    structures: list[FilePath] = Field(
        [],
        description="files with additional structures, in any ASE format, or pools; their energies "
        "are ignored",
    )
    n_from_data: int | None = Field(
        None, ge=0, description="number of training configurations to include; default: all"
    )
    n_rattled: int = Field(
        10, ge=0, description="number of copies per molecule with all atoms displaced"
    )
    displacement: float = Field(
        0.1, gt=0, description="largest standard deviation of the displacements (Å)"
    )
    temperatures: list[float] = Field(
        [300.0, 600.0, 1000.0],
        description="temperatures of MD with the calculator, one run per molecule and temperature "
        "(K); []: no MD",
    )
    n_snapshots: int = Field(5, ge=1, description="number of snapshots per MD run")
    interval: float = Field(0.02, gt=0, description="time between snapshots (ps)")
    timestep: float = Field(1e-3, gt=0, description="time step of MD (ps)")
    n_stretched: int = Field(
        5, ge=0, description="number of copies per molecule with one bond stretched or compressed"
    )
    stretch: Range = Field(
        (0.8, 1.6),
        description="range of the new length of that bond, divided by its original length",
    )
    n_joined: int = Field(
        0,
        ge=0,
        description="number of new molecules made by joining two: a bond replaces one hydrogen "
        "atom of each",
    )
    excluded_formulas: list[str] = Field(
        [],
        description="formulas in Hill order, e.g. 'C2H6O', excluded from joined molecules, such as "
        "those of a test set",
    )
    n_clusters: int = Field(
        1500, ge=0, description="number of dimers and larger clusters of random molecules"
    )
    largest_cluster: int = Field(
        4, ge=2, description="largest number of molecules in a cluster; two thirds are dimers"
    )
    contact: Range = Field(
        (0.65, 2.0),
        description="range of the closest distance between molecules of a cluster, divided by the "
        "sum of the van der Waals radii",
    )
    max_force: float = Field(
        30.0,
        gt=0,
        description="geometries with a larger force are omitted and counted (eV/Å)",
    )
    duplicate_distance: float = Field(
        0.02,
        ge=0,
        description="two geometries are duplicates if the root mean square difference of their "
        "sorted distances is smaller (Å); one is omitted. 0: keep duplicates",
    )
    chunk_size: int = Field(
        50,
        ge=1,
        description="geometries per chunk; an interruption loses at most chunks in progress",
    )
    n_workers: Workers = None

    @model_validator(mode="after")
    def _ranges(self) -> PoolConfig:
        for name in ("stretch", "contact"):
            low, high = getattr(self, name)
            if not 0 < low < high:
                raise ValueError(f"{name} = [{low}, {high}]: 0 < first < second is required")
        if any(not t > 0 for t in self.temperatures):
            raise ValueError(
                f"temperatures = {self.temperatures}: positive numbers of K are needed"
            )
        return self


class BaseTrainingConfig(TrainingConfig):
    """Training of a base on energies and forces."""

    optimizer: Literal["soap", "adam"] = Field(
        "soap",
        description="'soap': Adam in the eigenbasis of the gradient covariance of each weight "
        "matrix; 'adam': as in the papers",
    )
    epochs: int = Field(60, ge=1, description="passes over the pool")
    force_weight: float = Field(10.0, ge=0, description="weight of RMSE + MAE of the forces")


class SecondStepConfig(BaseTrainingConfig):
    """Training of a base on a data set after the cheaper method, at a lower learning rate."""

    epochs: int = Field(200, ge=1, description="passes over the data set")
    learning_rate: float = Field(3e-3, gt=0, description="peak learning rate")


class PretrainingConfig(Section):
    """Networks that teachers and student start from: ``ekd pretrain``, docs/pretraining.md."""

    pool: bool = Field(True, description="train on the pool of [pool], unless checkpoint is given")
    checkpoint: FilePath | None = Field(
        None,
        description="checkpoint of an ekd network to start from instead of the pool, e.g. from "
        "'ekd import-hippynn'",
    )
    data: LabelledDataConfig | None = Field(
        None,
        description="data set with energies and forces for training after the pool or checkpoint, "
        "or alone",
    )
    n_bases: int = Field(
        4,
        ge=1,
        description="number of bases; teachers start from them in turn, the student from the "
        "first; default: 4, at most one per teacher, and 1 with a checkpoint and no data set",
    )
    validation_fraction: float = Field(
        0.05, gt=0, lt=1, description="fraction of the pool held out of training for validation"
    )
    training: BaseTrainingConfig = BaseTrainingConfig()
    second_step: SecondStepConfig = SecondStepConfig()

    @model_validator(mode="before")
    @classmethod
    def _default_of_a_checkpoint(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("checkpoint") and not values.get("data"):
            return {"n_bases": 1} | values
        return values

    @model_validator(mode="after")
    def _one_checkpoint(self) -> PretrainingConfig:
        if self.checkpoint is not None and self.data is None and self.n_bases > 1:
            raise ValueError(
                f"n_bases = {self.n_bases}: a checkpoint is one base; remove n_bases, or add a "
                "data set, [pretraining.data], to train the bases on after the checkpoint"
            )
        return self
