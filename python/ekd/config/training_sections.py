"""Networks, their training, and the ensemble of teachers."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field, model_validator

from ekd.config.section import Section


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
