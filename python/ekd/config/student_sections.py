"""The student: its training, its uncertainty, and on-policy rounds."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ekd.config.section import Section
from ekd.config.training_sections import HIPNNConfig, TrainingConfig


class StudentTrainingConfig(TrainingConfig):
    """Training of a student; the forces prevent overfitting, so it can train longer."""

    optimizer: Literal["soap", "adam"] = Field(
        "soap",
        description="'soap': Adam in the eigenbasis of the gradient covariance of each weight "
        "matrix; 'adam': as in the papers",
    )
    epochs: int = Field(200, ge=1, description="passes over the training set")
    force_weight: float = Field(
        3.0, ge=0, description="weight of RMSE + MAE of the forces, if there are labels"
    )
    l2_weight: float = Field(
        1e-5, ge=0, description="weight of the sum of squares of all weight matrices"
    )


class SpreadConfig(Section):
    """Loss weights that depend on the spread of the teachers' forces."""

    limit: float | None = Field(
        None,
        gt=0,
        description="limit of the root mean square spread of the force components of a "
        "configuration (eV/Å); default: no limit",
    )
    above_limit: Literal["down-weight", "drop-forces", "drop"] = Field(
        "down-weight",
        description="treatment of configurations above the limit. 'down-weight': multiply the "
        "weight of forces by (limit / spread)^2; 'drop-forces': train only on the true energy; "
        "'drop': omit the configuration from training",
    )
    scale: float | None = Field(
        None,
        gt=0,
        description="multiply the weight of the force on each atom by 1 / (1 + (spread / "
        "scale)^2) (eV/Å); default: off",
    )


class UncertaintyConfig(Section):
    """A second output of the student: the expected error of the forces."""

    enabled: bool | None = Field(
        None,
        description="whether the student has this output; default: if there are labels of at least "
        "two teachers",
    )
    target: Literal["error", "spread"] = Field(
        "error",
        description="quantity to predict. 'error': spread of the teachers, corrected for their "
        "number, combined with the distance of the student from their mean as independent errors; "
        "'spread': the spread alone",
    )
    n_hidden: int = Field(
        32, ge=1, description="width of the two layers between features and uncertainty"
    )
    n_steps: int = Field(
        2000, ge=1, description="number of training steps, which take a second or two in total"
    )


class OnPolicyConfig(Section):
    """Further training on frames of the student's own dynamics, labeled by the teachers."""

    n_rounds: int = Field(
        0, ge=0, description="number of rounds of dynamics, labeling and training; 0: none"
    )
    n_trajectories: int = Field(
        100,
        ge=1,
        description="number of trajectories per round; each starts from a random configuration",
    )
    n_snapshots: int = Field(10, ge=1, description="number of snapshots per trajectory")
    interval: float = Field(0.05, gt=0, description="time between snapshots (ps)")
    temperature: float = Field(600.0, gt=0, description="temperature (K)")
    timestep: float = Field(0.5e-3, gt=0, description="time step (ps)")
    friction: float = Field(10.0, gt=0, description="friction of the thermostat (1/ps)")
    max_spread: float = Field(
        1.0,
        gt=0,
        description="a trajectory is cut where the spread of the teachers' forces on an atom "
        "exceeds this (eV/Å)",
    )
    ratio: float = Field(
        0.2, gt=0, lt=1, description="maximum fraction of such frames in the training set"
    )
    epochs: int = Field(
        20, ge=1, description="epochs per round, starting from the weights of the previous round"
    )
    learning_rate: float = Field(1e-3, gt=0, description="peak learning rate of each round")


class StudentConfig(Section):
    """The distilled model, trained on true energies and mean forces of the teachers."""

    n_members: int = Field(
        1,
        ge=1,
        description="number of students, which differ only in their seeds; the exported file "
        "predicts their mean, and their spread as an error estimate",
    )
    n_workers: int | None = Field(
        None,
        ge=1,
        description="worker processes for several students; default: environment variable "
        "EKD_WORKERS, else one per core",
    )
    model: HIPNNConfig | None = Field(
        None, description="architecture; default: that of the teachers"
    )
    training: StudentTrainingConfig = StudentTrainingConfig()
    spread: SpreadConfig = SpreadConfig()
    uncertainty: UncertaintyConfig = UncertaintyConfig()
    from_base: bool = Field(
        True, description="start from the first base, if there is a section [pretraining]"
    )
    on_policy: OnPolicyConfig = OnPolicyConfig()
    extra_energy_weight: float = Field(
        1.0,
        ge=0,
        description="loss weight of the teachers' mean energies of extra configurations (true "
        "energies: 1); 0: only forces",
    )
    extra_force_weight: float = Field(
        1.0,
        ge=0,
        description="loss weight of forces on atoms of extra configurations (data: 1)",
    )
