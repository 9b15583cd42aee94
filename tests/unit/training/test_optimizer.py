"""Adam on one vector against torch's, and the schedule as a pure function."""

from __future__ import annotations

import pytest
import torch

from ekd.training.optimizer import Adam, flatten, one_cycle
from tolerances import tolerance


def test_one_cycle() -> None:
    rates = [one_cycle(step, 101, 2.0) for step in range(101)]
    assert rates[0] == pytest.approx(2 / 25)
    assert rates[20] == max(rates) == pytest.approx(2)
    assert rates[-1] == pytest.approx(2e-3)
    assert rates[:21] == sorted(rates[:21])
    assert rates[20:] == sorted(rates[20:], reverse=True)


@pytest.mark.parametrize("n_steps", [1, 2, 3])
def test_one_cycle_of_few_steps(n_steps: int) -> None:
    assert all(0 < one_cycle(step, n_steps, 1.0) <= 1 for step in range(n_steps))


def test_flatten_shares_memory() -> None:
    layer = torch.nn.Linear(3, 2)
    flat = flatten(layer)
    flat.zero_()
    assert flat.shape == (8,)
    assert layer.weight.abs().sum() == 0
    assert layer.bias.abs().sum() == 0


def test_adam_equals_torch() -> None:
    torch.manual_seed(0)
    start = torch.randn(10, dtype=torch.float64)
    ours = start.clone()
    theirs = torch.nn.Parameter(start.clone())
    optimizer = Adam(ours, start.clone(), decay=0.9, clip=1.0)
    reference = torch.optim.Adam([theirs])
    for step in range(20):
        gradient = torch.randn(10, dtype=torch.float64) * (10 if step % 2 else 0.1)
        theirs.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_([theirs], 1.0)
        reference.param_groups[0]["lr"] = 0.01 * (step + 1)
        reference.step()
        optimizer.step(gradient, 0.01 * (step + 1))
        # torch divides by the norm + 1e-6 when it clips.
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-5, atol=1e-6)


def test_average_starts_as_a_mean_and_then_forgets() -> None:
    weights, average = torch.zeros(1), torch.full((1,), 9.0)
    optimizer = Adam(weights, average, decay=0.75, clip=1.0)
    seen, expected = [], 0.0
    for step in range(8):
        optimizer.step(torch.ones(1), learning_rate=1.0)
        seen.append(weights.item())
        expected = sum(seen) / len(seen) if step < 4 else 0.75 * expected + 0.25 * seen[-1]
        assert average.item() == pytest.approx(expected, rel=tolerance("kernel", "float32").rtol)


def test_state_continues_bitwise() -> None:
    torch.manual_seed(0)
    gradients = torch.randn(6, 4)

    def new() -> Adam:
        return Adam(torch.ones(4), torch.ones(4), decay=0.9, clip=10.0)

    whole, first, second = new(), new(), new()
    for gradient in gradients:
        whole.step(gradient.clone(), 0.1)
    for gradient in gradients[:3]:
        first.step(gradient.clone(), 0.1)
    second.restore(first.state())
    for gradient in gradients[3:]:
        second.step(gradient.clone(), 0.1)
    assert torch.equal(second.weights, whole.weights)
    assert torch.equal(second.average, whole.average)
