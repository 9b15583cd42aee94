"""Networks, their training, and the ensemble of teachers."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field, model_validator

from ekd.config.section import Section, Workers


class HIPNNConfig(Section):
    """HIP-NN with tensor sensitivities (Chigaev et al., J. Chem. Phys. 158, 184108 (2023))."""

    l_max: int = Field(2, ge=0, le=2, description="highest tensor order of the messages")
    n_interactions: int = Field(
        1, ge=1, description="number of interaction blocks; k blocks have a range of k cutoffs"
    )
    n_atom_layers: int = Field(2, ge=0, description="residual atom layers after each interaction")
    n_features: int = Field(48, ge=1, description="number of features per atom")
    n_sensitivities: int = Field(8, ge=2, description="number of radial sensitivity functions")
    cutoff: float = Field(5.5, gt=0, description="cutoff radius (Å)")
    soft_min: float = Field(0.75, gt=0, description="distance of the first sensitivity (Å)")
    soft_max: float = Field(4.5, gt=0, description="distance of the last sensitivity (Å)")
    cusp: float = Field(
        1e-2,
        gt=0,
        description="constant added under the root of the tensor norms; smoother norms improve "
        "energy conservation in MD (hippynn: 1e-6)",
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
"""Optimizer for teachers with few energies: :mod:`ekd.training.levenberg_marquardt`."""


_OF_LEAST_SQUARES = {"epochs": 60, "early_stopping": 8, "dtype": "float64"}
"""Defaults of [teachers.training] that differ for this optimizer."""


class TrainingConfig(Section):
    """Training of one network with the loss RMSE + MAE. See docs/training.md."""

    epochs: int = Field(
        100, ge=1, description="passes over the training set; maximum if it stops early"
    )
    batch_size: int = Field(32, ge=1, description="configurations per mini-batch")
    batch_atoms: int | None = Field(
        None,
        ge=1,
        description="maximum number of atoms per mini-batch, used instead of batch_size if "
        "molecules differ in size",
    )
    optimizer: Literal["soap", "adam", "levenberg-marquardt"] = Field(
        "soap",
        description="'soap': Adam in the eigenbasis of the gradient covariance of each weight "
        "matrix, which needs several times fewer epochs; 'adam': as in the papers; "
        "'levenberg-marquardt': nonlinear least squares on all energies at once, best for up to a "
        "few thousand energies without forces. Each epoch is then one step, and the defaults are "
        "epochs = 60, early_stopping = 8 and dtype = 'float64'",
    )
    learning_rate: float = Field(5e-3, gt=0, description="peak learning rate")
    schedule: Literal["one-cycle", "cosine", "plateau", "constant"] = Field(
        "one-cycle",
        description="learning rate schedule. 'one-cycle': increase for a fifth of the steps, then "
        "decrease to a thousandth of the peak; 'cosine': decrease to a thousandth; 'plateau': "
        "decrease when the validation loss stops improving",
    )
    plateau_factor: float = Field(
        0.5, gt=0, lt=1, description="factor of each reduction of the learning rate ('plateau')"
    )
    plateau_patience: int = Field(
        10, ge=0, description="epochs without a lower validation loss before a reduction"
    )
    early_stopping: int | None = Field(
        None, ge=1, description="stop after this many epochs without a lower validation loss"
    )
    keep: Literal["last", "best"] = Field(
        "last", description="keep the weights of the last epoch, or of the best validation loss"
    )
    energy_weight: float = Field(1.0, ge=0, description="weight of RMSE + MAE of the energy")
    force_weight: float = Field(
        1.0, ge=0, description="weight of RMSE + MAE of the forces, if there are labels"
    )
    hierarchicality_weight: float = Field(
        0.0, ge=0, description="weight of the hierarchicality of the energy terms"
    )
    l2_weight: float = Field(
        0.0, ge=0, description="weight of the sum of squares of all weight matrices"
    )
    ema_decay: float = Field(
        0.99,
        ge=0,
        lt=1,
        description="decay per step of the moving average of the weights, which is the result",
    )
    gradient_clip: float = Field(10.0, gt=0, description="maximum norm of the gradient")
    dtype: Literal["float32", "float64"] = Field("float32", description="precision of training")
    device: Literal["cpu", "cuda"] = Field("cpu", description="device for training")
    checkpoint_minutes: float = Field(
        10.0,
        gt=0,
        description="time between checkpoints within an epoch (minutes); one is also written "
        "after each epoch",
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
                    f"{name} = {getattr(self, name)} is not supported by optimizer = "
                    f"'{LEAST_SQUARES}'; remove it, or use 'soap'"
                )
        return self


class MemberConfig(Section):
    """Settings that override the common ones for one member of an ensemble."""

    seed: int | None = Field(
        None, ge=0, description="seed; default: seed of the first member + index"
    )
    model: dict[str, Any] = Field({}, description="keys of [model] to override")
    training: dict[str, Any] = Field({}, description="keys of [teachers.training] to override")

    def apply(
        self, model: HIPNNConfig, training: TrainingConfig
    ) -> tuple[HIPNNConfig, TrainingConfig]:
        """Return the settings of this member: the common ones with its overrides.

        Raises:
            ConfigError: an unknown key, a wrong type or an impossible value.
        """
        return (
            type(model)(**(model.model_dump() | self.model)),
            type(training)(**(training.model_dump() | self.training)),
        )


class TeachersConfig(Section):
    """The ensemble of teachers. Members differ in their seeds, and optionally in other settings."""

    n_members: int = Field(
        8, ge=0, description="number of teachers to train; 0: use only those listed in [labels]"
    )
    n_workers: Workers = None
    splits: Literal["shared", "k-fold", "bootstrap"] = Field(
        "shared",
        description="'shared': all members train on the whole training part; 'k-fold': each holds "
        "out one fold of it for validation; 'bootstrap': each draws from it with replacement",
    )
    n_folds: int | None = Field(
        None, ge=2, description="number of folds for 'k-fold'; default: one per member"
    )
    training: TrainingConfig = TrainingConfig()
    overrides: list[MemberConfig] = Field(
        [], description="settings of individual members, in the order of the members"
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
