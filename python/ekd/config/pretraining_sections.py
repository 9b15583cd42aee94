"""The pool of cheap geometries, and the bases that learn from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, model_validator

from ekd.config.data_sections import LabelledDataConfig
from ekd.config.section import FilePath, Range, Section
from ekd.config.training_sections import TrainingConfig

TBLITE: Final = "tblite.ase:TBLite"
"""The default calculator of pools."""


_OF_TBLITE = {"method": "GFN2-xTB", "verbosity": 0}
"""Its arguments. Its forces depend on what it calculated before, by up to 6e-4 eV/Å
(findings/tblite_history_and_periodicity.sh), so that it is made anew for every geometry."""


class CalculatorConfig(Section):
    """A calculator of ASE that gives cheap energies and forces."""

    calculator: str = Field(
        TBLITE,
        description="'module:Class' of an ASE calculator, or 'module:function' that returns one; "
        "GFN2-xTB by default, which needs the package tblite",
    )
    folder: FilePath = Field(
        Path(), description="searched first for the module; the folder of this file by default"
    )
    arguments: dict[str, Any] = Field(
        {}, description="keyword arguments of the calculator; of tblite there are good defaults"
    )
    files: dict[str, FilePath] = Field(
        {}, description="keyword arguments that are paths, from the folder of this file"
    )
    elements: list[str] | None = Field(
        None, description="elements that the calculator knows, if it would not refuse others"
    )
    reuse: bool = Field(
        False,
        description="one calculator for all geometries of a chunk, for those that take long to "
        "make, such as networks; false: a new one for each, so that none remembers another",
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
        description="names of ase.build.molecule; None: all closed-shell molecules of ASE's G2 set "
        "with only elements of the data, and at most max_heavy_atoms",
    )
    max_heavy_atoms: int = Field(
        6,
        ge=1,
        description="of a molecule that is chosen because molecules names none, or that is joined",
    )
    structures: list[FilePath] = Field(
        [],
        description="files of more structures, in any format of ASE, or pools; energies are "
        "ignored",
    )
    n_from_data: int | None = Field(
        None, ge=0, description="training configurations that are taken; None: all"
    )
    n_rattled: int = Field(
        10, ge=0, description="copies of every molecule with every atom displaced"
    )
    displacement: float = Field(
        0.1, gt=0, description="largest standard deviation of a displacement (Å)"
    )
    temperatures: list[float] = Field(
        [300.0, 600.0, 1000.0],
        description="of MD by the calculator, one run per molecule and temperature (K); []: no MD",
    )
    n_snapshots: int = Field(5, ge=1, description="of each run")
    interval: float = Field(0.02, gt=0, description="between snapshots (ps)")
    timestep: float = Field(1e-3, gt=0, description="of the runs (ps)")
    n_stretched: int = Field(
        5, ge=0, description="copies of every molecule with one bond stretched or compressed"
    )
    stretch: Range = Field(
        (0.8, 1.6), description="shortest and longest of such bonds, over the length it had"
    )
    n_joined: int = Field(
        0,
        ge=0,
        description="new molecules, each made of two: both give up a hydrogen atom, and a bond "
        "takes their place",
    )
    excluded_formulas: list[str] = Field(
        [],
        description="formulas in Hill order, e.g. 'C2H6O', that no joined molecule has, such as "
        "those of a test set",
    )
    n_clusters: int = Field(
        1500, ge=0, description="dimers and larger clusters of molecules drawn at random"
    )
    largest_cluster: int = Field(4, ge=2, description="molecules; two thirds are dimers")
    contact: Range = Field(
        (0.65, 2.0),
        description="closest distance between molecules of a cluster, over the sum of the van der "
        "Waals radii",
    )
    max_force: float = Field(
        30.0, gt=0, description="eV/Å; what has a larger one is left out, and counted"
    )
    duplicate_distance: float = Field(
        0.02,
        ge=0,
        description="Å; of two geometries whose sorted distances differ by less, root mean square, "
        "one is left out; 0: none is",
    )
    chunk_size: int = Field(
        50, ge=1, description="geometries per chunk: the most that an interruption costs"
    )
    n_workers: int | None = Field(None, ge=1, description="processes; None: one per core")

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
    """How a base is trained: on energies and forces, so that it can train fast."""

    optimizer: Literal["soap", "adam"] = Field(
        "soap",
        description="'soap': Adam in the axes of the gradients of each matrix; 'adam': as in the "
        "papers",
    )
    epochs: int = Field(60, ge=1, description="passes over the pool")
    force_weight: float = Field(10.0, ge=0, description="weight of RMSE + MAE of the forces")


class SecondStepConfig(BaseTrainingConfig):
    """How a base learns a data set after a cheaper method: fewer geometries, at a lower rate."""

    epochs: int = Field(200, ge=1, description="passes over the data set")
    learning_rate: float = Field(3e-3, gt=0, description="peak of the schedule")


class PretrainingConfig(Section):
    """Networks that teachers and student start from: ``ekd pretrain``, docs/pretraining.md."""

    pool: bool = Field(True, description="learn what [pool] makes, where there is no checkpoint")
    checkpoint: FilePath | None = Field(
        None,
        description="a finished network of ekd, e.g. from 'ekd import-hippynn', to start from",
    )
    data: LabelledDataConfig | None = Field(
        None,
        description="a data set with energies and forces, which is learned after the pool or the "
        "checkpoint, if there is one",
    )
    n_bases: int = Field(
        4,
        ge=1,
        description="number of networks; teachers take them in turn, the student takes the first; "
        "default: 4, at most one for each teacher, and 1 with a checkpoint and no data set",
    )
    validation_fraction: float = Field(
        0.05, gt=0, lt=1, description="share of the pool held out of training"
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
                "data set, [pretraining.data], that bases learn from it on"
            )
        return self
