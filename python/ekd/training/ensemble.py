"""Ensembles: members that differ in their seed alone, trained side by side."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ekd import workers
from ekd.config import HIPNNConfig, TrainingConfig
from ekd.data import Dataset, fit_reference_energies, split
from ekd.errors import CheckpointError, ConfigError, TrainingError
from ekd.models import HIPNN
from ekd.training import checkpoint
from ekd.training.batches import BatchSource
from ekd.training.job import Job
from ekd.training.predictions import Predictions, evaluate
from ekd.training.progress import TrainingProgress
from ekd.training.trained import TrainedModel


@dataclass(frozen=True)
class EnsemblePredictions:
    """Mean and spread of an ensemble.

    Attributes:
        energies: mean, float64 [n_configs] eV.
        forces: mean, float64 [n_atoms, 3] eV/Å.
        energies_std: population standard deviation over members, [n_configs] eV.
        forces_std: ``sqrt(mean over members of |F - mean F|^2 / 3)``, [n_atoms] eV/Å: the
            population standard deviation of a force component.
        members: what each member predicts.
    """

    energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    energies_std: NDArray[np.float64]
    forces_std: NDArray[np.float64]
    members: list[Predictions]

    @classmethod
    def of(cls, members: list[Predictions]) -> EnsemblePredictions:
        """Mean and spread of some predictions for the same data."""
        energies = np.stack([member.energies for member in members])
        forces = np.stack([member.forces for member in members])
        return cls(
            energies.mean(0),
            forces.mean(0),
            energies.std(0),
            np.sqrt(forces.var(0).mean(-1)),
            members,
        )


@dataclass(frozen=True)
class Ensemble:
    """Some trained models. Mostly they have one cutoff and one set of elements, but need not."""

    members: list[TrainedModel]

    def __len__(self) -> int:
        return len(self.members)

    def predict(self, data: Dataset) -> EnsemblePredictions:
        """Mean and spread on a dataset, evaluated in float64.

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
        """Write all members to one deployable file, a committee.

        ASE and LAMMPS run the mean of the members, and give their spread. See
        :func:`ekd.export.export_model`.

        Raises:
            ConfigError: no members, or they differ in architecture or elements.
            EKDError: the file cannot be written.
        """
        from ekd.export import export_model

        configs = [member.model_config.model_dump() for member in self.members]
        for k, config in enumerate(configs):
            for key, value in config.items():
                if value != configs[0][key]:
                    raise ConfigError(
                        f"members of a committee need one architecture, but member {k} has "
                        f"{key} = {value} and member 0 has {configs[0][key]}; train them with the "
                        "same [model], or export them to files of their own"
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
    """What float64 networks predict; those of one cutoff and order of elements share neighbours.

    Raises:
        StructureError: the data hold an element that a network does not know.
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
    directory: str | os.PathLike[str] | None = None,
    n_workers: int | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Ensemble:
    """Train an ensemble in processes of one thread each, see :func:`train_members`.

    Reference energies are fitted to the training part, once for all members.

    Args:
        data: energies; forces are not looked at.
        model: architecture; None: the defaults.
        n_members: number of networks.
        seed: of the first member; the others count on from it.
        training: schedule and loss; None: the defaults.
        validation_fraction: share of the configurations that is held out.
        split_by: ``configuration`` or ``formula``, see :func:`ekd.data.split`.
        split_seed: seed of the split, the same for all members.
        directory: for ``member-k/checkpoint.pt`` and ``member-k/history.csv``; None keeps nothing.
        n_workers: processes; None: one per core, at most one per member.
        resume: continue from the checkpoints in the directory. Otherwise start anew.
        progress: show progress on standard error.

    Raises:
        CheckpointError: a checkpoint to resume from is damaged or belongs to another run.
        ConfigError: fewer than one member or worker.
        StructureError: a broken structure.
        TrainingError: a training diverged, or a process was lost.
    """
    train_indices, validation_indices = split(data, validation_fraction, split_by, split_seed)
    with member_directory(directory) as folder:
        job = Job(
            data=data,
            model=model or HIPNNConfig(),
            training=training or TrainingConfig(),
            train_indices=train_indices,
            validation_indices=validation_indices,
            reference_energies=fit_reference_energies(data.subset(train_indices)),
            directory=folder,
            seed=seed,
        )
        return train_members(job, n_members, n_workers, resume, progress)


@contextlib.contextmanager
def member_directory(directory: str | os.PathLike[str] | None) -> Iterator[Path]:
    """The directory, or one that is removed afterwards if there is none."""
    if directory is not None:
        yield Path(directory)
        return
    with tempfile.TemporaryDirectory(prefix="ekd-") as temporary:
        yield Path(temporary)


def train_members(
    job: Job,
    n_members: int,
    n_workers: int | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Ensemble:
    """Train networks that share all but their seeds, in processes of one thread each.

    If a process is lost or a training fails, the others are stopped; whatever had been reached is
    in the checkpoints. The same holds for Ctrl-C.

    Args:
        job: what they share.
        n_members: number of networks.
        n_workers: processes; None: one per core, at most one per member.
        resume: continue from the checkpoints in the directory of the job. Otherwise start anew.
        progress: show progress on standard error.

    Raises:
        EKDError: as for :func:`train_ensemble`.
    """
    if n_members < 1:
        raise ConfigError(f"n_members is {n_members}; an ensemble needs at least 1")
    if n_workers is not None and n_workers < 1:
        raise ConfigError(f"n_workers is {n_workers}; at least 1 process is needed")
    members = range(n_members)
    waiting = [k for k in members if not (resume and _is_finished(job.member_directory(k)))]
    with TrainingProgress(job.training.epochs, enabled=progress) as bars:
        for k in members:
            bars.add(job.name(k))
            if k not in waiting:
                bars.finish(job.name(k))
        if waiting:
            n_workers = min(n_workers or workers.n_cores(), len(waiting))
            _run_workers(job, waiting, resume, n_workers, bars)
        # Every member is finished now: this reads the checkpoints, and checks that those of an
        # earlier session belong to this run.
        return Ensemble([job.train_member(k, resume=True) for k in members])


def load_ensemble(directory: str | os.PathLike[str]) -> Ensemble:
    """Read the members that :func:`train_members` left in a directory.

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
            "path, or train first"
        )
    return Ensemble([TrainedModel.load(path) for path in paths])


def _is_finished(directory: Path) -> bool:
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
