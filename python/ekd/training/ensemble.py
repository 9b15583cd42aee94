"""Ensembles, with members trained in parallel, one by one, or each by several processes."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ekd import workers
from ekd.config import HIPNNConfig, MemberConfig, TrainingConfig
from ekd.data import Dataset, split
from ekd.data.reference_energies import provenance_of, reference_energies
from ekd.errors import CheckpointError, ConfigError, EKDError, TrainingError
from ekd.models import HIPNN
from ekd.training import checkpoint
from ekd.training.batches import BatchSource
from ekd.training.job import Job
from ekd.training.members import plan_members
from ekd.training.parallel import ALONE, Group
from ekd.training.predictions import Predictions, evaluate
from ekd.training.progress import TrainingProgress
from ekd.training.trained import TrainedModel


@dataclass(frozen=True)
class EnsemblePredictions:
    """Mean and spread of the predictions of an ensemble.

    Attributes:
        energies: mean energies, float64 [n_configs] eV.
        forces: mean forces, float64 [n_atoms, 3] eV/Å.
        energies_std: population standard deviation over members, [n_configs] eV.
        forces_std: population standard deviation of a force component,
            ``sqrt(mean over members of |F - mean F|^2 / 3)``, [n_atoms] eV/Å.
        members: predictions of each member.
        uncertainty: mean uncertainty of the members, [n_atoms] eV/Å; None if a member has none.
    """

    energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    energies_std: NDArray[np.float64]
    forces_std: NDArray[np.float64]
    members: list[Predictions]
    uncertainty: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, members: list[Predictions]) -> EnsemblePredictions:
        """Compute mean and spread of several predictions for the same data."""
        energies = np.stack([member.energies for member in members])
        forces = np.stack([member.forces for member in members])
        return cls(
            energies.mean(0),
            forces.mean(0),
            energies.std(0),
            np.sqrt(forces.var(0).mean(-1)),
            members,
            mean_uncertainty(members),
        )


def mean_uncertainty(members: Sequence[Predictions]) -> NDArray[np.float64] | None:
    """Return the mean uncertainty of the members, [n_atoms] eV/Å; None if a member has none."""
    found = [member.uncertainty for member in members]
    if not found or any(one is None for one in found):
        return None
    mean: NDArray[np.float64] = np.mean(found, axis=0)  # type: ignore[arg-type]
    return mean


@dataclass(frozen=True)
class Ensemble:
    """Several trained models, which may differ in cutoff and elements."""

    members: list[TrainedModel]

    def __len__(self) -> int:
        return len(self.members)

    def predict(self, data: Dataset) -> EnsemblePredictions:
        """Predict mean and spread for a dataset, in float64.

        Raises:
            StructureError: the data hold an element that the models were not trained on.
        """
        models = [member.in_float64() for member in self.members]
        return EnsemblePredictions.of(evaluate_models(models, data))

    def export(
        self,
        path: str | os.PathLike[str],
        dtype: str = "float64",
        description: str = "",
        portable: bool = False,
    ) -> None:
        """Export all members to one file, a committee.

        In ASE and LAMMPS, a committee predicts the mean of its members, and provides their spread.
        See :func:`ekd.export.export_model`.

        Raises:
            ConfigError: there are no members, or they differ in architecture or elements.
            EKDError: the file cannot be written.
        """
        from ekd.export import export_model

        configs = [member.model_config.model_dump() for member in self.members]
        for k, config in enumerate(configs):
            for key, value in config.items():
                if value != configs[0][key]:
                    raise ConfigError(
                        f"members of a committee need the same architecture, but member {k} has "
                        f"{key} = {value} and member 0 has {configs[0][key]}; train them with the "
                        "same [model], or export them to separate files",
                        code="EKD-CONFIG-024",
                    )
        export_model(
            [member.model for member in self.members],
            path,
            config=self.members[0].model_config if self.members else HIPNNConfig(),
            dtype=dtype,
            description=description,
            portable=portable,
            provenance=[member.provenance for member in self.members],
        )


def evaluate_models(models: list[HIPNN], data: Dataset) -> list[Predictions]:
    """Evaluate float64 networks; those with the same cutoff and elements share neighbor lists.

    Raises:
        StructureError: the data contain an element that a network does not support.
    """
    sources: dict[tuple[float, tuple[int, ...]], BatchSource] = {}
    predictions = []
    for model in models:
        key = (model.cutoff, tuple(model.elements))
        if key not in sources:
            sources[key] = BatchSource(data, model.elements, model.cutoff, torch.float64)
        predictions.append(evaluate(model, sources[key]))
    return predictions


def train_ensemble(
    data: Dataset,
    model: HIPNNConfig | None = None,
    n_members: int = 8,
    seed: int = 0,
    training: TrainingConfig | None = None,
    validation_fraction: float = 0.1,
    split_by: str = "configuration",
    split_seed: int = 0,
    splits: str = "shared",
    n_folds: int | None = None,
    overrides: Sequence[MemberConfig] = (),
    starts: Ensemble | None = None,
    directory: str | os.PathLike[str] | None = None,
    n_workers: int | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Ensemble:
    """Train an ensemble in single-threaded processes, see :func:`train_members`.

    Reference energies are taken from the data if available (isolated atoms, or the argument of
    :func:`ekd.load_dataset`); otherwise they are fitted to the training part, once for all members.
    Warnings about them are shown, and stored in the provenance of the members.

    Args:
        data: data with energies; forces are ignored.
        model: architecture; None: the defaults.
        n_members: number of networks.
        seed: seed of the first member; the others use consecutive seeds.
        training: schedule and loss; None: the defaults.
        validation_fraction: fraction of the configurations held out for validation.
        split_by: ``configuration`` or ``formula``, see :func:`ekd.data.split`.
        split_seed: seed of the split.
        splits: how the training part is divided among the members: ``shared``, ``k-fold`` or
            ``bootstrap``, see :func:`ekd.training.plan_members`.
        n_folds: number of folds for ``k-fold``; None: one per member.
        overrides: settings of individual members, starting with the first: seed, settings of the
            model and of the training.
        starts: pretrained networks, see :func:`ekd.pretrain`; members start from them in turn.
            None: random weights. With pretrained networks, use a learning rate of 1e-3 and 60
            epochs.
        directory: folder for ``member-k/checkpoint.pt`` and ``member-k/history.csv``; None: keep
            no files.
        n_workers: number of processes, at most one per member; None: ``EKD_WORKERS`` if set, else
            one per core.
        resume: continue from the checkpoints in the directory. Otherwise start over.
        progress: show progress on standard error.

    Raises:
        CheckpointError: a checkpoint to resume from is damaged or belongs to another run.
        ConfigError: fewer than one member or worker, or invalid settings of a member.
        DataError: too few data for the split.
        StructureError: an invalid structure.
        TrainingError: a training diverged, or a process was lost.
    """
    with member_directory(directory) as folder:
        job = plan_ensemble(
            data,
            folder,
            model=model,
            n_members=n_members,
            seed=seed,
            training=training,
            validation_fraction=validation_fraction,
            split_by=split_by,
            split_seed=split_seed,
            splits=splits,
            n_folds=n_folds,
            overrides=overrides,
            starts=starts,
        )
        return train_members(job, n_workers, resume, progress)


def plan_ensemble(
    data: Dataset,
    directory: Path,
    model: HIPNNConfig | None = None,
    n_members: int = 8,
    seed: int = 0,
    training: TrainingConfig | None = None,
    validation_fraction: float = 0.1,
    split_by: str = "configuration",
    split_seed: int = 0,
    splits: str = "shared",
    n_folds: int | None = None,
    overrides: Sequence[MemberConfig] = (),
    starts: Ensemble | None = None,
) -> Job:
    """Plan the job of :func:`train_ensemble`, with the same arguments and errors."""
    train_indices, validation_indices = split(data, validation_fraction, split_by, split_seed)
    energies, doubts = reference_energies(data, train_indices)
    return Job(
        data=data,
        members=plan_members(
            data,
            n_members,
            model=model or HIPNNConfig(),
            training=training or TrainingConfig(),
            train_indices=train_indices,
            validation_indices=validation_indices,
            seed=seed,
            overrides=overrides,
            splits=splits,
            n_folds=n_folds,
            split_by=split_by,
            split_seed=split_seed,
            starts=starts.members if starts is not None else (),
        ),
        reference_energies=energies,
        directory=directory,
        provenance=provenance_of(data, doubts, corrected=starts is not None),
    )


@contextlib.contextmanager
def member_directory(directory: str | os.PathLike[str] | None) -> Iterator[Path]:
    """Yield the directory, or a temporary one if it is None."""
    if directory is not None:
        yield Path(directory)
        return
    with tempfile.TemporaryDirectory(prefix="ekd-") as temporary:
        yield Path(temporary)


def train_members(
    job: Job,
    n_workers: int | None = None,
    resume: bool = False,
    progress: bool = True,
    group: Group = ALONE,
    only: Sequence[int] | None = None,
) -> Ensemble:
    """Train the members of a job in single-threaded processes.

    If a process is lost or a training fails, or after Ctrl-C, the others are stopped; their
    progress is saved in the checkpoints. With one worker, training runs in this process.

    Args:
        job: the members.
        n_workers: number of processes, at most one per member; None: ``EKD_WORKERS`` if set, else
            one per core.
        resume: continue from the checkpoints in the directory of the job. Otherwise start over.
        progress: show progress on standard error.
        group: processes that share the training of each member, one member at a time; there are
            then no workers.
        only: members to train; None: all.

    Returns:
        The requested members.

    Raises:
        EKDError: as for :func:`train_ensemble`.
    """
    if n_workers is not None and n_workers < 1:
        raise ConfigError(
            f"n_workers is {n_workers}; at least 1 process is needed", code="EKD-CONFIG-011"
        )
    members = range(len(job.members)) if only is None else only
    n_workers = min(n_workers or workers.default_workers(), len(members))
    in_place = n_workers == 1 or group.n_ranks > 1
    with TrainingProgress(enabled=progress and group.rank == 0) as bars:
        bars.warn(job.provenance)
        for k in members:
            bars.add(job.name(k), job.members[k].training.epochs)
        if in_place:
            return Ensemble([_train_here(job, k, resume, bars, group) for k in members])
        waiting = [k for k in members if not (resume and is_finished(job.member_directory(k)))]
        for k in set(members) - set(waiting):
            bars.finish(job.name(k))
        if waiting:
            _run_workers(job, waiting, resume, min(n_workers, len(waiting)), bars)
        # All members are finished: read the checkpoints, and check that those of an earlier
        # session belong to this run.
        return Ensemble([job.train_member(k, resume=True) for k in members])


def _train_here(
    job: Job, member: int, resume: bool, bars: TrainingProgress, group: Group
) -> TrainedModel:
    name = job.name(member)
    bars.start(name)
    try:
        trained = job.train_member(member, resume, lambda record: bars.update(name, record), group)
    except EKDError as error:
        raise error.within(name) from None
    bars.finish(name)
    return trained


def load_ensemble(directory: str | os.PathLike[str]) -> Ensemble:
    """Read the members written to a directory by :func:`train_members`.

    Raises:
        CheckpointError: there are none, or one is damaged or not finished.
    """
    paths = sorted(
        Path(directory).glob("member-*/checkpoint.pt"),
        key=lambda path: int(path.parent.name.removeprefix("member-")),
    )
    if not paths:
        raise CheckpointError(
            f"no members in '{directory}' (expected member-0/checkpoint.pt, ...); check the "
            "path, or train first",
            code="EKD-CHECKPOINT-001",
        )
    return Ensemble([TrainedModel.load(path) for path in paths])


def is_finished(directory: Path) -> bool:
    """Whether a member has a checkpoint of a finished training."""
    path = directory / "checkpoint.pt"
    return path.exists() and checkpoint.load(path)["state"] is None


def _run_workers(
    job: Job, waiting: list[int], resume: bool, n_workers: int, bars: TrainingProgress
) -> None:
    events = workers.run(
        job,
        [{"member": k, "resume": resume} for k in waiting],
        n_workers,
        name=lambda task: job.name(task["member"]),
        lost=TrainingError,
        advice=f"Checkpoints in '{job.directory}' are intact: train again with resume=True",
    )
    with contextlib.closing(events):
        for event in events:
            name = job.name(event.task["member"])
            if event.kind == "started":
                bars.start(name)
            elif event.kind == "report":
                bars.update(name, event.content)
            else:
                bars.finish(name)
