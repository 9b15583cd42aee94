"""Learning rate schedules and early stopping, as functions of the step and the history.

They have no state, so that a resumed training continues exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ekd.config import TrainingConfig

_WARM_UP = 0.2
_FIRST, _LAST = 1 / 25, 1e-3
_THRESHOLD = 1e-4  # relative; smaller gains count as a plateau

History = Sequence[Mapping[str, Any]]


def learning_rates(
    training: TrainingConfig, n_steps: int, history: History
) -> Callable[[int], float]:
    """Return the learning rate as a function of the step, 0 to ``n_steps - 1``, for one epoch.

    Args:
        training: schedule and peak learning rate.
        n_steps: number of steps of the whole training.
        history: history of the previous epochs.
    """
    peak = training.learning_rate
    if training.schedule == "one-cycle":
        return lambda step: one_cycle(step, n_steps, peak)
    if training.schedule == "cosine":
        return lambda step: cosine(step, n_steps, peak)
    if training.schedule == "plateau":
        peak = plateau(history, peak, training.plateau_factor, training.plateau_patience)
    return lambda _: peak


def one_cycle(step: int, n_steps: int, peak: float) -> float:
    """Cosine from peak/25 to the peak, then cosine to peak/1000.

    Smith and Topin, arXiv:1708.07120. The increase takes the first fifth of the steps.

    Args:
        step: number of the step, 0 to n_steps - 1.
        n_steps: number of steps of the whole training.
        peak: peak learning rate.
    """
    top = _WARM_UP * (n_steps - 1)
    if step < top:
        start, end, position = _FIRST, 1.0, step / top
    else:
        start, end, position = 1.0, _LAST, (step - top) / max(n_steps - 1 - top, 1.0)
    return peak * _between(start, end, position)


def cosine(step: int, n_steps: int, peak: float) -> float:
    """Cosine from the peak to peak/1000; arguments as for :func:`one_cycle`."""
    return peak * _between(1.0, _LAST, step / max(n_steps - 1, 1))


def plateau(history: History, peak: float, factor: float, patience: int) -> float:
    """Multiply the rate by ``factor`` whenever the validation loss has stopped decreasing.

    Args:
        history: history of the finished epochs, with ``validation_loss``.
        peak: initial learning rate.
        factor: factor of each reduction.
        patience: number of epochs without improvement to wait; the next one reduces the rate.
    """
    rate, best, waited = peak, math.inf, 0
    for record in history:
        loss = record["validation_loss"]
        if loss < best * (1 - _THRESHOLD):
            best, waited = loss, 0
        else:
            waited += 1
        if waited > patience:
            rate, waited = rate * factor, 0
    return rate


def best_epoch(history: History) -> int:
    """Return the first epoch with the lowest validation loss, counted from one."""
    losses = [record["validation_loss"] for record in history]
    return losses.index(min(losses)) + 1


def is_over(training: TrainingConfig, history: History) -> bool:
    """Whether all epochs are finished, or too many have passed since the best one."""
    if len(history) >= training.epochs:
        return True
    patience = training.early_stopping
    if patience is None or not history:
        return False
    return len(history) - best_epoch(history) >= patience


def _between(start: float, end: float, position: float) -> float:
    return end + 0.5 * (start - end) * (1 + math.cos(math.pi * position))
