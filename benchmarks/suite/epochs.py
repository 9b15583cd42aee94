"""One training epoch on the data that ship with ekd, as a task that two can do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ekd.config import HIPNNConfig, TrainingConfig
from ekd.data import Dataset, fit_reference_energies, load_dataset, split
from ekd.models import HIPNN
from ekd.training import loop
from ekd.training.batches import BatchSource
from ekd.training.optimizer import Optimizer, flatten
from ekd.training.threads import one_thread

DATA = Path(__file__).parents[2] / "examples" / "data" / "ccsdt_chno.h5"
ENERGY = "ccsd(t)_ccpvdz.energy"
BATCH_SIZE = 32


@dataclass(frozen=True)
class Task:
    """What is trained: one pass over the training part, in float32.

    Attributes:
        chosen: configurations of the training part.
        reference_energies: eV by atomic number.
        forces: labels, [n_atoms, 3] eV/Å; made up, for the time does not depend on them.
        with_forces: whether they are part of the loss.
    """

    data: Dataset
    chosen: NDArray[np.int64]
    reference_energies: dict[int, float]
    forces: NDArray[np.float64]
    config: HIPNNConfig
    with_forces: bool

    @property
    def elements(self) -> list[int]:
        """In the order of the species."""
        return sorted(self.reference_energies)

    def network(self) -> HIPNN:
        """The same weights at every call."""
        torch.manual_seed(0)
        energies = [self.reference_energies[z] for z in self.elements]
        return HIPNN(self.config, self.elements, energies)


def shipped_task(config: HIPNNConfig, with_forces: bool) -> Task:
    """The training part of the shipped data."""
    data = load_dataset(DATA, ENERGY)
    chosen, _ = split(data, 0.1)
    forces = np.random.default_rng(0).normal(size=data.positions.shape)
    energies = fit_reference_energies(data.subset(chosen))
    return Task(data, chosen, energies, forces, config, with_forces)


class Epochs:
    """Epochs of :func:`ekd.training.train`, validation left out."""

    def __init__(self, task: Task):
        self.task = task
        self.network = task.network()
        self.training = TrainingConfig(batch_size=BATCH_SIZE)
        self.optimizer = Optimizer(
            flatten(self.network),
            flatten(task.network()),
            self.training.ema_decay,
            self.training.gradient_clip,
        )
        labels = task.forces if task.with_forces else None
        cutoff = task.config.cutoff
        self.source = BatchSource(task.data, task.elements, cutoff, torch.float32, labels)

    def epoch(self) -> None:
        """One pass over the training part, with the threads that a training takes."""
        self.optimizer.step_count = 0  # the schedule is one of many epochs: never at its end
        order = np.random.default_rng(0).permutation(self.task.chosen)
        with one_thread():
            loop._run_epoch(self.network, self.source, order, self.optimizer, self.training)

    def loss_and_gradient(self) -> tuple[float, float]:
        """Loss of the first configurations, and the norm of its gradient."""
        (batch,) = self.source.batches(np.sort(self.task.chosen)[:BATCH_SIZE], BATCH_SIZE)
        parameters = list(self.network.parameters())
        loss, gradient, *_ = loop._loss(self.network, parameters, batch, self.training)
        return loss.item(), gradient.norm().item()
