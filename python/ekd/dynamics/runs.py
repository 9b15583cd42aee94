"""All runs of a stability test, in parallel; results are stored in files and reused."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ekd import workers
from ekd.data.frames import read_frames
from ekd.distillation.count_progress import Counter
from ekd.dynamics import boxes, replicas
from ekd.dynamics.failures import Watch
from ekd.dynamics.forces import CalculatorCopies, Copies, FileCopies
from ekd.dynamics.relaxation import relaxed
from ekd.dynamics.replicas import DriftOutcome, Outcome
from ekd.dynamics.stability_settings import StabilityConfig, StructureConfig
from ekd.errors import ConfigError, DataError, TeacherError
from ekd.evaluation.calculators import as_file, make_calculator
from ekd.evaluation.models import EvaluatedModel, FileModel, TeacherModel
from ekd.files import atomic_write
from ekd.lammps.structures import molecule
from ekd.training.torch_threads import one_thread

_SEEDS_TOGETHER = 16


@dataclass(frozen=True)
class Runner:
    """A model to run, and the row of the tables for its runs.

    Attributes:
        row: name of the row; runs of all single teachers are combined in one.
        model: the model.
        is_member: whether it is a single member of an ensemble.
    """

    row: str
    model: EvaluatedModel
    is_member: bool = False


@dataclass(frozen=True)
class Task:
    """Several seeds of one kind of run.

    Attributes:
        runner: index of the model.
        structure: index of the structure.
        kind: ``survival`` or ``drift``.
        value: temperature (K) or time step (ps).
        seeds: seeds of the runs.
    """

    runner: int
    structure: int
    kind: str
    value: float
    seeds: tuple[int, ...]

    def picoseconds(self, config: StabilityConfig) -> float:
        """Simulated time of a run that does not fail."""
        if self.kind == "survival":
            return config.duration
        return config.drift.duration + config.drift.equilibration


@dataclass(frozen=True)
class Runs:
    """Job for worker processes.

    Attributes:
        runners: models.
        structures: structures by name.
        config: all settings.
        folder: folder of the results.
        tasks: all tasks; workers get their indices.
    """

    runners: Sequence[Runner]
    structures: dict[str, Atoms]
    config: StabilityConfig
    folder: Path
    tasks: list[Task] = field(default_factory=list)

    def atoms(self, task: Task) -> Atoms:
        """Return the starting structure of a task."""
        return list(self.structures.values())[task.structure]

    def path(self, task: Task) -> Path:
        """Path of the file of a task; its name is a checksum of everything its runs depend on."""
        config, atoms = self.config, self.atoms(task)
        settings = config.model_dump(
            mode="json", include={"timestep", "friction", "check_every", "failure"}
        )
        if task.kind == "survival":
            settings["duration"] = config.duration
        else:
            drift = config.drift.model_dump(exclude={"timesteps", "n_seeds"})
            settings["drift"] = {**drift, "bath_timestep": config.drift.bath_timestep}
        identity = {
            "model": self.runners[task.runner].model.sha256,
            **_identity(atoms),
            "kind": task.kind,
            "value": task.value,
            "seeds": task.seeds,
            "engine": self.engine(task),
            **settings,
            **({"relax": True} if config.relax else {}),
        }
        return self.folder / "runs" / f"{_digest(identity)}.json"

    def engine(self, task: Task) -> str:
        """Return ``LAMMPS`` for periodic boxes if the model can be exported; else ``ASE``."""
        model = self.runners[task.runner].model
        periodic = bool(self.atoms(task).pbc.all())
        in_file = isinstance(model, FileModel) or _file(model, self.folder) is not None
        return "LAMMPS" if periodic and in_file and self.config.engine == "auto" else "ASE"

    def load(self, task: Task) -> dict[str, Any] | None:
        """Read the results of a task; None if there are none."""
        try:
            content: dict[str, Any] = json.loads(self.path(task).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return content

    def run(self, number: Any, report: workers.Report) -> None:
        """Run a task, and save the results."""
        task = self.tasks[number]
        atoms, begin = self.atoms(task), time.perf_counter()
        model = self.runners[task.runner].model
        told = [0.0, time.monotonic()]

        def progress(picoseconds: float) -> None:
            told[0] += picoseconds
            if time.monotonic() - told[1] > 0.5:
                report({"ps": told[0]})
                told[:] = [0.0, time.monotonic()]

        with one_thread():
            start, broken = atoms, None
            if self.config.relax:
                start = self._relaxed(model, atoms)
                broken = Watch(atoms, self.config.failure, 0.0).look(start.positions, 0.0, 0.0)
            found: Sequence[Outcome | DriftOutcome]
            if broken is not None:
                found = [self._lost_at_once(task, seed, broken) for seed in task.seeds]
            elif self.engine(task) == "LAMMPS":
                path = _file(model, self.folder)
                assert path is not None
                place = self.folder / "lammps" / self.path(task).stem
                run = boxes.run_survival if task.kind == "survival" else boxes.run_drift
                found = run(place, start, path, task.value, task.seeds, self.config, progress)
            else:
                copies = self._copies(model, start)
                run_here = replicas.run_survival if task.kind == "survival" else replicas.run_drift
                found = run_here(start, copies, task.value, task.seeds, self.config, progress)
        content = {
            "outcomes": [asdict(outcome) for outcome in found],
            "seconds": time.perf_counter() - begin,
        }
        with atomic_write(self.path(task)) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def _relaxed(self, model: EvaluatedModel, atoms: Atoms) -> Atoms:
        """Return the structure relaxed with a model; it is computed once for all runs."""
        identity = {"model": model.sha256, **_identity(atoms)}
        path = self.folder / "relaxed" / f"{_digest(identity)}.npy"
        start = atoms.copy()
        if path.exists():
            start.positions = np.load(path)
        else:
            start = relaxed(atoms, self._copies(model, atoms))
            with atomic_write(path) as temporary, temporary.open("wb") as file:
                np.save(file, start.positions)
        return start

    def _lost_at_once(self, task: Task, seed: int, kind: str) -> Outcome | DriftOutcome:
        """Return the outcome of a run whose structure failed during relaxation."""
        if task.kind == "survival":
            return Outcome(seed, self.config.check_every * self.config.timestep, kind)
        return DriftOutcome(seed, task.value, None, None, kind)

    def _copies(self, model: EvaluatedModel, atoms: Atoms) -> Copies:
        path = _file(model, self.folder)
        if path is not None:
            return FileCopies(path, atoms)
        return CalculatorCopies(make_calculator(model, self.folder / "models"), atoms)


def plan(
    models: Sequence[EvaluatedModel],
    structures: dict[str, Atoms],
    config: StabilityConfig,
    folder: Path,
) -> Runs:
    """Plan all runs, and export the networks to files."""
    runners: list[Runner] = []
    for model in models:
        model.check(sorted({int(z) for atoms in structures.values() for z in atoms.numbers}))
        if isinstance(model, TeacherModel) and model.n_members > 1:
            prefix, colon, _ = model.name.rpartition(": ")
            single = model.members_name if model.members_name != "member" else f"{model.name}, one"
            runners += [
                Runner(f"{prefix}{colon}{single}", TeacherModel(teacher.name, (teacher,)), True)
                for teacher in model.teachers[: config.n_teachers]
            ]
        runners.append(Runner(model.name, model))
    for runner in runners:
        as_file(runner.model, folder / "models")
    runs = Runs(runners, structures, config, folder)
    survival_seeds = [config.seed + k for k in range(config.n_seeds)]
    drift_seeds = [config.seed + k for k in range(config.drift.n_seeds)]
    for r, runner in enumerate(runners):
        for s in range(len(structures)):
            for kind, values, seeds in (
                ("survival", config.temperatures, survival_seeds),
                ("drift", config.drift.timesteps, drift_seeds),
            ):
                for value in values:
                    # Exported models evaluate all seeds at once; for LAMMPS and calculators this
                    # has no advantage.
                    trial = Task(r, s, kind, value, ())
                    together = _file(runner.model, folder) and runs.engine(trial) == "ASE"
                    size = _SEEDS_TOGETHER if together else 1
                    runs.tasks.extend(
                        Task(r, s, kind, value, tuple(seeds[k : k + size]))
                        for k in range(0, len(seeds), size)
                    )
    return runs


def complete(runs: Runs, n_workers: int | None, progress: bool) -> None:
    """Run all unfinished tasks.

    Raises:
        LammpsError: LAMMPS cannot be started.
        TeacherError: a process was lost.
    """
    missing = [k for k, task in enumerate(runs.tasks) if runs.load(task) is None]
    whole = [round(1e3 * task.picoseconds(runs.config)) for task in runs.tasks]
    total = sum(whole) // 1000
    there = total - sum(whole[k] for k in missing) // 1000
    n_workers = min(n_workers or workers.default_workers(), len(missing))
    if not missing:
        return
    with Counter("ps of trajectories", total, there, enabled=progress) as counter:
        told = dict.fromkeys(missing, 0.0)
        shown = 0

        def advance(number: int, picoseconds: float | None) -> None:
            nonlocal shown
            limit = whole[number] / 1000
            ended = limit if picoseconds is None else min(told[number] + picoseconds, limit)
            told[number] = ended
            whole_now = int(sum(told.values()))
            if whole_now > shown:
                counter.add(whole_now - shown)
                shown = whole_now

        def listen(event: workers.Event) -> None:
            if event.kind == "report":
                advance(event.task, event.content["ps"])
            elif event.kind == "done":
                advance(event.task, None)

        workers.complete(
            runs,
            missing,
            n_workers,
            listen,
            name=lambda number: f"runs of {runs.runners[runs.tasks[number].runner].model.name}",
            lost=TeacherError,
            advice=f"Finished runs in '{runs.folder}' are kept: run the same command again",
        )


def read_structures(configs: Sequence[StructureConfig]) -> dict[str, Atoms]:
    """Read starting structures; return them by name.

    Raises:
        ConfigError: an unknown molecule, or two structures with the same name.
        DataError: a file cannot be read.
    """
    found: dict[str, Atoms] = {}
    for config in configs:
        if config.molecule is not None:
            frames, name = [molecule(config.molecule)], config.name or config.molecule
        else:
            assert config.path is not None
            frames, name = _frames(config.path, config.frames), config.name or config.path.stem
        for k, frame in enumerate(frames):
            title = name if len(frames) == 1 else f"{name} {k}"
            if title in found:
                raise ConfigError(
                    f"several structures are called '{title}'; give them names",
                    code="EKD-CONFIG-010",
                )
            found[title] = Atoms(
                numbers=frame.numbers,
                positions=frame.positions,
                cell=frame.cell if frame.pbc.any() else None,
                pbc=frame.pbc,
            )
    return found


def _frames(path: Path, which: str) -> list[Atoms]:
    if not path.is_file():
        raise DataError(f"structure file '{path}' not found; check the path", code="EKD-DATA-001")
    try:
        index = which if ":" in which else f"{int(which)}:{int(which) + 1 or ''}"
        frames = list(read_frames(path, index))
    except Exception as error:  # exceptions differ between ASE formats
        raise DataError(
            f"'{path}' cannot be read by ASE ({type(error).__name__}: {error}); give a structure "
            "file, and frames as '0', ':' or '::10'",
            code="EKD-DATA-027",
        ) from None
    if not frames or any(len(frame) == 0 for frame in frames):
        raise DataError(f"'{path}' has no structure at frames '{which}'", code="EKD-DATA-053")
    return frames


def _identity(atoms: Atoms) -> dict[str, Any]:
    """Return the data that identify a structure."""
    return {
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.array.tolist(),
        "pbc": atoms.pbc.tolist(),
    }


def _digest(identity: dict[str, Any]) -> str:
    text = json.dumps(identity, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _file(model: EvaluatedModel, folder: Path) -> Path | None:
    return as_file(model, folder / "models")
