"""Predictions of all models for all datasets, in parallel, stored in files and reused.

A file contains the predictions of one model for some configurations. Its name is a checksum of the
model and the data, so that predictions are reused when an evaluation is resumed or repeated with
additional models.
"""

from __future__ import annotations

import hashlib
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ekd import workers
from ekd.data import Dataset
from ekd.distillation.count_progress import Counter
from ekd.distillation.parts import digest
from ekd.errors import TeacherError
from ekd.evaluation.models import EvaluatedModel, ModelPredictions
from ekd.files import atomic_write
from ekd.training.torch_threads import one_thread

_WORTH_A_PROCESS = 4  # minimum number of tasks, because starting a process takes seconds

_PER_ATOM = ("forces", "forces_std", "member_forces")
_AXIS = {"member_energies": 1, "member_forces": 1}


@dataclass(frozen=True)
class Evaluations:
    """Job for worker processes: a task is a model, a dataset and a range of configurations."""

    models: Sequence[EvaluatedModel]
    datasets: Sequence[Dataset]
    folder: Path

    def tasks(self) -> list[list[int]]:
        """Return all tasks: ``[model, dataset, start, stop]``."""
        return [
            [m, d, start, stop]
            for d, data in enumerate(self.datasets)
            for m, model in enumerate(self.models)
            for start, stop in _ranges(data, model.atoms_per_task)
        ]

    def path(self, task: Sequence[int]) -> Path:
        """Path of the file of a task."""
        m, d, start, stop = task
        identity = f"{self.models[m].sha256} {self.datasets[d].fingerprint} {start} {stop}"
        return self.folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.npz"

    def run(self, task: Any, report: workers.Report) -> None:
        """Evaluate a task, and save the result."""
        m, d, start, stop = task
        data = self.datasets[d].subset(np.arange(start, stop))
        begin = time.perf_counter()
        with one_thread():
            found = self.models[m].predict(data, start)
        arrays = {
            field.name: value
            for field in fields(found)
            if (value := getattr(found, field.name)) is not None
        }
        arrays["seconds"] = np.array(time.perf_counter() - begin)
        with atomic_write(self.path(task)) as temporary:
            everything: dict[str, Any] = {"sha256": np.array(digest(arrays)), **arrays}
            np.savez(temporary, **everything)

    def load(self, task: Sequence[int]) -> dict[str, Any] | None:
        """Read a file; None if it is missing or damaged."""
        try:
            with self.path(task).open("rb") as file, np.load(file) as archive:
                arrays = dict(archive)
            return arrays if str(arrays.pop("sha256")) == digest(arrays) else None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None


def predict_everything(
    models: Sequence[EvaluatedModel],
    datasets: Sequence[Dataset],
    folder: Path,
    n_workers: int | None = None,
    progress: bool = True,
) -> tuple[dict[tuple[int, int], ModelPredictions], dict[tuple[int, int], float]]:
    """Evaluate each model on each dataset, reusing predictions in the folder.

    Args:
        models: models to evaluate.
        datasets: datasets to evaluate them on.
        folder: folder for the predictions.
        n_workers: number of single-threaded processes; None: ``EKD_WORKERS`` if set, else one per
            core, or one for little work.
        progress: show a progress bar on standard error.

    Returns:
        Predictions by indices of model and dataset; and the time they took on one core, in seconds.

    Raises:
        StructureError: a model lacks an element of a dataset.
        TeacherError: a calculator fails, or a process was lost.
    """
    elements = sorted({number for data in datasets for number in data.elements})
    for model in models:
        model.check(elements)
    job = Evaluations(models, datasets, folder)
    tasks = job.tasks()
    missing = [task for task in tasks if job.load(task) is None]
    n_atoms = {tuple(task): _n_atoms(datasets[task[1]], task) for task in tasks}
    if n_workers is None:
        n_workers = workers.default_workers() if len(missing) >= _WORTH_A_PROCESS else 1
    total = sum(n_atoms.values())
    there = total - sum(n_atoms[tuple(task)] for task in missing)
    with Counter("atoms evaluated", total, there, enabled=progress and bool(missing)) as counter:

        def listen(event: workers.Event) -> None:
            if event.kind == "done":
                counter.add(n_atoms[tuple(event.task)])

        workers.complete(
            job,
            missing,
            min(n_workers, len(missing)),
            listen,
            name=lambda task: f"{models[task[0]].name}, configurations from {task[2]}",
            lost=TeacherError,
            advice=f"Finished predictions in '{folder}' are kept: run the same command again",
        )
    found: dict[tuple[int, int], ModelPredictions] = {}
    seconds: dict[tuple[int, int], float] = {}
    for m in range(len(models)):
        for d in range(len(datasets)):
            parts = [_loaded(job, task) for task in tasks if task[:2] == [m, d]]
            seconds[m, d] = float(sum(part.pop("seconds") for part in parts))
            found[m, d] = ModelPredictions(
                **{
                    name: np.concatenate([part[name] for part in parts], axis=_AXIS.get(name, 0))
                    for name in parts[0]
                }
            )
    return found, seconds


def _loaded(job: Evaluations, task: list[int]) -> dict[str, Any]:
    arrays = job.load(task)
    if arrays is None:
        raise TeacherError(
            f"'{job.path(task)}' has disappeared; run the same command again", code="EKD-RUN-009"
        )
    return arrays


def _n_atoms(data: Dataset, task: Sequence[int]) -> int:
    return int(data.offsets[task[3]] - data.offsets[task[2]])


def _ranges(data: Dataset, n_atoms: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of configurations with at most ``n_atoms`` atoms, or a single larger one."""
    start = 0
    while start < len(data):
        stop = int(np.searchsorted(data.offsets, data.offsets[start] + n_atoms, "right")) - 1
        stop = min(max(stop, start + 1), len(data))
        yield start, stop
        start = stop
