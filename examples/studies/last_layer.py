"""Energies and forces of a student as linear functions of its last layer."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

import ekd
from ekd.data import Dataset
from ekd.models import HIPNN
from ekd.training.batches import Batch, BatchSource
from ekd.training.predictions import forces_from_gradient, large_batches

Array = NDArray[np.float64]


class LastLayer:
    """Energies and forces of a student as linear functions of its last layer.

    The features after all interactions side by side, summed over the atoms of a configuration, are
    the derivatives of its energy; their own derivatives with respect to positions are those of the
    forces. Counts of the elements are features too, of energies alone: they stand for biases and
    reference energies.
    """

    def __init__(self, student: ekd.TrainedModel):
        self.network = copy.deepcopy(student.model).float()
        self.n_elements = len(self.network.elements)
        self.n_features = sum(self.network.feature_widths[1:])

    def source(self, data: Dataset) -> BatchSource:
        """Batches of a dataset."""
        return BatchSource(data, self.network.elements, self.network.cutoff, torch.float32)

    def parts(
        self, data: Dataset, configs: NDArray[np.int64] | None = None
    ) -> Iterator[tuple[Array, Array, Array]]:
        """Batch by batch: of energies [n, k], of forces [n_atoms, 3, k], of atoms [n_atoms, k]."""
        for batch in large_batches(self.network, self.source(data), configs):
            yield self._of(batch)

    def _of(self, batch: Batch) -> tuple[Array, Array, Array]:
        vectors = batch.pair_vectors.detach().requires_grad_()
        _, levels = self.network.forward_levels(batch.species, batch.pairs, vectors, batch.n_atoms)
        features = torch.cat(levels, dim=1)
        forces = np.zeros((batch.n_atoms, 3, self.n_features + self.n_elements))
        for k in range(self.n_features):
            (gradient,) = torch.autograd.grad(features[:, k].sum(), vectors, retain_graph=True)
            forces[:, :, k] = forces_from_gradient(gradient.double(), batch.pairs, batch.n_atoms)
        counts = torch.nn.functional.one_hot(batch.species, self.n_elements)
        atoms = torch.cat([features.detach().double(), counts.double()], dim=1)
        zeros = torch.zeros(batch.n_configs, atoms.shape[1], dtype=torch.float64)
        return zeros.index_add(0, batch.config_index, atoms).numpy(), forces, atoms.numpy()


@torch.no_grad()
def head_on(network: HIPNN, data: Dataset) -> Array:
    source = BatchSource(data, network.elements, network.cutoff, torch.float32)
    told = []
    for batch in large_batches(network, source, None):
        _, features = network.forward_levels(
            batch.species, batch.pairs, batch.pair_vectors, batch.n_atoms
        )
        told.append(network.uncertainty(features))
    found: Array = torch.cat(told).numpy()
    return found


def with_ridge(matrix: Array, ridge: float) -> Array:
    """Add the ridge in units in which every feature has the same weight on the diagonal."""
    return matrix + ridge * np.diag(np.diag(matrix)) + 1e-12 * np.eye(len(matrix))


def quadratic(rows: Array, inverse: Array) -> Array:
    form: Array = np.einsum("...i,ij,...j->...", rows, inverse, rows, optimize=True)
    return np.maximum(form, 0)
