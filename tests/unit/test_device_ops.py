"""The training operations with device kernels, emulated on the host, against the CPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

import ekd.models  # noqa: F401  (registers torch.ops.ekd)
from tolerances import tolerance

N_ATOMS, N_PAIRS, CUTOFF = 23, 300, 4.0


@pytest.fixture
def emulated() -> Iterator[None]:
    """Make operations on the CPU use the device kernels."""
    torch.ops.ekd.emulate_devices(True)
    yield
    torch.ops.ekd.emulate_devices(False)


def graph(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs, sorted by center, and their vectors; some are beyond the cutoff."""
    generator = torch.Generator().manual_seed(1)
    centers = torch.randint(0, N_ATOMS - 1, (N_PAIRS,), generator=generator).sort()[0]
    neighbors = torch.randint(1, N_ATOMS, (N_PAIRS,), generator=generator)
    vectors = torch.randn(N_PAIRS, 3, generator=generator, dtype=dtype)
    lengths = torch.linspace(0.8, 4.3, N_PAIRS, dtype=dtype).unsqueeze(1)
    return torch.stack([centers, neighbors]), vectors / vectors.norm(dim=1, keepdim=True) * lengths


def step(dtype: torch.dtype, l_max: int, n_features: int) -> list[torch.Tensor]:
    """All gradients of one interaction in a training step on energies and forces."""
    pairs, vectors = graph(dtype)
    generator = torch.Generator().manual_seed(2)

    def parameter(*shape: int) -> torch.Tensor:
        values = torch.randn(shape, generator=generator, dtype=dtype) * 0.3
        return values.requires_grad_()

    n_components = (l_max + 1) ** 2
    mu = torch.linspace(0.8, 3.5, 5, dtype=dtype).requires_grad_()
    sigma = torch.linspace(2.0, 5.0, 5, dtype=dtype).requires_grad_()
    features = parameter(N_ATOMS, n_features)
    mix = parameter(5 * n_features, 6)
    scales, base = parameter(l_max, 6), parameter(N_ATOMS, 6)
    layers = [parameter(6, 6) if k % 2 == 0 else parameter(6) for k in range(6)]
    parameters = [mu, sigma, features, mix, scales, base, *layers]
    vectors.requires_grad_()
    weights = torch.ops.ekd.pair_weights(vectors, mu, sigma, CUTOFF, l_max)
    messages = torch.ops.ekd.message(weights, features, pairs, N_ATOMS)
    mixed = messages.reshape(N_ATOMS, n_components, -1) @ mix
    inner = torch.ops.ekd.invariants(mixed, scales, base, 0.01)
    out = torch.ops.ekd.atom_layers(inner, base, layers)
    (gradient,) = torch.autograd.grad(out.square().sum(), vectors, create_graph=True)
    loss = out.sum() + gradient.square().sum()
    used = [tensor for tensor in parameters if tensor.numel() > 0]
    return [out.detach(), gradient.detach(), *torch.autograd.grad(loss, used)]


@pytest.mark.parametrize("n_features", [1, 4, 9])
@pytest.mark.parametrize("l_max", [0, 1, 2])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_training_step(
    request: pytest.FixtureRequest, dtype: torch.dtype, l_max: int, n_features: int
) -> None:
    expected = step(dtype, l_max, n_features)
    request.getfixturevalue("emulated")
    found = step(dtype, l_max, n_features)
    bounds = tolerance("message", dtype).bounds
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, **bounds)


def test_the_kernels_are_other_ones(request: pytest.FixtureRequest) -> None:
    """Otherwise, the test above would compare identical code."""
    expected = step(torch.float32, 2, 4)
    request.getfixturevalue("emulated")
    found = step(torch.float32, 2, 4)
    assert not torch.equal(found[1], expected[1])


@pytest.mark.usefixtures("emulated")
def test_the_same_bits_twice() -> None:
    for one, other in zip(step(torch.float32, 2, 4), step(torch.float32, 2, 4), strict=True):
        assert torch.equal(one, other)


@pytest.mark.usefixtures("emulated")
def test_no_pairs_and_no_atoms() -> None:
    none = torch.zeros(2, 0, dtype=torch.int64)
    weights = torch.ops.ekd.pair_weights(torch.zeros(0, 3), torch.ones(4), torch.ones(4), CUTOFF, 1)
    assert weights.shape == (0, 16)
    messages = torch.ops.ekd.message(weights, torch.ones(3, 2), none, 3)
    assert torch.equal(messages, torch.zeros(3, 16, 2))
    mixed = torch.zeros(0, 4, 5)
    assert torch.ops.ekd.invariants(mixed, torch.ones(1, 5), torch.zeros(0, 5), 0.1).shape == (0, 5)
