"""The network with compiled and plain operations: energies, forces, gradient of a loss."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from ekd.models import HIPNN
from models import random_network
from structures import pair_vectors, random_structure
from tolerances import tolerance

Graph = tuple[torch.Tensor, torch.Tensor, int]  # pairs, pair vectors, number of atoms


def molecule(n_atoms: int = 9) -> Graph:
    pairs, vectors = pair_vectors(torch.tensor(random_structure(n_atoms, seed=n_atoms)), 4.0)
    return pairs, vectors, n_atoms


def no_pairs(n_atoms: int) -> Graph:
    return torch.zeros((2, 0), dtype=torch.int64), torch.zeros((0, 3)).double(), n_atoms


def lonely_atoms() -> Graph:
    """An atom without neighbors before the others, and one after them."""
    pairs, vectors, n_atoms = molecule()
    return pairs + 1, vectors, n_atoms + 2


def repeated_neighbors() -> Graph:
    """Periodic images: the neighbors of an atom are itself and one other, many times each."""
    generator = torch.Generator().manual_seed(5)
    vectors = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    length = torch.linspace(0.8, 4.2, 40, dtype=torch.float64).unsqueeze(1)
    neighbors = torch.randint(0, 2, (40,), generator=generator)
    pairs = torch.stack([torch.arange(40) // 20, neighbors])
    return pairs, vectors / vectors.norm(dim=1, keepdim=True) * length, 2


GRAPHS: dict[str, Callable[[], Graph]] = {
    "molecule": molecule,
    "no pairs": lambda: no_pairs(3),
    "one atom": lambda: no_pairs(1),
    "lonely atoms": lonely_atoms,
    "repeated neighbours": repeated_neighbors,
}


def evaluate(network: HIPNN, graph: Graph) -> list[torch.Tensor]:
    """Atomic energies, their gradient by pair vectors, and weight gradients of a loss."""
    pairs, vectors, n_atoms = graph
    vectors = vectors.to(network.blocks[0].energy.weight.dtype).requires_grad_()
    energies = network(torch.arange(n_atoms) % 4, pairs, vectors, n_atoms)
    (by_pair,) = torch.autograd.grad(energies.sum(), vectors, create_graph=True)
    parameters = list(network.parameters())
    weights = [torch.linspace(-1, 1, t.numel(), dtype=t.dtype) for t in (energies, by_pair)]
    gradient = torch.autograd.grad(
        [energies, by_pair],
        parameters,
        [weight.view_as(t) for weight, t in zip(weights, (energies, by_pair), strict=True)],
        materialize_grads=True,
    )
    return [energies.detach(), by_pair.detach(), *gradient]


@pytest.mark.parametrize("instruction_set", ["avx512", "avx2", "portable"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("l_max", [0, 1, 2])
@pytest.mark.parametrize("graph", GRAPHS)
def test_equals_the_plain_operations(
    graph: str,
    l_max: int,
    dtype: torch.dtype,
    instruction_set: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EKD_SIMD", instruction_set)
    network, _ = random_network(l_max=l_max, n_interactions=2, n_features=20, n_sensitivities=17)
    network.to(dtype)
    found = evaluate(network, GRAPHS[graph]())
    network.use_native_ops(False)
    expected = evaluate(network, GRAPHS[graph]())
    bounds = tolerance("runtime" if dtype == torch.float32 else "kernel", dtype).bounds
    for one, other in zip(found, expected, strict=True):
        scale = other.abs().max().clamp(min=1) if other.numel() else 1
        torch.testing.assert_close(one / scale, other / scale, **bounds)
