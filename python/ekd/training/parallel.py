"""Training in several processes, started by ``torchrun``: ranks and communication."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist

from ekd.errors import TrainingError

_STEPS_PER_LOOK = 8  # steps between checks for signals, which cost as much as a small reduction


class Group:
    """The processes of a training. This class is for a single process.

    Attributes:
        rank: rank of this process, from zero. Rank 0 writes files and shows progress.
        n_ranks: number of processes.
        local_rank: rank of this process on its machine.
    """

    rank = 0
    n_ranks = 1
    local_rank = 0

    @property
    def reduce(self) -> None:
        """Function that sums a tensor over the processes, in place; None for one process."""
        return

    def first_signal(self, number: int, step: int) -> int:
        """Agree on a signal that some processes have received.

        Args:
            number: number of the signal that this process has received; 0: none.
            step: number of the step, the same for all processes.

        Returns:
            The number of a signal; 0 if there is none, or signals are not checked in this step.
        """
        return number

    def barrier(self) -> None:
        """Wait for all processes."""

    def from_first(self, value: Any) -> Any:
        """Broadcast an object of rank 0."""
        return value

    def synchronize(self, tensor: torch.Tensor) -> None:
        """Overwrite a tensor with that of rank 0."""


class DistributedGroup(Group):
    """The processes of the default group of :mod:`torch.distributed`."""

    def __init__(self, local_rank: int, device: str = "cpu") -> None:
        self.rank = dist.get_rank()
        self.n_ranks = dist.get_world_size()
        self.local_rank = local_rank
        self._device = torch.device("cuda", local_rank) if device == "cuda" else device

    @property
    def reduce(self) -> Any:
        """Function that sums a tensor over the processes, in place."""
        return self._sum

    def _sum(self, tensor: torch.Tensor) -> torch.Tensor:
        with _others():
            dist.all_reduce(tensor)
        return tensor

    def first_signal(self, number: int, step: int) -> int:
        """Agree on a signal that some processes have received."""
        if step % _STEPS_PER_LOOK:
            return 0
        found = torch.tensor([number], device=self._device)
        with _others():
            dist.all_reduce(found, dist.ReduceOp.MAX)
        return int(found)

    def barrier(self) -> None:
        """Wait for all processes."""
        with _others():
            dist.barrier()

    def from_first(self, value: Any) -> Any:
        """Broadcast an object of rank 0."""
        values = [value]
        with _others():
            dist.broadcast_object_list(values, src=0)
        return values[0]

    def synchronize(self, tensor: torch.Tensor) -> None:
        """Overwrite a tensor with that of rank 0."""
        with _others():
            dist.broadcast(tensor, src=0)


@contextlib.contextmanager
def _others() -> Iterator[None]:
    """Explain the errors of torch when another process has ended.

    Raises:
        TrainingError: another process of the training does not respond.
    """
    try:
        yield
    except RuntimeError as error:  # including DistBackendError
        first = str(error).strip().splitlines()[0]
        raise TrainingError(
            f"another process of this training has ended, or does not respond ({first}); the "
            "reason is in the output of that process. The checkpoints are intact: start the same "
            "command again with resume=True",
            code="EKD-TRAINING-004",
        ) from None


ALONE = Group()


def is_launched() -> bool:
    """Whether ``torchrun`` started this process and others."""
    return dist.is_torchelastic_launched() and int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextlib.contextmanager
def launched_group(device: str) -> Iterator[Group]:
    """Yield the group of processes started by ``torchrun``, or of this process alone.

    Args:
        device: ``cpu`` (communication by gloo) or ``cuda`` (by NCCL, one GPU per process).

    Raises:
        TrainingError: more processes than GPUs.
    """
    if not is_launched():
        yield ALONE
        return
    local_rank = int(os.environ["LOCAL_RANK"])
    if device == "cuda":
        n_devices = torch.cuda.device_count()
        if local_rank >= n_devices:
            raise TrainingError(
                f"process {local_rank} of this machine has no GPU of its own (found {n_devices}); "
                f"start torchrun with --nproc-per-node {n_devices}, or set device = 'cpu'",
                code="EKD-DEVICE-016",
            )
        torch.cuda.set_device(local_rank)
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield DistributedGroup(local_rank, device)
    finally:
        dist.destroy_process_group()
