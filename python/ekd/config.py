"""Every setting of the pipeline: names, defaults, bounds and meaning, in one place.

A TOML file is read into :class:`Config`. Unknown keys are refused with the nearest known one
named. Paths in a file are relative to that file. Lengths are in Å, energies in eV, times in ps.
"""

from __future__ import annotations

import difflib
import os
import tomllib
import typing
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ekd.errors import ConfigError
from ekd.files import atomic_write


def _without_null(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError(f"{str(path)!r} holds a null character, which no file name has")
    return path


FilePath = Annotated[Path, Field(strict=False), AfterValidator(_without_null)]
"""A path, which TOML can only give as a string."""


Range = Annotated[tuple[float, float], Field(strict=False)]
"""Lower and upper bound, which TOML can only give as a list."""


class Section(BaseModel):
    """A section of the configuration: immutable, and strict about its keys and types.

    Raises:
        ConfigError: an unknown key, a wrong type or an impossible value.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(_explain_all(error, type(self)), code="EKD-CONFIG-004") from None

    # Without this mark pydantic would call __init__ for every nested section as well, and the
    # first bad one would hide the problems of the others.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


Where = dict[str, str | int | float | bool | list[str | int | float | bool]]
"""Values, or lists of them, by keys of configurations."""


class DataConfig(Section):
    """The training set: true energies, no forces needed."""

    path: FilePath = Field(
        description="a file made by 'ekd prepare', or any other format of docs/data.md"
    )
    energy: str | None = Field(
        None,
        description="key of the energy, e.g. 'ccsd(t)_ccpvdz.energy'; None: as the format has it; "
        "a prepared file needs none",
    )
    energy_unit: str | None = Field(
        None,
        description="unit of the energy; None: what the file says, else Hartree in HDF5, eV in "
        "formats of ASE",
    )
    keys: dict[str, str] = Field(
        {},
        description="where HDF5 or .npz has 'positions', 'numbers', 'cell' and 'pbc', if under "
        "unusual names",
    )
    where: Where = Field(
        {},
        description="values, or lists of them, that keys of the configurations must have, e.g. "
        "{config_type = 'liquid'}; others are left out",
    )
    states: Literal["neutral", "all"] | None = Field(
        None,
        description="charged and open-shell configurations among others: 'neutral' leaves them "
        "out, 'all' keeps them; None: they are an error",
    )
    stream: bool | None = Field(
        None,
        description="leave the arrays of a prepared file on disk; None: if they are larger than "
        "1 GiB. Results are the same",
    )
    reference_energies: dict[str, float] | None = Field(
        None,
        description="eV of every element of the data, e.g. {H = -13.6, O = -2041.8}, that is "
        "subtracted from total energies; None: those of isolated atoms in the file, otherwise "
        "fitted",
    )
    validation_fraction: float = Field(0.1, gt=0, lt=1, description="share held out of training")
    split_by: Literal["configuration", "formula"] = Field(
        "configuration", description="'formula' keeps all conformers of a formula on one side"
    )
    split_seed: int = Field(0, ge=0, description="seed of the split")


class LabelledDataConfig(Section):
    """A data set with energies and forces."""

    path: FilePath = Field(description="same formats as the training set")
    energy: str | None = Field(None, description="key of the energy, as in [data]")
    forces: str | None = Field(None, description="key of the forces")
    energy_unit: str | None = Field(None, description="as in [data]; forces are in this unit per Å")
    keys: dict[str, str] = Field({}, description="as in [data]")
    where: Where = Field({}, description="as in [data]")
    states: Literal["neutral", "all"] | None = Field(None, description="as in [data]")


class TestConfig(LabelledDataConfig):
    """A test set: energies and, where there are any, true forces."""

    __test__ = False  # not a test class, whatever its name tells pytest


class HIPNNConfig(Section):
    """HIP-NN with tensor sensitivities (Chigaev et al., J. Chem. Phys. 158, 184108 (2023))."""

    l_max: Literal[0, 1, 2] = Field(2, description="highest tensor order of the messages")
    n_interactions: int = Field(1, ge=1, description="interactions; k of them reach k cutoffs")
    n_atom_layers: int = Field(2, ge=0, description="residual atom layers after each interaction")
    n_features: int = Field(48, ge=1, description="width of the atomic features")
    n_sensitivities: int = Field(8, ge=2, description="radial sensitivity functions")
    cutoff: float = Field(5.5, gt=0, description="cutoff radius (Å)")
    soft_min: float = Field(0.75, gt=0, description="distance of the first sensitivity (Å)")
    soft_max: float = Field(4.5, gt=0, description="distance of the last sensitivity (Å)")
    cusp: float = Field(
        1e-2,
        gt=0,
        description="added under the root of the tensor norms; MD conserves energy better when "
        "they are smooth (hippynn: 1e-6)",
    )
    zbl: bool = Field(
        False, description="add the screened nuclear repulsion of Ziegler, Biersack and Littmark"
    )

    @model_validator(mode="after")
    def _ordered(self) -> HIPNNConfig:
        if not self.soft_min < self.soft_max <= self.cutoff:
            raise ValueError(
                f"soft_min < soft_max <= cutoff is required, found {self.soft_min}, "
                f"{self.soft_max}, {self.cutoff}"
            )
        return self


TBLITE: Final = "tblite.ase:TBLite"
"""The default calculator of pools."""

_OF_TBLITE = {"method": "GFN2-xTB", "verbosity": 0}
"""Its arguments. Its forces depend on what it calculated before, by up to 6e-4 eV/Å
(findings/tblite_history_and_periodicity.sh), so that it is made anew for every geometry."""

LEAST_SQUARES: Final = "levenberg-marquardt"
"""Optimizer of teachers that have few energies: :mod:`ekd.training.levenberg_marquardt`."""

_OF_LEAST_SQUARES = {"epochs": 60, "early_stopping": 8, "dtype": "float64"}
"""Defaults of [teachers.training] that are others for this optimizer."""


class TrainingConfig(Section):
    """How one network is trained: SOAP, loss RMSE + MAE. See docs/training.md."""

    epochs: int = Field(
        100, ge=1, description="passes over the training set; the most, if it stops early"
    )
    batch_size: int = Field(32, ge=1, description="configurations per step")
    batch_atoms: int | None = Field(
        None,
        ge=1,
        description="atoms per step at most, instead of batch_size: steps of one size where "
        "molecules differ in theirs",
    )
    optimizer: Literal["soap", "adam", "levenberg-marquardt"] = Field(
        "soap",
        description="'soap': Adam in the axes of the gradients of each matrix, which takes a few "
        "times fewer epochs; 'adam': as in the papers; 'levenberg-marquardt': least squares of all "
        "energies at once, for up to some thousand energies and no forces: best where energies are "
        "few. An epoch is one step then, of 60 at most; it ends 8 after the one with the lowest "
        "validation error, and works in float64",
    )
    learning_rate: float = Field(5e-3, gt=0, description="peak of the schedule")
    schedule: Literal["one-cycle", "cosine", "plateau", "constant"] = Field(
        "one-cycle",
        description="'one-cycle': up for a fifth of the steps, then down to a thousandth; "
        "'cosine': down to a thousandth; 'plateau': down when the validation loss stops falling",
    )
    plateau_factor: float = Field(0.5, gt=0, lt=1, description="of every reduction of the rate")
    plateau_patience: int = Field(
        10, ge=0, description="epochs without a lower validation loss before a reduction"
    )
    early_stopping: int | None = Field(
        None, ge=1, description="stop after so many epochs without a lower validation loss"
    )
    keep: Literal["last", "best"] = Field(
        "last",
        description="weights that are kept: of the last epoch or of the best validation loss",
    )
    energy_weight: float = Field(1.0, ge=0, description="weight of RMSE + MAE of the energy")
    force_weight: float = Field(
        1.0, ge=0, description="weight of RMSE + MAE of the forces, where there are labels"
    )
    hierarchicality_weight: float = Field(
        0.0, ge=0, description="weight of the hierarchicality of the energy terms"
    )
    l2_weight: float = Field(0.0, ge=0, description="weight of the sum of squares of all matrices")
    ema_decay: float = Field(
        0.99, ge=0, lt=1, description="decay per step of the averaged weights that are kept"
    )
    gradient_clip: float = Field(10.0, gt=0, description="largest norm of a gradient")
    dtype: Literal["float32", "float64"] = Field("float32", description="precision of training")
    device: Literal["cpu", "cuda"] = Field("cpu", description="where the network is trained")
    checkpoint_minutes: float = Field(
        10.0,
        gt=0,
        description="between checkpoints within an epoch; one is written after each",
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_least_squares(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("optimizer") == LEAST_SQUARES:
            return _OF_LEAST_SQUARES | values
        return values

    @model_validator(mode="after")
    def _least_squares_alone(self) -> TrainingConfig:
        if self.optimizer != LEAST_SQUARES:
            return self
        if self.dtype != "float64":
            raise ValueError(
                f"optimizer = '{LEAST_SQUARES}' needs dtype = 'float64', found '{self.dtype}': "
                "its equations are too stiff for single precision"
            )
        for name in ("hierarchicality_weight", "l2_weight"):
            if getattr(self, name):
                raise ValueError(
                    f"{name} = {getattr(self, name)} has no place in the least squares of "
                    f"optimizer = '{LEAST_SQUARES}'; remove it, or take 'soap'"
                )
        return self


class StudentTrainingConfig(TrainingConfig):
    """The same for a student: the forces keep it from overfitting, so that it can train longer."""

    optimizer: Literal["soap", "adam"] = Field(
        "soap",
        description="'soap': Adam in the axes of the gradients of each matrix; 'adam': as in the "
        "papers",
    )
    epochs: int = Field(200, ge=1, description="passes over the training set")
    force_weight: float = Field(
        3.0, ge=0, description="weight of RMSE + MAE of the forces, where there are labels"
    )
    l2_weight: float = Field(1e-5, ge=0, description="weight of the sum of squares of all matrices")


_OF_FINE_TUNING = {
    "teachers": {"epochs": 60, "learning_rate": 1e-3},
    "student": {"epochs": 60, "learning_rate": 2e-3},
}
"""Defaults of [teachers.training] and [student.training] that are others after pretraining."""


_ADD_A_POOL = "add a section [pool], which makes geometries with energies and forces of GFN2-xTB"


class MemberConfig(Section):
    """What one member of an ensemble has of its own."""

    seed: int | None = Field(None, ge=0, description="None: that of the first member, counted on")
    model: dict[str, Any] = Field({}, description="keys of [model] with other values")
    training: dict[str, Any] = Field({}, description="keys of [teachers.training], likewise")

    def apply(
        self, model: HIPNNConfig, training: TrainingConfig
    ) -> tuple[HIPNNConfig, TrainingConfig]:
        """The settings of this member, made of those of all.

        Raises:
            ConfigError: an unknown key, a wrong type or an impossible value.
        """
        return (
            type(model)(**(model.model_dump() | self.model)),
            type(training)(**(training.model_dump() | self.training)),
        )


class TeachersConfig(Section):
    """The ensemble that is trained. Members differ in their seed, and in more if asked to."""

    n_members: int = Field(
        8, ge=0, description="number of teachers to train; 0: those in [labels] are all"
    )
    n_workers: int | None = Field(None, ge=1, description="processes; None: one per core")
    splits: Literal["shared", "k-fold", "bootstrap"] = Field(
        "shared",
        description="'shared': all learn from the training part; 'k-fold': each leaves out a fold "
        "of it, and is validated on that; 'bootstrap': each draws from it with replacement",
    )
    n_folds: int | None = Field(None, ge=2, description="of 'k-fold'; None: one per member")
    training: TrainingConfig = TrainingConfig()
    overrides: list[MemberConfig] = Field(
        [], description="what single members have of their own, in the order of the members"
    )

    @model_validator(mode="after")
    def _consistent(self) -> TeachersConfig:
        if len(self.overrides) > self.n_members:
            raise ValueError(
                f"{len(self.overrides)} sections [[teachers.overrides]] for n_members = "
                f"{self.n_members}; remove some, or train more members"
            )
        if self.n_folds is not None and self.splits != "k-fold":
            raise ValueError(
                f"n_folds = {self.n_folds} belongs to splits = 'k-fold', found '{self.splits}'"
            )
        if self.splits == "k-fold" and (self.n_folds or self.n_members) < 2:
            raise ValueError("splits = 'k-fold' needs at least 2 folds; set n_folds")
        return self


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
        1, ge=1, description="networks; teachers take them in turn, the student the first"
    )
    validation_fraction: float = Field(
        0.05, gt=0, lt=1, description="share of the pool held out of training"
    )
    training: BaseTrainingConfig = BaseTrainingConfig()
    second_step: SecondStepConfig = SecondStepConfig()

    @model_validator(mode="after")
    def _one_checkpoint(self) -> PretrainingConfig:
        if self.checkpoint is not None and self.data is None and self.n_bases > 1:
            raise ValueError(
                f"n_bases = {self.n_bases}: a checkpoint is one base; remove n_bases, or add a "
                "data set, [pretraining.data], that bases learn from it on"
            )
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


class SpreadConfig(Section):
    """What follows from the spread of the teachers' forces."""

    limit: float | None = Field(
        None,
        gt=0,
        description="eV/Å; a configuration is above it if the root mean square spread of its force "
        "components is; None: no limit",
    )
    above_limit: Literal["down-weight", "drop-forces", "drop"] = Field(
        "down-weight",
        description="'down-weight': forces count (limit / spread)^2; 'drop-forces': the true "
        "energy alone is trained on; 'drop': the configuration is left out of training",
    )
    scale: float | None = Field(
        None,
        gt=0,
        description="eV/Å; the force of each atom counts 1 / (1 + (spread / scale)^2); None: one",
    )


class UncertaintyConfig(Section):
    """A second output of the student: the error that is expected of a force."""

    enabled: bool | None = Field(
        None, description="None: if at least two teachers gave labels, so that there is a spread"
    )
    target: Literal["error", "spread"] = Field(
        "error",
        description="what it tells. error: the spread of the teachers, corrected for their number, "
        "and the student's distance from their mean, as independent errors; spread: the spread "
        "alone",
    )
    n_hidden: int = Field(
        32, ge=1, description="width of the two layers between features and uncertainty"
    )
    n_steps: int = Field(2000, ge=1, description="of its training, which takes a second or two")


class OnPolicyConfig(Section):
    """A second training on frames of the student's own dynamics, which the teachers label."""

    n_rounds: int = Field(0, ge=0, description="of dynamics, labels and training; 0: none")
    n_trajectories: int = Field(
        100, ge=1, description="of each round; each starts from a configuration drawn at random"
    )
    n_snapshots: int = Field(10, ge=1, description="of each trajectory")
    interval: float = Field(0.05, gt=0, description="between snapshots (ps)")
    temperature: float = Field(600.0, gt=0, description="K")
    timestep: float = Field(0.5e-3, gt=0, description="ps")
    friction: float = Field(10.0, gt=0, description="of the thermostat (1/ps)")
    max_spread: float = Field(
        1.0,
        gt=0,
        description="eV/Å; a trajectory is cut where the teachers' forces on an atom spread more",
    )
    ratio: float = Field(
        0.2, gt=0, lt=1, description="share of such frames in what a round is trained on, at most"
    )
    epochs: int = Field(20, ge=1, description="of each round, from the weights of the last")
    learning_rate: float = Field(1e-3, gt=0, description="peak of the schedule of each round")


class StudentConfig(Section):
    """The distilled model: true energies, mean forces of the teachers."""

    n_members: int = Field(
        1,
        ge=1,
        description="students; of several, which differ in their seed alone, the exported file "
        "gives the mean, and their spread as an error estimate",
    )
    n_workers: int | None = Field(
        None, ge=1, description="processes for several students; None: one per core"
    )
    model: HIPNNConfig | None = Field(None, description="None: the architecture of the teachers")
    training: StudentTrainingConfig = StudentTrainingConfig()
    spread: SpreadConfig = SpreadConfig()
    uncertainty: UncertaintyConfig = UncertaintyConfig()
    from_base: bool = Field(
        True, description="start from the first base, where there is a section [pretraining]"
    )
    on_policy: OnPolicyConfig = OnPolicyConfig()
    extra_energy_weight: float = Field(
        1.0,
        ge=0,
        description="of the teachers' mean energy of an extra configuration, beside one for a true "
        "energy; 0: forces alone",
    )
    extra_force_weight: float = Field(
        1.0,
        ge=0,
        description="of a force on an atom of an extra configuration, beside one for those of the "
        "data",
    )


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


class Config(Section):
    """The whole pipeline: data, teachers, labels, student, export, MD."""

    output: FilePath = Field(Path("run"), description="folder of everything that is written")
    seed: int = Field(0, ge=0, description="seed of the first teacher; others count on from it")
    tensorboard: bool = Field(
        False, description="write logs for TensorBoard beside every history; needs its package"
    )
    data: DataConfig
    test: TestConfig | None = None
    far: TestConfig | None = Field(
        None, description="a second test set, far from the training set; reported beside the first"
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
                f"labels.wall.strength = {labels.wall.strength}: the wall lifts labels of extra "
                "configurations alone, and there are none; set labels.md.n_trajectories, "
                "labels.perturbed.n_copies or labels.structures, add a section [pool], or set "
                "strength = 0"
            )
        return self

    @model_validator(mode="after")
    def _has_teachers(self) -> Config:
        n_members = self.teachers.n_members
        if n_members < 2 and not self.labels.teachers:
            raise ValueError(
                f"teachers.n_members = {n_members}: at least 2 are needed to have a spread, unless "
                "[[labels.teachers]] names others"
            )
        if n_members == 0 and self.labels.md.n_trajectories > 0:
            raise ValueError(
                "labels.md.n_trajectories: MD runs with teachers that are trained here; set "
                "teachers.n_members, or give snapshots as labels.structures"
            )
        n_counting = n_members + sum(teacher.counts for teacher in self.labels.teachers)
        if self.labels.wall.strength and n_counting < 2:
            raise ValueError(
                f"labels.wall.strength = {self.labels.wall.strength}: the wall rises where the "
                f"energies of teachers disagree, and {n_counting} of them count; train more, or "
                "set use_energies for teachers at the level of theory of the data"
            )
        n_networks = n_members + sum(t.checkpoint is not None for t in self.labels.teachers)
        if self.student.on_policy.n_rounds and n_networks < 2:
            raise ValueError(
                f"student.on_policy.n_rounds = {self.student.on_policy.n_rounds}: the student's "
                "dynamics are cut where teachers disagree that are networks of ekd, and there are "
                f"{n_networks}; train at least 2, or name checkpoints in [[labels.teachers]]"
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
        """Networks that start from a base have its architecture."""
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
    """The keys in which an architecture differs from another, in words; empty: in none."""
    ours, theirs = own.model_dump(), other.model_dump()
    return ", ".join(
        f"{key} = {ours[key]} instead of {theirs[key]}" for key in ours if ours[key] != theirs[key]
    )


def load_config(path: str | os.PathLike[str]) -> Config:
    """Read and validate a TOML file.

    Raises:
        ConfigError: the file is missing, is not TOML, or fails validation. Every problem is
            listed, each with the key, the value found and what was expected.
    """
    return validate_config(read_toml(path), base=Path(path).parent, source=f"'{path}'")


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a TOML file, whatever is in it.

    Raises:
        ConfigError: the file is missing, cannot be read, or is not TOML.
    """
    path = Path(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"configuration file '{path}' not found; check the path", code="EKD-CONFIG-001"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"configuration file '{path}' cannot be read: {error}; check its permissions",
            code="EKD-CONFIG-002",
        ) from None
    except RecursionError:
        raise ConfigError(
            f"'{path}' cannot be read: it is nested more deeply than any configuration; check it",
            code="EKD-CONFIG-003",
        ) from None
    except ValueError as error:  # not TOML, not UTF-8, or a number of thousands of digits
        raise ConfigError(
            f"'{path}' is not valid TOML: {error}; correct it", code="EKD-CONFIG-003"
        ) from None


def located(path: Path, base: str | os.PathLike[str]) -> Path:
    """A path that counts from ``base``, as an absolute one."""
    # Not resolve(): a link that the user wrote stays a link.
    return Path(os.path.abspath(Path(base) / path.expanduser()))  # noqa: PTH100


def validate_config(
    raw: dict[str, Any], base: str | os.PathLike[str], source: str = "configuration"
) -> Config:
    """Validate a nested dictionary; relative paths are taken from ``base``.

    Raises:
        ConfigError: as for :func:`load_config`; the message begins with ``source``.
    """
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(
            f"{source}: {_explain_all(error, Config)}", code="EKD-CONFIG-004"
        ) from None

    def teacher(section: TeacherConfig) -> TeacherConfig:
        checkpoint = section.checkpoint and located(section.checkpoint, base)
        return _located_calculator(section, base).model_copy(update={"checkpoint": checkpoint})

    data = config.data.model_copy(update={"path": located(config.data.path, base)})
    test = config.test and config.test.model_copy(update={"path": located(config.test.path, base)})
    labels = config.labels.model_copy(
        update={
            "teachers": [teacher(section) for section in config.labels.teachers],
            "structures": [located(path, base) for path in config.labels.structures],
        }
    )
    far = config.far and config.far.model_copy(update={"path": located(config.far.path, base)})
    return config.model_copy(
        update={
            "data": data,
            "test": test,
            "far": far,
            "labels": labels,
            "pool": config.pool and _located_pool(config.pool, base),
            "pretraining": config.pretraining and _located_base(config.pretraining, base),
            "output": located(config.output, base),
        }
    )


_Calculator = TypeVar("_Calculator", TeacherConfig, CalculatorConfig)


def _located_calculator(section: _Calculator, base: str | os.PathLike[str]) -> _Calculator:
    files = {key: located(path, base) for key, path in section.files.items()}
    return section.model_copy(update={"folder": located(section.folder, base), "files": files})


def _located_pool(pool: PoolConfig, base: str | os.PathLike[str]) -> PoolConfig:
    calculator = _located_calculator(pool.calculator, base)
    structures = [located(path, base) for path in pool.structures]
    return pool.model_copy(update={"calculator": calculator, "structures": structures})


def _located_base(section: PretrainingConfig, base: str | os.PathLike[str]) -> PretrainingConfig:
    data = section.data and section.data.model_copy(
        update={"path": located(section.data.path, base)}
    )
    checkpoint = section.checkpoint and located(section.checkpoint, base)
    return section.model_copy(update={"data": data, "checkpoint": checkpoint})


def write_config(config: Config, path: str | os.PathLike[str]) -> None:
    """Write every setting, defaults included, as TOML that :func:`load_config` reads back.

    Settings that are None are left out: TOML has no such value, and None is their default.
    """
    settings = config.model_dump(mode="json", exclude_none=True)
    with atomic_write(path) as temporary:
        temporary.write_text(tomli_w.dumps(settings), encoding="utf-8")


RESOLVED = "config.resolved.toml"
"""The settings of a run, defaults included, in its output folder."""


def config_of_run(folder: str | os.PathLike[str]) -> Config | None:
    """The settings that a run has left in its output folder; None if it has left none.

    Raises:
        ConfigError: they cannot be read.
    """
    for name in (RESOLVED, "config.toml"):  # the second by versions before format 2 of checkpoints
        if (Path(folder) / name).exists():
            return load_config(Path(folder) / name)
    return None


def _explain_all(error: ValidationError, root: type[Section]) -> str:
    """One line per problem; a lone problem needs no list."""
    problems = [_explain(problem, _sections(root)) for problem in error.errors()]
    if len(problems) == 1:
        return problems[0]
    return "\n  ".join([f"{len(problems)} problems", *problems])


def _explain(problem: Any, sections: dict[str, type[Section]]) -> str:
    name = ".".join(map(str, problem["loc"]))
    # A table of a list is described where the list is: its place in it is no key.
    section = ".".join(part for part in problem["loc"][:-1] if isinstance(part, str))
    key = str(problem["loc"][-1]) if problem["loc"] else ""
    found, message = problem["input"], problem["msg"]
    if problem["type"] == "extra_forbidden":
        known = list(sections[section].model_fields)
        homes = [home for home, model in sections.items() if key in model.model_fields and home]
        if homes:
            return f"unknown key '{name}': '{key}' belongs in [{'] or ['.join(homes)}]"
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
        hint = f"did you mean '{near[0]}'? " if near else ""
        return f"unknown key '{name}': {hint}known here: {', '.join(known)}"
    if problem["type"] == "missing":
        return f"'{name}' is required; add {f'[{name}]' if name in sections else f'{key} = ...'}"
    if problem["type"] == "value_error":  # raised by a validator here, in its own words
        message = str(problem["ctx"]["error"])
        return f"[{name}]: {message}" if name else message
    if problem["type"] == "list_type" and name in sections:
        return f"'{name}' = {found!r}: expected sections, each written [[{name}]]"
    if name in sections:
        return f"'{name}' = {found!r}: expected a section, written [{name}]"
    if problem["type"] == "path_type":
        message = "expected a path in quotes"
    return f"'{name}' = {found!r}: {message[0].lower()}{message[1:]}"


def _sections(root: type[Section], name: str = "") -> dict[str, type[Section]]:
    """All sections at and below ``root`` by their dotted names; ``root`` itself has none."""
    found = {name: root}
    for key, field in root.model_fields.items():
        for kind in (field.annotation, *typing.get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, Section):
                found |= _sections(kind, f"{name}.{key}".lstrip("."))
    return found
