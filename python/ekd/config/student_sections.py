"""The student: its training, its uncertainty, frames of its own dynamics."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ekd.config.section import Section
from ekd.config.training_sections import HIPNNConfig, TrainingConfig


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
