"""When a training counts as diverged: its result is no better than weights that nobody trained."""

from __future__ import annotations

import math

from ekd.config import LEAST_SQUARES, TrainingConfig
from ekd.errors import TrainingError
from ekd.training.steps import Record

HOPELESS = 1e6
"""Validation loss over that of the untrained network, from which no training recovers."""

USELESS = 100.0
"""The same at the end. The first steps of a training may go further than that, and come back."""


def check_epoch(record: Record, untrained: float, training: TrainingConfig) -> None:
    """Stop a training that cannot recover.

    Args:
        record: of an epoch that is finished.
        untrained: validation loss of the network with its initial weights.
        training: the settings that the message names.

    Raises:
        TrainingError: a loss is not finite, or the validation loss is beyond :data:`HOPELESS`.
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
        record: of the epoch whose weights are kept; other arguments as for :func:`check_epoch`.
        untrained: likewise.
        training: likewise.

    Raises:
        TrainingError: the validation loss is beyond :data:`USELESS`.
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
            "take optimizer = 'soap'"
        )
    return (
        f"lower learning_rate ({training.learning_rate}) or gradient_clip "
        f"({training.gradient_clip})"
    )
