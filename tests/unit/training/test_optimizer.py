"""Clipping, averaging and resuming on one vector, with both optimizers."""

from __future__ import annotations

import pytest
import torch

from ekd.training.optimizer import Optimizer, flatten
from ekd.training.soap import Soap
from tolerances import tolerance


def test_flatten_shares_memory() -> None:
    layer = torch.nn.Linear(3, 2)
    flat = flatten(layer)
    flat.zero_()
    assert flat.shape == (8,)
    assert layer.weight.abs().sum() == 0
    assert layer.bias.abs().sum() == 0


def test_gradients_are_clipped() -> None:
    """Adam divides by the gradient magnitude, so clipping changes the ratio of steps."""
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


SHAPES = [torch.Size([3, 4]), torch.Size([5]), torch.Size([3, 4]), torch.Size([1, 4])]
SIZE = sum(shape.numel() for shape in SHAPES)


@pytest.mark.parametrize("rule", ["adam", "soap"])
def test_state_continues_bitwise(rule: str) -> None:
    """This includes a step that updates the eigenbasis."""
    torch.manual_seed(0)
    gradients = torch.randn(26, SIZE)

    def new() -> Optimizer:
        return Optimizer(
            torch.ones(SIZE), torch.ones(SIZE), decay=0.9, clip=10.0, rule=rule, shapes=SHAPES
        )

    whole, first, second = new(), new(), new()
    for gradient in gradients:
        whole.step(gradient.clone(), 0.1)
    for gradient in gradients[:13]:
        first.step(gradient.clone(), 0.1)
    second.restore(first.state())
    for gradient in gradients[13:]:
        second.step(gradient.clone(), 0.1)
    assert torch.equal(second.weights, whole.weights)
    assert torch.equal(second.average, whole.average)
    for ours, theirs in zip(second.tensors, whole.tensors, strict=True):
        assert torch.equal(ours, theirs)


def test_soap_treats_vectors_as_adam_does() -> None:
    """The only difference is the decay of second moments, 0.95."""
    torch.manual_seed(1)
    gradients = torch.randn(12, 4, dtype=torch.float64)
    ours = torch.zeros(4, dtype=torch.float64)
    theirs = torch.nn.Parameter(torch.zeros(4, dtype=torch.float64))
    rule = Soap(ours, [torch.Size([4])])
    reference = torch.optim.Adam([theirs], lr=0.1, betas=(0.9, 0.95), eps=1e-8)
    for gradient in gradients:
        rule.step(gradient, 0.1)
        theirs.grad = gradient.clone()
        reference.step()
    torch.testing.assert_close(ours, theirs.detach(), **tolerance("kernel").bounds)


def test_soap_finds_the_axes_of_a_matrix() -> None:
    """Adam is much slower in a valley that is not aligned with the weights."""
    torch.manual_seed(2)
    rotation = torch.linalg.qr(torch.randn(12, 12, dtype=torch.float64))[0]
    valley = rotation * torch.logspace(0, -2, 12, dtype=torch.float64)
    target = torch.randn(8, 12, dtype=torch.float64)

    def end(rule: str) -> float:
        weights = torch.zeros(8 * 12, dtype=torch.float64)
        optimizer = Optimizer(
            weights, weights.clone(), decay=0.0, clip=1e9, rule=rule, shapes=[torch.Size([8, 12])]
        )
        for step in range(400):
            difference = (weights.view(8, 12) - target) @ valley
            optimizer.step((difference @ valley.T).flatten(), 0.05 * (1 - step / 400))
        return float(((weights.view(8, 12) - target) @ valley).square().mean())

    assert end("soap") < 0.1 * end("adam")


def test_long_edges_keep_their_own_axes() -> None:
    """The second moments of 4000 columns would take more than the training itself."""
    torch.manual_seed(3)
    weights = torch.zeros(2 * 4000)
    rule = Soap(weights, [torch.Size([2, 4000])])
    for _ in range(3):
        rule.step(torch.randn(2 * 4000), 0.1)
    assert max(tensor.numel() for tensor in rule.tensors) == 2 * 4000
    assert weights.abs().max() > 0
