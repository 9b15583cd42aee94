"""The process that trains members for :func:`ekd.training.train_members`.

Started as ``python -m ekd.training.worker JOB``, not by :mod:`multiprocessing`: a start of one's
own runs nothing of the user's script again, so that a script needs no ``__main__`` guard.

The job file holds what all members share. Members to train arrive on standard input, one per
line; epochs and ends of trainings leave on standard output, one JSON object per line. The end of
the input ends the process.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from ekd.config import HIPNNConfig, TrainingConfig
from ekd.data import Dataset
from ekd.errors import EKDError
from ekd.training.batches import LossWeights
from ekd.training.loop import train
from ekd.training.trained import TrainedModel


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

    def train_member(self, member: int, resume: bool, report: Any = None) -> TrainedModel:
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


def main(job_path: str) -> None:
    """Train members until the input ends."""
    # Ctrl-C reaches the whole process group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Standard output carries the protocol: whatever else prints goes to standard error.
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    job: Job = pickle.loads(Path(job_path).read_bytes())
    for line in sys.stdin:
        order = json.loads(line)
        if not _train(job, order["member"], order["resume"], channel):
            return


def _train(job: Job, member: int, resume: bool, channel: TextIO) -> bool:
    def send(**message: Any) -> None:
        print(json.dumps({"member": member, **message}), file=channel)

    try:
        job.train_member(member, resume, report=lambda record: send(record=record))
        send(done=True)
    except EKDError as error:
        send(error=str(error), kind=type(error).__name__)
        return False
    return True


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except BrokenPipeError:  # the parent is gone
        os._exit(1)
