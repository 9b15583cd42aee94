"""What a way to tell the error costs in molecular dynamics."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import ekd
from ekd.data import Dataset
from ekd.data.dataset import Provenance
from ekd.models import HIPNN
from ekd.training.batches import Batch, BatchSource

N_SAMPLED = 16
"""Last layers that LLPR is estimated with where its cost is measured."""


class WaterCost:
    """The cost of a method in molecular dynamics of water, beside energy and forces."""

    def __init__(self, student: ekd.TrainedModel, n_molecules: int = 32):
        from ekd.lammps.structures import water_box

        atoms = water_box(n_molecules, 0.997, 0)
        data = Dataset(
            atomic_numbers=atoms.numbers,
            positions=atoms.positions,
            offsets=np.array([0, len(atoms)]),
            energies=np.zeros(1),
            groups=np.array(["water"]),
            provenance=Provenance("water", "", "none", 0),
            cells=atoms.cell.array[None],
            pbc=atoms.pbc[None],
        )
        self.data = data
        self.network = student.in_float64()
        self.batch = self._batch(self.network)
        self.plain = _seconds(lambda: self._forces(self.network, self.batch))

    def _batch(self, network: HIPNN) -> Batch:
        source = BatchSource(self.data, network.elements, network.cutoff, torch.float64)
        return next(source.batches(np.arange(1), 1))

    def _levels(
        self, network: HIPNN, batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        vectors = batch.pair_vectors.detach().requires_grad_()
        levels, features = network.forward_levels(
            batch.species, batch.pairs, vectors, batch.n_atoms
        )
        return torch.stack(levels).sum(), torch.cat(features, dim=1), vectors

    def _forces(self, network: HIPNN, batch: Batch) -> None:
        energy, _, vectors = self._levels(network, batch)
        torch.autograd.grad(energy, vectors)

    def _with(self, more: Callable[[torch.Tensor, torch.Tensor], Any]) -> float:
        def both() -> None:
            energy, features, vectors = self._levels(self.network, self.batch)
            torch.autograd.grad(energy, vectors, retain_graph=True)
            more(features, vectors)

        return _seconds(both) / self.plain

    def head(self) -> float:
        """Of a head on the features."""
        assert self.network.uncertainty_head is not None
        head = self.network.uncertainty_head
        return self._with(lambda features, _: head([features.detach()]))

    def quadratic(self) -> float:
        """Of a quadratic form of the features."""

        def form(features: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
            there = features.detach()
            return ((there @ (there.T @ there)) * there).sum(1)

        return self._with(form)

    def sampled(self, n: int) -> float:
        """Of the forces of ``n`` last layers."""

        def more(features: torch.Tensor, vectors: torch.Tensor) -> None:
            energies = features.sum(0) @ torch.randn(features.shape[1], n).double()
            for energy in energies:
                torch.autograd.grad(energy, vectors, retain_graph=True)

        return self._with(more)

    def times_of_teachers(self, teachers: ekd.Ensemble) -> float:
        """Of the student, and all teachers beside it."""
        seconds = 0.0
        for teacher in teachers.members:
            network = teacher.in_float64()
            batch = self._batch(network)
            seconds += _seconds(lambda n=network, b=batch: self._forces(n, b))  # type: ignore[misc]
        return 1 + seconds / self.plain


def _seconds(call: Callable[[], Any], n: int = 15) -> float:
    """Least of several: the machine may do other things too."""
    times = []
    for _ in range(n):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)
