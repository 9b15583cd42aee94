"""Energies and forces of a model on a dataset."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ekd.models import HIPNN
from ekd.training.batches import Batch, BatchSource

_PAIRS_PER_BATCH = 50_000  # some tens of MB, and enough work to hide the cost of a call


@dataclass(frozen=True)
class Predictions:
    """Predictions of a model for a dataset.

    Attributes:
        energies: energies, float64 [n_configs] eV.
        forces: forces, float64 [n_atoms, 3] eV/Å.
        uncertainty: expected error of a force component, float64 [n_atoms] eV/Å; None for a network
            without an uncertainty head.
    """

    energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    uncertainty: NDArray[np.float64] | None = None


def configuration_energies(levels: list[torch.Tensor], batch: Batch) -> torch.Tensor:
    """Sum atomic energies over levels and atoms.

    Args:
        levels: atomic energies of each level, float64 [n_atoms] eV.
        batch: the configurations.

    Returns:
        Energies, float64 [n_configs] eV.
    """
    zeros = torch.zeros(batch.n_configs, dtype=torch.float64, device=batch.species.device)
    return zeros.index_add(0, batch.config_index, functools.reduce(torch.add, levels))


def forces_from_gradient(gradient: torch.Tensor, pairs: torch.Tensor, n_atoms: int) -> torch.Tensor:
    """Compute forces from dE/dpair_vectors: plus on the center, minus on the neighbor.

    Args:
        gradient: dE/dpair_vectors, [n_pairs, 3] eV/Å.
        pairs: centers and neighbors, int64 [2, n_pairs].
        n_atoms: number of atoms.

    Returns:
        Forces, [n_atoms, 3] eV/Å.
    """
    zeros = gradient.new_zeros(n_atoms, 3)
    return zeros.index_add(0, pairs.flatten(), torch.cat([gradient, -gradient]))


def pair_differences(per_atom: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
    """Return the value of the center minus that of the neighbor (adjoint of forces_from_gradient).

    Args:
        per_atom: values of the atoms, [n_atoms, 3].
        pairs: centers and neighbors, int64 [2, n_pairs].

    Returns:
        Differences, [n_pairs, 3].
    """
    return per_atom.index_select(0, pairs[0]) - per_atom.index_select(0, pairs[1])


def evaluate(
    model: HIPNN, source: BatchSource, configs: NDArray[np.int64] | None = None
) -> Predictions:
    """Evaluate configurations in the given order; by default all."""
    energies, forces, uncertainty = [], [], []
    for batch in large_batches(model, source, configs):
        pair_vectors = batch.pair_vectors.detach().requires_grad_()
        levels, features = model.forward_levels(
            batch.species, batch.pairs, pair_vectors, batch.n_atoms
        )
        total = configuration_energies(levels, batch)
        (gradient,) = torch.autograd.grad(total.sum(), pair_vectors)
        energies.append(total.detach())
        forces.append(forces_from_gradient(gradient.double(), batch.pairs, batch.n_atoms))
        if model.has_uncertainty:
            uncertainty.append(model.uncertainty(features).detach())
    return Predictions(
        _joined(energies), _joined(forces), _joined(uncertainty) if uncertainty else None
    )


@torch.no_grad()
def evaluate_energies(
    model: HIPNN, source: BatchSource, configs: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """Evaluate only energies, without the cost of forces, float64 [n_configs] eV."""
    energies = []
    for batch in large_batches(model, source, configs):
        levels = model.forward_terms(batch.species, batch.pairs, batch.pair_vectors, batch.n_atoms)
        energies.append(configuration_energies(levels, batch))
    return _joined(energies)


def large_batches(
    model: HIPNN,
    source: BatchSource,
    configs: NDArray[np.int64] | None,
    n_pairs: int = _PAIRS_PER_BATCH,
) -> Iterator[Batch]:
    """Yield batches of about ``n_pairs`` pairs, on the device of the model."""
    batch_size = max(1, int(n_pairs / max(source.pairs_per_config, 1)))
    chosen = np.arange(source.n_configs) if configs is None else configs
    for batch in source.batches(chosen, batch_size):
        yield batch.to(model.reference_energies.device)


def _joined(parts: list[torch.Tensor]) -> NDArray[np.float64]:
    joined: NDArray[np.float64] = torch.cat(parts).cpu().numpy()
    return joined
