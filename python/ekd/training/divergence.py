"""Detect diverged trainings, whose result is much worse than an untrained network."""

from __future__ import annotations

import math

from ekd.config import LEAST_SQUARES, TrainingConfig
from ekd.errors import TrainingError
from ekd.training.steps import Record

HOPELESS = 1e6
"""Validation loss relative to the untrained network from which no training recovers."""

USELESS = 100.0
"""The same limit at the end of a training; it can be exceeded temporarily in the first steps."""


def check_epoch(record: Record, untrained: float, training: TrainingConfig) -> None:
    """Stop a training that cannot recover.

    Args:
        record: record of a finished epoch.
        untrained: validation loss of the network with its initial weights.
        training: settings, for the message.

    Raises:
        TrainingError: a loss is not finite, or the validation loss exceeds :data:`HOPELESS`.
    """
    epoch = record["epoch"]
    for name, words in (("loss", "the loss"), ("validation_loss", "the validation loss")):
        if not math.isfinite(record[name]):
            raise TrainingError(
                f"{words} is {record[name]} in epoch {epoch}; {_advice(training)}",
                code="EKD-TRAINING-001",
            )
    if record["validation_loss"] > HOPELESS * untrained:
        raise TrainingError(
            _comparison(record, untrained, f"in epoch {epoch}", training), code="EKD-TRAINING-002"
        )


def check_result(record: Record, untrained: float, training: TrainingConfig) -> None:
    """Refuse weights that are far worse than untrained ones.

    Args:
        record: record of the epoch whose weights are kept.
        untrained: as for :func:`check_epoch`.
        training: as for :func:`check_epoch`.

    Raises:
        TrainingError: the validation loss exceeds :data:`USELESS`.
    """
    if record["validation_loss"] > USELESS * untrained:
        raise TrainingError(
            _comparison(record, untrained, "at the end", training), code="EKD-TRAINING-002"
        )


def _comparison(record: Record, untrained: float, when: str, training: TrainingConfig) -> str:
    return (
        f"the training diverged: its validation loss is {record['validation_loss']:.3g} {when}, "
        f"and {untrained:.3g} before the first step; {_advice(training)}"
    )


def _advice(training: TrainingConfig) -> str:
    if training.optimizer == LEAST_SQUARES:
        return (
            "check the energies of the data with 'ekd prepare', train on more configurations, or "
            "use optimizer = 'soap'"
        )
    return (
        f"lower learning_rate ({training.learning_rate}) or gradient_clip "
        f"({training.gradient_clip})"
    )
