"""What the members of an ensemble share, and how one of them is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd.config import HIPNNConfig, TrainingConfig
from ekd.data import Dataset
from ekd.training.batches import LossWeights
from ekd.training.loop import train
from ekd.training.trained import TrainedModel
from ekd.workers import Report


@dataclass(frozen=True)
class Job:
    """What the members of an ensemble share.

    Attributes:
        directory: member k writes into ``member-k`` there.
        seed: of member 0; member k has ``seed + k``.
        labels: forces to train on, [n_atoms, 3] eV/Å; None: energies alone.
        weights: of energies and forces in the loss; None: all one.
        provenance: what to add to that of each member.
        title: what a member is, in words: "teacher" or "student".
    """

    data: Dataset
    model: HIPNNConfig
    training: TrainingConfig
    train_indices: NDArray[np.int64]
    validation_indices: NDArray[np.int64]
    reference_energies: dict[int, float]
    directory: Path
    seed: int
    labels: NDArray[np.float64] | None = None
    weights: LossWeights | None = None
    provenance: Mapping[str, Any] | None = None
    title: str = "teacher"

    def name(self, member: int) -> str:
        """What a member is called in messages."""
        return f"{self.title} {member}"

    def member_directory(self, member: int) -> Path:
        """Folder of a member."""
        return self.directory / f"member-{member}"

    def run(self, task: Any, report: Report) -> None:
        """Train ``task["member"]`` in a worker process, see :mod:`ekd.workers`."""
        self.train_member(task["member"], task["resume"], report)

    def train_member(self, member: int, resume: bool, report: Report | None = None) -> TrainedModel:
        """Train a member, or load it if it is finished and ``resume`` is set."""
        return train(
            self.data,
            model=self.model,
            training=self.training,
            train_indices=self.train_indices,
            validation_indices=self.validation_indices,
            reference_energies=self.reference_energies,
            seed=self.seed + member,
            labels=self.labels,
            weights=self.weights,
            directory=self.member_directory(member),
            resume=resume,
            report=report,
            provenance=self.provenance,
        )
