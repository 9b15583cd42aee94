"""Evaluation of networks by autograd, as the reference for exported files."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from ekd.inference import Results
from ekd.neighbor_list import NeighborList

AtomicEnergies = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, int], torch.Tensor]
"""``forward(species, pairs, pair_vectors, n_local) -> atomic energies``, eager or scripted."""


def evaluate(
    model: AtomicEnergies,
    species: NDArray[np.int64],
    pairs: NeighborList,
    device: torch.device | str = "cpu",
) -> Results:
    """Evaluate a network and differentiate it with respect to every pair vector.

    :class:`ekd.inference.ExportedModel` is faster for exported models. The uncertainty is included
    if the network has ``forward_with_uncertainty``.

    Args:
        model: see :data:`AtomicEnergies`.
        species: (n_atoms), index into the elements of the model.
        pairs: full neighbor list within the cutoff of the model.
        device: device for the evaluation.
    """
    n_atoms = len(species)
    vectors = torch.from_numpy(pairs.pair_vectors).to(device).requires_grad_(True)
    arguments = (
        torch.from_numpy(species).to(device),
        torch.from_numpy(pairs.pairs).to(device),
        vectors,
        n_atoms,
    )
    uncertainty = None
    if getattr(model, "has_uncertainty", False):
        atomic_energies, uncertainty = model.forward_with_uncertainty(*arguments)  # type: ignore[attr-defined]
    else:
        atomic_energies = model(*arguments)
    (found,) = torch.autograd.grad(
        [atomic_energies], [vectors], [torch.ones_like(atomic_energies)], allow_unused=True
    )
    gradients = np.zeros_like(pairs.pair_vectors) if found is None else found.cpu().numpy()
    # A pair vector points from center to neighbor: moving the center along it shortens it.
    forces = np.zeros((n_atoms, 3))
    np.add.at(forces, pairs.pairs[0], gradients)
    np.subtract.at(forces, pairs.pairs[1], gradients)
    virial = -pairs.pair_vectors.T @ gradients
    energies = atomic_energies.detach().cpu().numpy().astype(np.float64)
    return Results(
        energy=float(energies.sum()),
        atomic_energies=energies,
        forces=forces,
        virial=(virial + virial.T) / 2,
        uncertainty=None if uncertainty is None else uncertainty.detach().cpu().numpy(),
    )
