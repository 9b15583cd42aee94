"""The terms of the loss, by hand and against hippynn."""

from __future__ import annotations

import pytest
import torch

from ekd.training.losses import hierarchicality, rmse_plus_mae
from hippynn_twin import HEnergy
from tolerances import tolerance


def test_rmse_plus_mae() -> None:
    error = torch.tensor([3.0, -4.0, 0.0, 0.0], dtype=torch.float64)
    assert rmse_plus_mae(error)[0].item() == pytest.approx(2.5 + 1.75)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(1,), (7, 3)])
def test_slope_of_rmse_plus_mae(shape: tuple[int, ...], weighted: bool) -> None:
    torch.manual_seed(0)
    error = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(shape[:1] + (1,) * (len(shape) - 1)).double() if weighted else None
    value, slope = rmse_plus_mae(error, weights)
    (expected,) = torch.autograd.grad(value, error)
    torch.testing.assert_close(slope, expected, **tolerance("kernel").bounds)


def test_perfect_prediction_has_a_finite_gradient() -> None:
    assert torch.equal(rmse_plus_mae(torch.zeros(4))[1], torch.zeros(4))


def test_hierarchicality_equals_hippynn() -> None:
    torch.manual_seed(0)
    widths = (3, 5, 4)
    features = [torch.randn(6, width, dtype=torch.float64) for width in widths]
    config_index = torch.tensor([0, 0, 0, 1, 1, 1])
    layer = HEnergy(widths).double()
    total = layer(features, config_index, 2)[3]
    levels = [linear(z).squeeze(1) for linear, z in zip(layer.layers, features, strict=True)]
    found = hierarchicality(levels, n_configs=2)
    # Our tiny term under the fraction keeps it finite where both levels vanish.
    assert found.item() == pytest.approx(total.mean().item(), rel=1e-8)


def test_hierarchicality_of_vanishing_levels_is_finite() -> None:
    levels = [torch.zeros(3, requires_grad=True), torch.zeros(3, requires_grad=True)]
    value = hierarchicality(levels, n_configs=1)
    assert value.item() == 0
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(value, levels))
