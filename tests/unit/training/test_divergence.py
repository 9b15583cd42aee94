"""Criteria of a diverged training, at the end and during the training."""

from __future__ import annotations

import math

import pytest

from ekd.config import TrainingConfig
from ekd.errors import TrainingError
from ekd.training.divergence import HOPELESS, USELESS, check_epoch, check_result

UNTRAINED = 2.5
TRAINING = TrainingConfig()


def record(ratio: float, epoch: int = 2, loss: float = 1.0) -> dict[str, float]:
    """An epoch whose validation loss is ``ratio`` times that of the untrained network."""
    return {"epoch": epoch, "loss": loss, "validation_loss": ratio * UNTRAINED}


def test_a_training_may_recover() -> None:
    """Validation losses that would be refused at the end are not refused on the way."""
    history = [record(0.99 * HOPELESS, 1), record(2 * USELESS, 2), record(0.99 * USELESS, 3)]
    for epoch in history:
        check_epoch(epoch, UNTRAINED, TRAINING)
    check_result(history[-1], UNTRAINED, TRAINING)
    for epoch in history[:-1]:
        with pytest.raises(TrainingError, match=r"at the end, and 2\.5 before the first step"):
            check_result(epoch, UNTRAINED, TRAINING)


def test_no_training_recovers_from_this() -> None:
    with pytest.raises(TrainingError, match=r"the training diverged: .* in epoch 2"):
        check_epoch(record(1.01 * HOPELESS), UNTRAINED, TRAINING)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_losses_that_are_not_finite(value: float) -> None:
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) in epoch 2"):
        check_epoch(record(1.0, loss=value), UNTRAINED, TRAINING)
    with pytest.raises(TrainingError, match=r"the validation loss is (nan|inf) in epoch 2"):
        check_epoch(record(value), UNTRAINED, TRAINING)
