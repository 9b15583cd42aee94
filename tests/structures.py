"""Shared structures of tests, and differentiable pair vectors."""

from __future__ import annotations

import numpy as np
import torch

from ekd.data import Dataset, Provenance
from ekd.neighbor_list import neighbor_list


def random_structure(n_atoms: int, seed: int, size: float = 3.5) -> np.ndarray:
    """Random positions (Å) in a cube of this size, with distances above 0.9 Å."""
    rng = np.random.default_rng(seed)
    positions: list[np.ndarray] = []
    while len(positions) < n_atoms:
        trial = rng.uniform(0, size, 3)
        if all(np.linalg.norm(trial - other) > 0.9 for other in positions):
            positions.append(trial)
    return np.array(positions)


def pair_vectors(
    positions: torch.Tensor, cutoff: float, cell: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs [2, n_pairs] and their vectors [n_pairs, 3], differentiable in positions and cell."""
    array = None if cell is None else cell.detach().numpy()
    found = neighbor_list(positions.detach().numpy(), cutoff, array, pbc=cell is not None)
    pairs = torch.from_numpy(found.pairs)
    vectors = positions[pairs[1]] - positions[pairs[0]]
    if cell is not None:
        vectors = vectors + torch.from_numpy(found.cell_shifts).to(cell.dtype) @ cell
    return pairs, vectors


def single_atoms(n_configs: int) -> Dataset:
    """Configurations with one hydrogen atom at the origin."""
    return Dataset(
        atomic_numbers=np.ones(n_configs, dtype=np.int64),
        positions=np.zeros((n_configs, 3)),
        offsets=np.arange(n_configs + 1),
        energies=np.zeros(n_configs),
        groups=np.full(n_configs, "H"),
        provenance=Provenance("test", "", "none", 0),
    )
