"""Training jobs: an ensemble to train, and the training of each member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd.data import Dataset, mapped
from ekd.training.batches import LossWeights
from ekd.training.loop import train
from ekd.training.members import Member
from ekd.training.parallel import ALONE, Group
from ekd.training.steps import Report
from ekd.training.trained import TrainedModel
from ekd.training.uncertainty import SpreadLesson


@dataclass(frozen=True)
class Job:
    """An ensemble to train.

    Attributes:
        data: structures and energies.
        members: plans of the members.
        reference_energies: reference energies by atomic number, eV.
        directory: output folder; member k writes to its folder ``member-k``.
        labels: forces to train on, [n_atoms, 3] eV/Å; None: only energies.
        weights: loss weights of energies and forces; None: all one.
        spread: training data of the uncertainty head; None: no head.
        provenance: entries to add to the provenance of each member.
        title: name of a member in messages: "teacher" or "student".
        tensorboard: also write logs for TensorBoard.
    """

    data: Dataset
    members: Sequence[Member]
    reference_energies: dict[int, float]
    directory: Path
    labels: NDArray[np.float64] | None = None
    weights: LossWeights | None = None
    spread: SpreadLesson | None = None
    provenance: Mapping[str, Any] | None = None
    title: str = "teacher"
    tensorboard: bool = False

    def __getstate__(self) -> dict[str, Any]:
        return mapped.detach(vars(self))

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(mapped.attach(state))

    def name(self, member: int) -> str:
        """Name of a member in messages."""
        return f"{self.title} {member}"

    def member_directory(self, member: int) -> Path:
        """Folder of a member."""
        return self.directory / f"member-{member}"

    def run(self, task: Any, report: Report) -> None:
        """Train ``task["member"]`` in a worker process, see :mod:`ekd.workers`."""
        self.train_member(task["member"], task["resume"], report)

    def train_member(
        self, member: int, resume: bool, report: Report | None = None, group: Group = ALONE
    ) -> TrainedModel:
        """Train a member, or load it if it is finished and ``resume`` is set.

        Args:
            member: index of the member, from zero.
            resume: continue from its checkpoint.
            report: callback for the record of each epoch, and for the progress within epochs; see
                :func:`ekd.training.loop.train`.
            group: processes that share the training.
        """
        plan = self.members[member]
        return train(
            self.data,
            model=plan.model,
            training=plan.training,
            train_indices=plan.train_indices,
            validation_indices=plan.validation_indices,
            reference_energies=plan.reference_energies or self.reference_energies,
            seed=plan.seed,
            labels=self.labels,
            weights=self.weights,
            spread=self.spread,
            start=plan.start,
            directory=self.member_directory(member),
            resume=resume,
            report=report,
            report_batch=report,
            provenance=self.provenance,
            group=group,
            tensorboard=self.tensorboard,
        )
