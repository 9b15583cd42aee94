"""Runs in LAMMPS for periodic boxes: one seed at a time, analyzed at the end of the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from ekd.dynamics.failures import Watch
from ekd.dynamics.replicas import DriftOutcome, Outcome, drift_of
from ekd.dynamics.stability_settings import StabilityConfig
from ekd.errors import LammpsError
from ekd.lammps import inputs
from ekd.lammps.logs import Table, read_dump_frames, read_thermo
from ekd.lammps.run import start


def run_survival(
    folder: Path,
    atoms: Atoms,
    model: Path,
    temperature: float,
    seeds: Sequence[int],
    config: StabilityConfig,
    report: Callable[[float], None],
) -> list[Outcome]:
    """Run survival tests in LAMMPS; like :func:`ekd.dynamics.replicas.run_survival` in ASE.

    Raises:
        LammpsError: LAMMPS is missing, or stops before the first step.
    """
    atoms = inputs.lower_triangular(atoms)
    watch = Watch(atoms, config.failure, temperature)
    span = config.check_every * config.timestep
    n_checks = max(1, round(config.duration / span))
    outcomes = []
    for seed in seeds:
        place = folder / f"seed-{seed}"
        run = inputs.stability(
            place,
            atoms,
            model,
            temperature,
            seed,
            config.timestep,
            config.friction,
            config.check_every,
            bath_steps=n_checks * config.check_every,
            hottest=watch.hottest,
        )
        progress = _Progress(report, n_checks * span / run.n_steps)
        gave_up = _start(run, progress)
        outcome = _first_failure(place, read_thermo(run.log)[0], watch, atoms, span, seed)
        if outcome is None and gave_up:
            last = float(read_thermo(run.log)[0]["Step"][-1]) * config.timestep
            outcome = Outcome(seed, max(last, span), "engine")
        outcomes.append(outcome or Outcome(seed, n_checks * span, None))
        (place / "trajectory.dump").unlink(missing_ok=True)  # large, and no longer needed
        progress.tell(run.n_steps)
    return outcomes


def run_drift(
    folder: Path,
    atoms: Atoms,
    model: Path,
    timestep: float,
    seeds: Sequence[int],
    config: StabilityConfig,
    report: Callable[[float], None],
) -> list[DriftOutcome]:
    """Run drift tests in LAMMPS; like :func:`ekd.dynamics.replicas.run_drift` in ASE."""
    atoms = inputs.lower_triangular(atoms)
    drift = config.drift
    watch = Watch(atoms, config.failure, drift.temperature)
    every = max(1, round(drift.duration / timestep / 1000))
    free_steps = max(2, round(drift.duration / timestep / every)) * every
    outcomes = []
    for seed in seeds:
        place = folder / f"seed-{seed}"
        run = inputs.stability(
            place,
            atoms,
            model,
            drift.temperature,
            seed,
            timestep,
            config.friction,
            every,
            bath_steps=max(1, round(drift.equilibration / drift.bath_timestep)),
            bath_timestep=drift.bath_timestep,
            free_steps=free_steps,
            hottest=watch.hottest,
        )
        progress = _Progress(report, (drift.equilibration + drift.duration) / run.n_steps)
        gave_up = _start(run, progress)
        tables = read_thermo(run.log)
        (place / "trajectory.dump").unlink(missing_ok=True)
        if gave_up or len(tables) < 2 or tables[1]["Step"][-1] < run.n_steps:
            outcomes.append(
                DriftOutcome(seed, timestep, None, None, "engine" if gave_up else "temperature")
            )
        else:
            totals = tables[1]["TotEng"]
            outcomes.append(drift_of(seed, timestep, every * timestep, totals.tolist(), len(atoms)))
        progress.tell(run.n_steps)
    return outcomes


class _Progress:
    """Converts steps of LAMMPS to picoseconds for progress reports."""

    def __init__(self, report: Callable[[float], None], per_step: float) -> None:
        self._report, self._per_step, self._told = report, per_step, 0

    def tell(self, step: int) -> None:
        if step > self._told:
            self._report((step - self._told) * self._per_step)
            self._told = step


def _start(run: inputs.Run, progress: _Progress) -> bool:
    """Run to the end; return True if LAMMPS failed during the run, e.g. because of lost atoms."""
    try:
        start(run, progress=False, tell=progress.tell)
    except LammpsError:
        try:
            begun = len(read_thermo(run.log)[0]["Step"]) > 0
        except LammpsError:
            begun = False
        if not begun:
            raise
        return True
    return False


def _first_failure(
    folder: Path, thermo: Table, watch: Watch, atoms: Atoms, span: float, seed: int
) -> Outcome | None:
    begin = float(thermo["PotEng"][0])
    at_step = {int(step): k for k, step in enumerate(thermo["Step"])}
    for step, frame in read_dump_frames(folder / "trajectory.dump"):
        row = at_step.get(step)
        if row is None:
            continue
        positions = np.column_stack([frame["xu"], frame["yu"], frame["zu"]])
        change = float(thermo["PotEng"][row]) - begin
        kind = watch.look(positions, float(thermo["Temp"][row]), change)
        if kind is not None:
            time = float(thermo["Time"][row])
            return Outcome(seed, max(time, span), kind)
    return None
