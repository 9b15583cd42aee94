"""Sampling of the batches of an epoch, and their distribution over processes.

Both are determined by the seed and the number of the epoch, so that training can be resumed within
an epoch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ekd.config import TrainingConfig


@dataclass(frozen=True, eq=False)
class Batches:
    """Consecutive batches.

    Attributes:
        configs: configurations of all batches, in order, int64 [n].
        bounds: bounds of the batches in ``configs``, from 0 to n, int64 [n_batches + 1].
    """

    configs: NDArray[np.int64]
    bounds: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of configurations of each batch."""
        return np.diff(self.bounds)

    def after(self, n_batches: int) -> Batches:
        """Return the batches without the first ``n_batches``."""
        first = self.bounds[n_batches]
        return Batches(self.configs[first:], self.bounds[n_batches:] - first)


def epoch_batches(
    indices: NDArray[np.int64],
    n_atoms: NDArray[np.int64],
    training: TrainingConfig,
    seed: int,
    epoch: int,
) -> Batches:
    """Shuffle configurations and cut them into batches.

    Args:
        indices: configurations to train on.
        n_atoms: number of atoms of each configuration of the data.
        training: settings with the batch size, in configurations or atoms.
        seed: seed of the training.
        epoch: number of the epoch, from zero.
    """
    configs = np.random.default_rng([seed, epoch]).permutation(indices)
    if training.batch_atoms is None:
        return Batches(configs, cut_by_count(len(configs), training.batch_size))
    return Batches(configs, cut_by_atoms(n_atoms[configs], training.batch_atoms))


def cut_by_count(n_configs: int, batch_size: int) -> NDArray[np.int64]:
    """Return bounds of batches of ``batch_size`` configurations; the last may be smaller."""
    return np.append(np.arange(0, n_configs, batch_size), n_configs)


def cut_by_atoms(n_atoms: NDArray[np.int64], batch_atoms: int) -> NDArray[np.int64]:
    """Return bounds of the largest possible batches with at most ``batch_atoms`` atoms.

    A single configuration with more atoms is a batch of its own.
    """
    ends = np.cumsum(n_atoms)
    bounds = [0]
    while bounds[-1] < len(n_atoms):
        start = bounds[-1]
        before = ends[start] - n_atoms[start]
        stop = int(np.searchsorted(ends, before + batch_atoms, side="right"))
        bounds.append(max(stop, start + 1))
    return np.array(bounds, dtype=np.int64)


def share(batches: Batches, n_atoms: NDArray[np.int64], rank: int, n_ranks: int) -> Batches:
    """Return the part of each batch for one of several processes, with similar numbers of atoms.

    Args:
        batches: batches of all processes.
        n_atoms: number of atoms of each configuration of the data.
        rank: rank of the process, from zero.
        n_ranks: number of processes.

    Returns:
        The same number of batches; some may be empty. The parts of all processes, joined in the
        order of their ranks, are the original batches.
    """
    if n_ranks == 1:
        return batches
    size = n_atoms[batches.configs]
    middle = np.cumsum(size) - size / 2
    total = np.add.reduceat(size, batches.bounds[:-1])
    first = np.cumsum(total) - total
    repeats = batches.sizes
    position = (middle - np.repeat(first, repeats)) / np.repeat(total, repeats)
    mine = np.floor(position * n_ranks).astype(np.int64) == rank
    counts = np.concatenate([[0], np.cumsum(mine)])
    return Batches(batches.configs[mine], counts[batches.bounds])
