"""Clipping, averaging and resuming on one vector."""

from __future__ import annotations

import pytest
import torch

from ekd.training.optimizer import Optimizer, flatten
from tolerances import tolerance


def test_flatten_shares_memory() -> None:
    layer = torch.nn.Linear(3, 2)
    flat = flatten(layer)
    flat.zero_()
    assert flat.shape == (8,)
    assert layer.weight.abs().sum() == 0
    assert layer.bias.abs().sum() == 0


def test_gradients_are_clipped() -> None:
    """Adam divides by the size of the gradient: what clipping changes is how steps compare."""
    gradients = [torch.tensor([3.0, 4.0]), torch.tensor([0.3, 0.4])]

    def end(scale: float, clip: float) -> torch.Tensor:
        optimizer = Optimizer(torch.zeros(2), torch.zeros(2), decay=0.9, clip=clip)
        optimizer.step(scale * gradients[0], 0.1)
        optimizer.step(gradients[1], 0.1)
        return optimizer.weights

    bounds = tolerance("kernel", "float32").bounds
    torch.testing.assert_close(end(1.0, clip=1.0), end(0.2, clip=100.0), **bounds)
    assert not torch.allclose(end(1.0, clip=1.0), end(1.0, clip=100.0), **bounds)


def test_average_starts_as_a_mean_and_then_forgets() -> None:
    weights, average = torch.zeros(1), torch.full((1,), 9.0)
    optimizer = Optimizer(weights, average, decay=0.75, clip=1.0)
    seen, expected = [], 0.0
    for step in range(8):
        optimizer.step(torch.ones(1), learning_rate=1.0)
        seen.append(weights.item())
        expected = sum(seen) / len(seen) if step < 4 else 0.75 * expected + 0.25 * seen[-1]
        assert average.item() == pytest.approx(expected, rel=tolerance("kernel", "float32").rtol)


def test_state_continues_bitwise() -> None:
    torch.manual_seed(0)
    gradients = torch.randn(6, 4)

    def new() -> Optimizer:
        return Optimizer(torch.ones(4), torch.ones(4), decay=0.9, clip=10.0)

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
