"""The reference message operations: derivatives of all orders, and equality with the kernels."""

from __future__ import annotations

import pytest
import torch

import ekd.models  # noqa: F401  (registers torch.ops.ekd)
from ekd.models import reference_ops
from tolerances import tolerance

N_CENTERS, N_NEIGHBORS, N_PAIRS, K, F = 3, 4, 7, 5, 2
NAMES = ("message", "message_weight", "message_feature")


def arguments(name: str, dtype: torch.dtype) -> tuple[torch.Tensor | int, ...]:
    """Random arguments; center 1 has no pairs, and one pair occurs twice."""
    generator = torch.Generator().manual_seed(1)

    def random(*shape: int) -> torch.Tensor:
        values = torch.randn(shape, generator=generator, dtype=dtype)
        return values.requires_grad_()

    pairs = torch.tensor([[0, 0, 0, 2, 2, 2, 2], [1, 3, 3, 0, 1, 2, 3]])
    g, w, z = random(N_CENTERS, K, F), random(N_PAIRS, K), random(N_NEIGHBORS, F)
    return {
        "message": (w, z, pairs, N_CENTERS),
        "message_weight": (g, z, pairs),
        "message_feature": (g, w, pairs, N_NEIGHBORS),
    }[name]


@pytest.mark.parametrize("name", NAMES)
def test_first_and_second_derivatives(name: str) -> None:
    operation, args = getattr(reference_ops, name), arguments(name, torch.float64)
    assert torch.autograd.gradcheck(operation, args)
    assert torch.autograd.gradgradcheck(operation, args)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NAMES)
def test_equals_kernel(name: str, dtype: torch.dtype) -> None:
    args = arguments(name, dtype)
    expected = getattr(reference_ops, name)(*args)
    found = getattr(torch.ops.ekd, name)(*args)
    torch.testing.assert_close(found, expected, **tolerance("kernel", dtype).bounds)


def test_members_of_one_form() -> None:
    """Check the identity L = sum G m = sum w dL/dw = sum z dL/dz."""
    w, z, pairs, n_centers = arguments("message", torch.float64)
    g = arguments("message_weight", torch.float64)[0]
    form = (g * reference_ops.message(w, z, pairs, n_centers)).sum()
    bounds = tolerance("kernel", torch.float64).bounds
    by_weight = (w * reference_ops.message_weight(g, z, pairs)).sum()
    torch.testing.assert_close(by_weight, form, **bounds)
    by_feature = (z * reference_ops.message_feature(g, w, pairs, N_NEIGHBORS)).sum()
    torch.testing.assert_close(by_feature, form, **bounds)


@pytest.mark.parametrize("name", NAMES)
def test_no_pairs(name: str) -> None:
    args = [
        a[:, :0] if torch.is_tensor(a) and a.dtype == torch.int64 else a
        for a in arguments(name, torch.float64)
    ]
    if name != "message_weight":
        index = 0 if name == "message" else 1
        args[index] = args[index][:0]
    result = getattr(reference_ops, name)(*args)
    assert result.abs().sum() == 0


def test_padded_form() -> None:
    args = arguments("message", torch.float64)
    expected = reference_ops.message(*args)
    found = reference_ops.padded_message(*args)
    torch.testing.assert_close(found, expected, **tolerance("kernel", torch.float64).bounds)
    assert torch.autograd.gradcheck(reference_ops.padded_message, args)


@pytest.mark.parametrize("n_centers", [0, 2])
def test_padded_form_without_pairs(n_centers: int) -> None:
    w, z, pairs, _ = arguments("message", torch.float64)
    found = reference_ops.padded_message(w[:0], z, pairs[:, :0], n_centers)
    assert found.shape == (n_centers, K, F)
    assert not found.any()
