"""One training in several processes, started by ``torchrun``: who they are and what they share."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist

from ekd.errors import TrainingError

_STEPS_PER_LOOK = 8  # at signals: asking all processes costs as much as a small sum over them


class Group:
    """The processes of a training. This class: the process is alone.

    Attributes:
        rank: of this process, from zero. Rank 0 writes files and shows progress.
        n_ranks: number of processes.
        local_rank: of this process among those on its machine.
    """

    rank = 0
    n_ranks = 1
    local_rank = 0

    @property
    def reduce(self) -> None:
        """What adds a tensor up over the processes, in place; None: there is one process."""
        return

    def first_signal(self, number: int, step: int) -> int:
        """What all processes agree on of a signal that some of them have received.

        Args:
            number: of the signal that this process has received; 0: none.
            step: number of the step, the same for all.

        Returns:
            the number of a signal; 0: nobody has received one, or it is not this step's turn.
        """
        return number

    def barrier(self) -> None:
        """Wait for all processes."""

    def from_first(self, value: Any) -> Any:
        """An object of rank 0, for all."""
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
        """What adds a tensor up over the processes, in place."""
        return self._sum

    def _sum(self, tensor: torch.Tensor) -> torch.Tensor:
        with _others():
            dist.all_reduce(tensor)
        return tensor

    def first_signal(self, number: int, step: int) -> int:
        """What all processes agree on of a signal that some of them have received."""
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
        """An object of rank 0, for all."""
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
    """Say in words what torch says of a process that has ended.

    Raises:
        TrainingError: another process of the training does not answer.
    """
    try:
        yield
    except RuntimeError as error:  # of which DistBackendError is one
        first = str(error).strip().splitlines()[0]
        raise TrainingError(
            f"another process of this training has ended, or does not answer ({first}); the reason "
            "is in the output of that process. The checkpoints are intact: start the same command "
            "again with resume=True",
            code="EKD-TRAINING-004",
        ) from None


ALONE = Group()


def is_launched() -> bool:
    """Whether ``torchrun`` started this process, with others."""
    return dist.is_torchelastic_launched() and int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextlib.contextmanager
def launched_group(device: str) -> Iterator[Group]:
    """The processes that ``torchrun`` started; this one alone if it did not.

    Args:
        device: ``cpu`` (they talk by gloo) or ``cuda`` (by NCCL, one GPU each).

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
