"""Random structures and their pairs, by brute force: slow, and obviously right."""

from __future__ import annotations

import itertools

import numpy as np
import torch


def random_structure(
    n_atoms: int, seed: int, size: float = 3.5, shortest: float = 0.9
) -> np.ndarray:
    """Positions (Å) in a cube, no two atoms nearer than ``shortest``."""
    rng = np.random.default_rng(seed)
    positions: list[np.ndarray] = []
    while len(positions) < n_atoms:
        trial = rng.uniform(0, size, 3)
        if all(np.linalg.norm(trial - other) > shortest for other in positions):
            positions.append(trial)
    return np.array(positions)


def all_pairs(
    positions: torch.Tensor, cutoff: float, cell: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Directed pairs within the cutoff, sorted by centre, and the shift vector of each (Å).

    With a cell, every image within two cells is looked at. Pair vectors are
    ``positions[j] - positions[i] + shift``: differentiable in positions and cell.
    """
    images = [(0, 0, 0)] if cell is None else list(itertools.product(range(-2, 3), repeat=3))
    basis = torch.zeros(3, 3, dtype=positions.dtype) if cell is None else cell
    pairs, shifts = [], []
    for i in range(len(positions)):
        for j in range(len(positions)):
            for image in images:
                shift = torch.tensor(image, dtype=positions.dtype) @ basis
                vector = (positions[j] - positions[i] + shift).detach()
                if (i != j or image != (0, 0, 0)) and vector.norm() < cutoff:
                    pairs.append((i, j))
                    shifts.append(shift)
    if not pairs:
        return torch.empty(2, 0, dtype=torch.int64), torch.empty(0, 3, dtype=positions.dtype)
    return torch.tensor(pairs).T.contiguous(), torch.stack(shifts)
