"""Bases: networks trained on cheap energies and forces, from which others start."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ekd.config import BaseTrainingConfig, HIPNNConfig, TrainingConfig
from ekd.data import Dataset, split
from ekd.data.reference_energies import provenance_of, reference_energies
from ekd.errors import ConfigError, DataError
from ekd.training.ensemble import Ensemble, member_directory, train_members
from ekd.training.job import Job
from ekd.training.members import plan_members
from ekd.training.trained import TrainedModel


def pretrain(
    data: Dataset,
    model: HIPNNConfig | None = None,
    n_bases: int = 4,
    seed: int = 0,
    training: TrainingConfig | None = None,
    validation_fraction: float = 0.05,
    split_seed: int = 0,
    starts: Ensemble | None = None,
    directory: str | os.PathLike[str] | None = None,
    n_workers: int | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Ensemble:
    """Train networks on energies and forces, as a start for teachers and students.

    The data may be of any level of theory, and as cheap as GFN2-xTB: see :func:`ekd.build_pool`.
    What is learned from them is corrected by the training that starts from the result,
    ``ekd.train_ensemble(..., starts=bases)`` or ``ekd.distill(..., start=bases.members[0])``, with
    reference energies of its own. It is the transfer learning of Smith et al., Nat. Commun. 10,
    2903 (2019).

    Args:
        data: energies and forces; best of many geometries, also such as the expensive data lack.
        model: architecture, which must be that of teachers and student; None: the defaults.
        n_bases: number of networks, which differ only in their seed. Teachers that start from
            one base agree more than they are right: give each teacher its own.
        seed: of the first; the others count on from it.
        training: schedule and loss; None: the defaults for a base.
        validation_fraction: share of the configurations that is held out.
        split_seed: seed of the split.
        starts: bases that have learned a cheaper method, whose weights these start from, each
            taking the next; None: random weights.
        directory: for ``member-k/checkpoint.pt`` and ``member-k/history.csv``; None keeps nothing.
        n_workers: processes; None: one per core, at most one per base.
        resume: continue from the checkpoints in the directory. Otherwise start anew.
        progress: show progress on standard error.

    Raises:
        CheckpointError: a checkpoint to resume from is damaged or belongs to another run.
        ConfigError: fewer than one base or worker, or a start of another architecture.
        DataError: there are no forces, or too few data for the split.
        StructureError: a start lacks an element of the data.
        TrainingError: a training diverged, or a process was lost.
    """
    with member_directory(directory) as folder:
        job = plan_bases(
            data,
            folder,
            model=model or HIPNNConfig(),
            n_bases=n_bases,
            seed=seed,
            training=training or BaseTrainingConfig(),
            validation_fraction=validation_fraction,
            split_seed=split_seed,
            starts=starts.members if starts is not None else (),
        )
        return train_members(job, n_workers, resume, progress)


def plan_bases(
    data: Dataset,
    directory: Path,
    *,
    model: HIPNNConfig,
    n_bases: int,
    seed: int,
    training: TrainingConfig,
    validation_fraction: float = 0.05,
    split_seed: int = 0,
    starts: Sequence[TrainedModel] = (),
    title: str = "base",
) -> Job:
    """What :func:`pretrain` does, without doing it; arguments and errors are its.

    The title is what a base is called in messages.
    """
    if n_bases < 1:
        raise ConfigError(f"n_bases is {n_bases}; at least 1 is needed", code="EKD-CONFIG-011")
    if data.forces is None:
        raise DataError(
            f"'{data.provenance.path}' has no forces to pretrain on; name their key (forces = "
            "'...'), take a data set that has forces, or a pool made by 'ekd pool'",
            code="EKD-DATA-060",
        )
    train_indices, validation_indices = split(
        data, validation_fraction, "configuration", split_seed
    )
    energies, doubts = reference_energies(data, train_indices)
    return Job(
        data=data,
        members=plan_members(
            data,
            n_bases,
            model=model,
            training=training,
            train_indices=train_indices,
            validation_indices=validation_indices,
            seed=seed,
            starts=starts,
        ),
        reference_energies=energies,
        directory=directory,
        labels=data.forces,
        provenance=provenance_of(data, doubts, corrected=bool(starts)),
        title=title,
    )
