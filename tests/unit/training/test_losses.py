"""The terms of the loss, by hand and against hippynn."""

from __future__ import annotations

import pytest
import torch

from ekd.training.losses import hierarchicality, rmse_plus_mae
from hippynn_twin import HEnergy
from tolerances import tolerance


def test_rmse_plus_mae() -> None:
    error = torch.tensor([3.0, -4.0, 0.0, 0.0], dtype=torch.float64)
    assert rmse_plus_mae(error).value.item() == pytest.approx(2.5 + 1.75)


@pytest.mark.parametrize("weighted", [False, True])
def test_slope_equals_autograd(weighted: bool) -> None:
    torch.manual_seed(0)
    error = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(7, 1, dtype=torch.float64) if weighted else torch.ones(7, 1).double()
    share = (weights / (3 * weights.sum())).expand_as(error)
    value = (share * error.square()).sum().sqrt() + (share * error.abs()).sum()
    (slope,) = torch.autograd.grad(value, error)
    found = rmse_plus_mae(error.detach(), weights if weighted else None)
    bounds = tolerance("kernel").bounds
    torch.testing.assert_close(found.value, value.detach(), **bounds)
    torch.testing.assert_close(found.slope, slope, **bounds)


@pytest.mark.parametrize("weighted", [False, True])
def test_parts_make_the_whole(weighted: bool) -> None:
    """Three processes, one without data: same loss and same gradients."""
    torch.manual_seed(0)
    error, weights = torch.randn(7, 3).double(), torch.rand(7, 1).double()
    parts = [slice(0, 5), slice(5, 5), slice(5, 7)]
    sums = [rmse_plus_mae(error[p], weights[p] if weighted else None).sums for p in parts]
    whole = rmse_plus_mae(error, weights if weighted else None)
    bounds = tolerance("kernel").bounds
    slopes = []
    for part in parts:
        given = weights[part] if weighted else None
        found = rmse_plus_mae(error[part], given, reduce=lambda _: torch.stack(sums).sum(0))
        torch.testing.assert_close(found.value, whole.value, **bounds)
        slopes.append(found.slope)
    torch.testing.assert_close(torch.cat(slopes), whole.slope, **bounds)


def test_perfect_prediction_has_a_finite_slope() -> None:
    assert torch.isfinite(rmse_plus_mae(torch.zeros(4)).slope).all()


def test_all_weights_zero() -> None:
    found = rmse_plus_mae(torch.ones(4), torch.zeros(4))
    assert found.value.item() == pytest.approx(0, abs=1e-5)
    assert not found.slope.any()


def test_hierarchicality_equals_hippynn() -> None:
    torch.manual_seed(0)
    widths = (3, 5, 4)
    features = [torch.randn(6, width, dtype=torch.float64) for width in widths]
    config_index = torch.tensor([0, 0, 0, 1, 1, 1])
    layer = HEnergy(widths).double()
    total = layer(features, config_index, 2)[3]
    levels = [linear(z).squeeze(1) for linear, z in zip(layer.layers, features, strict=True)]
    found = hierarchicality(levels, n_configs=2)
    # A small term in the denominator keeps our loss finite if both levels vanish.
    assert found.item() == pytest.approx(total.mean().item(), rel=1e-8)


def test_hierarchicality_of_vanishing_levels_is_finite() -> None:
    levels = [torch.zeros(3, requires_grad=True), torch.zeros(3, requires_grad=True)]
    value = hierarchicality(levels, n_configs=1)
    assert value.item() == 0
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(value, levels))
