"""Bases: networks trained on cheap energies and forces, as a start for other networks."""

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

    The data can have any level of theory, including cheap ones such as GFN2-xTB: see
    :func:`ekd.build_pool`. Errors of that level are corrected in the training that starts from the
    result, ``ekd.train_ensemble(..., starts=bases)`` or ``ekd.distill(...,
    start=bases.members[0])``, which determines its own reference energies. This is the transfer
    learning of Smith et al., Nat. Commun. 10, 2903 (2019).

    Args:
        data: data with energies and forces, preferably with many geometries, including kinds that
            are missing in the expensive data.
        model: architecture, which must be the same for teachers and student; None: the defaults.
        n_bases: number of networks, which differ only in their seeds. Teachers that start
            from the same base disagree less than their errors: use one base per teacher.
        seed: seed of the first network; the others use consecutive seeds.
        training: schedule and loss; None: the defaults for a base.
        validation_fraction: fraction of the configurations held out for validation.
        split_seed: seed of the split.
        starts: bases trained on a cheaper method, whose weights these networks start from in turn;
            None: random weights.
        directory: folder for ``member-k/checkpoint.pt`` and ``member-k/history.csv``; None: keep
            no files.
        n_workers: number of processes, at most one per base; None: ``EKD_WORKERS`` if set, else
            one per core.
        resume: continue from the checkpoints in the directory. Otherwise start over.
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
    """Plan the job of :func:`pretrain`, with the same arguments and errors.

    The title is the name of a base in messages.
    """
    if n_bases < 1:
        raise ConfigError(f"n_bases is {n_bases}; at least 1 is needed", code="EKD-CONFIG-011")
    if data.forces is None:
        raise DataError(
            f"'{data.provenance.path}' has no forces to pretrain on; name their key (forces = "
            "'...'), or use a data set with forces or a pool made by 'ekd pool'",
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
