"""Additional features of torch.ops.ekd: threads, checks, autograd through the dispatcher."""

from __future__ import annotations

import pytest
import torch

import ekd.models  # noqa: F401  (registers torch.ops.ekd)
from ekd.models import reference_ops
from tolerances import tolerance

N_CENTERS, N_NEIGHBORS, N_PAIRS, K = 300, 320, 6000, 26


def arguments(n_features: int) -> dict[str, tuple[torch.Tensor | int, ...]]:
    """Enough work for several threads."""
    generator = torch.Generator().manual_seed(0)
    centers = torch.randint(0, N_CENTERS, (N_PAIRS,), generator=generator).sort()[0]
    neighbors = torch.randint(0, N_NEIGHBORS, (N_PAIRS,), generator=generator)
    pairs = torch.stack([centers, neighbors])
    g = torch.randn(N_CENTERS, K, n_features, generator=generator)
    w = torch.randn(N_PAIRS, K, generator=generator)
    z = torch.randn(N_NEIGHBORS, n_features, generator=generator)
    return {
        "message": (w, z, pairs, N_CENTERS),
        "message_weight": (g, z, pairs),
        "message_feature": (g, w, pairs, N_NEIGHBORS),
    }


@pytest.mark.parametrize("n_features", [1, 4, 7, 8, 16, 33])
@pytest.mark.parametrize("name", ["message", "message_weight", "message_feature"])
def test_threads_change_no_bit(name: str, n_features: int) -> None:
    args = arguments(n_features)[name]
    operation = getattr(torch.ops.ekd, name)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        serial = operation(*args)
        torch.set_num_threads(3)
        threaded = operation(*args)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(serial, threaded)
    expected = getattr(reference_ops, name)(*args)
    torch.testing.assert_close(serial, expected, **tolerance("message", torch.float32).bounds)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_species", [1, 4, 12])
@pytest.mark.parametrize("name", ["message", "message_weight"])
def test_one_hot_features(name: str, n_species: int, dtype: torch.dtype) -> None:
    """For the first interaction, the kernels skip zeros, also in wide rows."""
    generator = torch.Generator().manual_seed(3)
    species = torch.randint(0, n_species, (N_NEIGHBORS,), generator=generator)
    z = torch.nn.functional.one_hot(species, n_species).to(dtype)
    first, _, pairs, *rest = arguments(n_species)[name]
    args = (first.to(dtype), z, pairs, *rest)
    found, expected = getattr(torch.ops.ekd, name)(*args), getattr(reference_ops, name)(*args)
    torch.testing.assert_close(found, expected, **tolerance("message", dtype).bounds)


GRAPHS = {
    "an atom without neighbours, and a repeated neighbour": [[0, 0, 2, 2, 2], [1, 1, 0, 3, 2]],
    "images of one atom": [[0, 0, 0], [0, 0, 0]],
    "no pairs": [[], []],
}


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("n_features", [3, 9])  # narrow rows have another loop order
@pytest.mark.parametrize("name", ["message", "message_weight", "message_feature"])
def test_first_and_second_derivatives(name: str, n_features: int, graph: str) -> None:
    generator = torch.Generator().manual_seed(2)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    pairs = torch.tensor(GRAPHS[graph], dtype=torch.int64)
    g, w, z = random(3, 5, n_features), random(pairs.size(1), 5), random(4, n_features)
    args = {
        "message": (w, z, pairs, 3),
        "message_weight": (g, z, pairs),
        "message_feature": (g, w, pairs, 4),
    }[name]
    operation = getattr(torch.ops.ekd, name)
    assert torch.autograd.gradcheck(operation, args)
    assert torch.autograd.gradgradcheck(operation, args)


@pytest.mark.parametrize("instruction_set", ["avx512", "avx2", "portable"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["message", "message_weight", "message_feature"])
def test_every_instruction_set(
    name: str, dtype: torch.dtype, instruction_set: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EKD_SIMD", instruction_set)
    args = [a.to(dtype) if _is_real(a) else a for a in arguments(37)[name]]
    found, expected = getattr(torch.ops.ekd, name)(*args), getattr(reference_ops, name)(*args)
    torch.testing.assert_close(found, expected, **tolerance("message", dtype).bounds)


def _is_real(value: torch.Tensor | int) -> bool:
    return torch.is_tensor(value) and value.is_floating_point()


def test_other_devices_get_a_result_of_the_right_kind() -> None:
    """Devices without a kernel use plain torch operations; tested with 'meta', without a GPU."""
    for name, args in arguments(8).items():
        moved = [a.to("meta") if torch.is_tensor(a) else a for a in args]
        found = getattr(torch.ops.ekd, name)(*moved)
        assert found.device.type == "meta"
        assert found.shape == getattr(torch.ops.ekd, name)(*args).shape


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([[1, 0], [0, 0]], "sorted by center"),
        ([[0, 2], [0, 0]], "centers below 2"),
        ([[0, 1], [0, 5]], "neighbors must be below 3; found 5"),
        ([[0, 1], [-1, 0]], "neighbors must be below 3; found -1"),
    ],
)
def test_refuses_indices_that_would_read_foreign_memory(
    pairs: list[list[int]], message: str
) -> None:
    with pytest.raises(RuntimeError, match=message):
        torch.ops.ekd.message(torch.ones(2, 2), torch.ones(3, 2), torch.tensor(pairs), 2)


def test_refuses_wrong_shapes() -> None:
    pairs = torch.zeros((2, 3), dtype=torch.int64)
    with pytest.raises(RuntimeError, match="weights must have 2 dimensions and 3 rows"):
        torch.ops.ekd.message(torch.ones(2, 2), torch.ones(3, 2), pairs, 1)
    with pytest.raises(RuntimeError, match=r"pairs must be int64 of shape \(2, n_pairs\)"):
        torch.ops.ekd.message(torch.ones(3, 2), torch.ones(3, 2), pairs.int(), 1)
