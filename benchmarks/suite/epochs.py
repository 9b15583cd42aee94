"""Training on the data that ship with ekd, as a task that two can do, and how ekd does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ekd.config import HIPNNConfig, TrainingConfig
from ekd.data import Dataset, fit_reference_energies, load_dataset, split
from ekd.models import HIPNN
from ekd.training.batches import BatchSource
from ekd.training.loop import train
from ekd.training.steps import evaluate_step

DATA = Path(__file__).parents[2] / "examples" / "data" / "ccsdt_chno.h5"
ENERGY = "ccsd(t)_ccpvdz.energy"
BATCH_SIZE = 32
EPOCHS = 3
"""Of one training of ekd, the fastest of which counts: the first ones warm up."""


@dataclass(frozen=True)
class Task:
    """What is trained, in float32.

    Attributes:
        chosen: configurations of the training part.
        held_out: one configuration: what validation takes is not measured.
        reference_energies: eV by atomic number.
        forces: labels, [n_atoms, 3] eV/Å; made up, for the time does not depend on them.
        with_forces: whether they are part of the loss.
    """

    data: Dataset
    chosen: NDArray[np.int64]
    held_out: NDArray[np.int64]
    reference_energies: dict[int, float]
    forces: NDArray[np.float64]
    config: HIPNNConfig
    with_forces: bool

    @property
    def elements(self) -> list[int]:
        """In the order of the species."""
        return sorted(self.reference_energies)

    @property
    def labels(self) -> NDArray[np.float64] | None:
        """The forces that are part of the loss."""
        return self.forces if self.with_forces else None

    def network(self) -> HIPNN:
        """The same weights at every call."""
        torch.manual_seed(0)
        energies = [self.reference_energies[z] for z in self.elements]
        return HIPNN(self.config, self.elements, energies)


def shipped_task(config: HIPNNConfig, with_forces: bool) -> Task:
    """The training part of the shipped data."""
    data = load_dataset(DATA, ENERGY)
    chosen, held_out = split(data, 0.1)
    forces = np.random.default_rng(0).normal(size=data.positions.shape)
    energies = fit_reference_energies(data.subset(chosen))
    return Task(data, chosen, held_out[:1], energies, forces, config, with_forces)


def rate_of_ekd(task: Task) -> float:
    """Configurations per second of a training by ekd, as it reports them itself."""
    records: list[dict[str, Any]] = []
    report: Callable[[dict[str, Any]], None] = records.append
    train(
        task.data,
        model=task.config,
        # As the peer: what is compared are steps, not how many are needed.
        training=TrainingConfig(batch_size=BATCH_SIZE, epochs=EPOCHS, optimizer="adam"),
        train_indices=task.chosen,
        validation_indices=task.held_out,
        reference_energies=task.reference_energies,
        seed=0,
        labels=task.labels,
        report=report,
    )
    return max(float(record["configs_per_second"]) for record in records)


def loss_and_gradient(task: Task) -> tuple[float, float]:
    """Loss of the first configurations, and the norm of its gradient."""
    source = BatchSource(task.data, task.elements, task.config.cutoff, torch.float32, task.labels)
    (batch,) = source.batches(np.sort(task.chosen)[:BATCH_SIZE], BATCH_SIZE)
    network = task.network()
    parameters = list(network.parameters())
    step = evaluate_step(network, parameters, batch, TrainingConfig(), BATCH_SIZE)
    return step.loss.item(), step.gradient.norm().item()
