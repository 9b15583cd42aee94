"""Ensembles: members that differ in their seed alone, trained side by side."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import ekd.errors
from ekd.config import HIPNNConfig, TrainingConfig
from ekd.data import Dataset, fit_reference_energies, split
from ekd.errors import CheckpointError, ConfigError, EKDError, TrainingError
from ekd.training import checkpoint, worker
from ekd.training.batches import BatchSource
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
    """Some trained models of one cutoff and one set of elements."""

    members: list[TrainedModel]

    def __len__(self) -> int:
        return len(self.members)

    def predict(self, data: Dataset) -> EnsemblePredictions:
        """Mean and spread on a dataset, evaluated in float64.

        Raises:
            StructureError: the data hold an element that the models were not trained on.
        """
        models = [member.in_float64() for member in self.members]
        first = models[0]
        source = BatchSource(data, first.elements, first.cutoff, torch.float64)
        return EnsemblePredictions.of([evaluate(model, source) for model in models])


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
    """Train an ensemble in processes of one thread each.

    Reference energies are fitted to the training part, once for all members. If a process is
    lost or a training fails, the others are stopped; whatever had been reached is in the
    checkpoints. The same holds for Ctrl-C.

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
    if n_members < 1:
        raise ConfigError(f"n_members is {n_members}; an ensemble needs at least 1")
    if n_workers is not None and n_workers < 1:
        raise ConfigError(f"n_workers is {n_workers}; at least 1 process is needed")
    train_indices, validation_indices = split(data, validation_fraction, split_by, split_seed)
    training = training or TrainingConfig()
    with contextlib.ExitStack() as stack:
        if directory is None:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="ekd-"))
        job = worker.Job(
            data=data,
            model=model or HIPNNConfig(),
            training=training,
            train_indices=train_indices,
            validation_indices=validation_indices,
            reference_energies=fit_reference_energies(data, train_indices),
            directory=Path(directory),
            seed=seed,
        )
        members = range(n_members)
        waiting = [k for k in members if not (resume and _is_finished(job.member_directory(k)))]
        bars = stack.enter_context(TrainingProgress(training.epochs, enabled=progress))
        for k in members:
            bars.add(_name(k))
            if k not in waiting:
                bars.finish(_name(k))
        if waiting:
            n_workers = min(n_workers or _n_cores(), len(waiting))
            _run_workers(job, waiting, resume, n_workers, bars)
        # Every member is finished now: this reads the checkpoints, and checks that those of an
        # earlier session belong to this run.
        return Ensemble([job.train_member(k, resume=True) for k in members])


def load_ensemble(directory: str | os.PathLike[str]) -> Ensemble:
    """Read the members that :func:`train_ensemble` left in a directory.

    Raises:
        CheckpointError: there are none, or one is damaged or not finished.
    """
    paths = sorted(
        Path(directory).glob("member-*/checkpoint.pt"),
        key=lambda path: int(path.parent.name.removeprefix("member-")),
    )
    if not paths:
        raise CheckpointError(
            f"no teachers in '{directory}' (expected member-0/checkpoint.pt, ...); check the "
            "path, or train first"
        )
    return Ensemble([TrainedModel.load(path) for path in paths])


def _name(member: int) -> str:
    return f"teacher {member}"


def _is_finished(directory: Path) -> bool:
    path = directory / "checkpoint.pt"
    return path.exists() and checkpoint.load(path)["state"] is None


def _n_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Process:
    """A worker process; what it says ends up in a queue, as (process, message or None)."""

    def __init__(self, job_path: Path, events: queue.SimpleQueue[Any]) -> None:
        self.member: int | None = None
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ekd.training.worker", str(job_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            },
        )
        assert self._process.stdin is not None  # both are pipes
        assert self._process.stdout is not None
        self._orders, self._messages = self._process.stdin, self._process.stdout
        self._listener = threading.Thread(target=self._listen, args=(events,), daemon=True)
        self._listener.start()

    def _listen(self, events: queue.SimpleQueue[Any]) -> None:
        for line in self._messages:
            events.put((self, json.loads(line)))
        events.put((self, None))

    def train(self, member: int, resume: bool) -> None:
        self.member = member
        with contextlib.suppress(BrokenPipeError):  # its end is reported by the listener
            self._orders.write(json.dumps({"member": member, "resume": resume}) + "\n")
            self._orders.flush()

    def explain_end(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        last = f"; its last words: {lines[-1]}" if lines else ""
        if code >= 0:
            return f"its process ended with status {code}{last}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = "unknown"
        hint = " (often: out of memory)" if name == "SIGKILL" else ""
        return f"its process was killed by signal {-code}, {name}{hint}{last}"

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join()  # it ends with the process
        self._messages.close()
        with contextlib.suppress(BrokenPipeError):
            self._orders.close()
        self._errors.close()


def _run_workers(
    job: worker.Job, waiting: list[int], resume: bool, n_workers: int, bars: TrainingProgress
) -> None:
    waiting = list(waiting)
    events: queue.SimpleQueue[tuple[_Process, dict[str, Any] | None]] = queue.SimpleQueue()
    with _job_file(job) as job_path, contextlib.ExitStack() as stack:
        processes = [_Process(job_path, events) for _ in range(n_workers)]
        for process in processes:
            stack.callback(process.stop)

        def give_next(process: _Process) -> None:
            process.member = None
            if waiting:
                bars.start(_name(waiting[0]))
                process.train(waiting.pop(0), resume)

        for process in processes:
            give_next(process)
        while any(process.member is not None for process in processes):
            process, message = events.get()
            if process.member is None:
                continue  # it had nothing left to do
            if message is None:
                raise TrainingError(
                    f"{_name(process.member)} was lost: {process.explain_end()}. Checkpoints in "
                    f"'{job.directory}' are intact: train again with resume=True"
                )
            name = _name(message["member"])
            if "error" in message:
                kind: type[EKDError] = getattr(ekd.errors, message["kind"])
                raise kind(f"{name}: {message['error']}")
            if "record" in message:
                bars.update(name, message["record"])
            else:
                bars.finish(name)
                give_next(process)


@contextlib.contextmanager
def _job_file(job: worker.Job) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ekd-") as directory:
        path = Path(directory) / "job.pkl"
        path.write_bytes(pickle.dumps(job))
        yield path
