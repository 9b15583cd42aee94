"""TorchANI: one network of ANI-1x, the potential that needs forces or a million energies."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from ekd.neighbor_list import neighbor_list


def evaluation(atoms: Atoms, own_pairs: bool = False) -> Callable[[], NDArray[np.float64]]:
    """A function that returns the forces (Hartree/Å) of a periodic structure, float32.

    TorchANI's own neighbour list tries all pairs of atoms in all images; unless ``own_pairs``, it
    is given one instead, as everything that it is compared with.

    Raises:
        ImportError: TorchANI is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its extension for GPUs, and of its imports
        import torchani
        from torchani import aev, neurochem

    # Piece by piece: torchani.models.ANI1x() would fetch from GitHub what is in the package.
    files = Path(torchani.__file__).parent / "resources" / "ani-1x_8x"
    constants = neurochem.Constants(str(files / "rHCNO-5.2R_16-3.5A_a4-8.params"))
    features = torchani.AEVComputer(**constants).float()
    network = neurochem.load_model(constants.species, str(files / "train0" / "networks")).float()
    network.requires_grad_(False)
    species = constants.species_to_tensor(atoms.get_chemical_symbols()).unsqueeze(0)
    cell = torch.from_numpy(atoms.cell.array).float()
    periodic = torch.from_numpy(atoms.pbc)
    start = torch.from_numpy(atoms.positions).float().unsqueeze(0)
    pairs = aev.neighbor_pairs if own_pairs else _given(atoms, features.Rcr)

    def forces() -> NDArray[np.float64]:
        positions = start.clone().requires_grad_(True)
        with mock.patch.object(aev, "neighbor_pairs", pairs):
            described = features((species, positions), cell, periodic)
        energy = network(described).energies.sum()
        return -torch.autograd.grad(energy, positions)[0][0].numpy().astype(np.float64)

    return forces


def _given(atoms: Atoms, cutoff: float) -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    """In place of ``torchani.aev.neighbor_pairs``: each pair once, r_0 - r_1 + shift @ cell."""
    found = neighbor_list(atoms.positions, cutoff, atoms.cell.array, atoms.pbc)
    i, j = found.pairs
    # Of i -> j and j -> i one; of an atom and its own images those in one half of space.
    x, y, z = found.cell_shifts.T
    half = (z > 0) | ((z == 0) & ((y > 0) | ((y == 0) & (x > 0))))
    kept = (i < j) | ((i == j) & half)
    indices = torch.from_numpy(np.stack([j[kept], i[kept]]))
    shifts = torch.from_numpy(found.cell_shifts[kept])
    return lambda *_: (indices, shifts)
