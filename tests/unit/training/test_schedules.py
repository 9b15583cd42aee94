"""Learning rates and early stopping as functions of step and history, against torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ekd.config import TrainingConfig
from ekd.training.schedules import best_epoch, cosine, is_over, learning_rates, one_cycle, plateau


def history(losses: list[float]) -> list[dict[str, float]]:
    return [{"validation_loss": loss} for loss in losses]


def test_one_cycle() -> None:
    rates = [one_cycle(step, 101, 2.0) for step in range(101)]
    assert rates[0] == pytest.approx(2 / 25)
    assert rates[20] == max(rates) == pytest.approx(2)
    assert rates[-1] == pytest.approx(2e-3)
    assert rates[:21] == sorted(rates[:21])
    assert rates[20:] == sorted(rates[20:], reverse=True)


@pytest.mark.parametrize("n_steps", [1, 2, 3])
@pytest.mark.parametrize("schedule", [one_cycle, cosine])
def test_few_steps(schedule: object, n_steps: int) -> None:
    assert all(0 < schedule(step, n_steps, 1.0) <= 1 for step in range(n_steps))  # type: ignore


def test_cosine_equals_torch() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20, eta_min=2e-3)
    for step in range(21):
        assert cosine(step, 21, 2.0) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()


def test_plateau_equals_torch() -> None:
    generator = np.random.default_rng(0)
    losses = (np.exp(-np.arange(60) / 8) + 0.05 * generator.random(60)).tolist()
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=3)
    rates = []
    for epoch in range(len(losses)):
        rates.append(plateau(history(losses[:epoch]), 1.0, factor=0.5, patience=3))
        assert rates[-1] == optimizer.param_groups[0]["lr"]
        theirs.step(losses[epoch])
    assert rates[-1] < 0.1


def test_schedule_is_chosen() -> None:
    flat = history([1.0] * 5)
    expected = {"one-cycle": 2 / 25, "cosine": 2.0, "plateau": 0.5, "constant": 2.0}
    for name, rate in expected.items():
        training = TrainingConfig(learning_rate=2.0, schedule=name, plateau_patience=1)
        assert learning_rates(training, 100, flat)(0) == pytest.approx(rate)


def test_end() -> None:
    training = TrainingConfig(epochs=6, early_stopping=2)
    assert best_epoch(history([3.0, 1.0, 1.0, 2.0])) == 2
    assert not is_over(training, [])
    assert not is_over(training, history([3.0, 1.0, 1.5]))
    assert is_over(training, history([3.0, 1.0, 1.5, 2.0]))
    assert is_over(training, history([6.0, 5.0, 4.0, 3.0, 2.0, 1.0]))
    assert not is_over(TrainingConfig(epochs=6), history([1.0, 2.0, 3.0, 4.0]))
