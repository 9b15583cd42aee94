"""Runs in ASE: all seeds of a structure move together, with independent random numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.velocitydistribution import Stationary, ZeroRotation
from ase.md.verlet import VelocityVerlet
from numpy.typing import NDArray

from ekd.dynamics.failures import Watch, temperature_of
from ekd.dynamics.forces import Copies, CopiesCalculator
from ekd.dynamics.stability_settings import DriftConfig, StabilityConfig
from ekd.errors import StructureError
from ekd.evaluation.trajectories import energy_drift

Array = NDArray[np.float64]

_PICOSECOND = 1e3 * units.fs


@dataclass(frozen=True)
class Outcome:
    """Outcome of one run.

    Attributes:
        seed: seed of the run.
        time: duration until failure or the end, ps.
        failure: a key of :data:`ekd.dynamics.failures.KINDS`; None: the run did not fail.
    """

    seed: int
    time: float
    failure: str | None


@dataclass(frozen=True)
class DriftOutcome:
    """Energy drift of one run at constant energy.

    Attributes:
        seed: seed of the run.
        timestep: time step, ps.
        slope: drift of the total energy, eV/atom/ps; None if the run failed.
        fluctuation: root mean square deviation from the fitted line, eV/atom.
        failure: as for :class:`Outcome`.
    """

    seed: int
    timestep: float
    slope: float | None
    fluctuation: float | None
    failure: str | None


class _Streams:
    """Random numbers of all copies; those of a copy do not depend on the other copies."""

    def __init__(self, generators: Sequence[np.random.Generator]) -> None:
        self.generators = list(generators)

    def standard_normal(self, size: tuple[int, int]) -> Array:
        rows = size[0] // len(self.generators)
        return np.concatenate([g.standard_normal((rows, size[1])) for g in self.generators])


class Flock:
    """Copies of a structure that move simultaneously.

    Args:
        atoms: the structure.
        copies: evaluator of the copies.
        seeds: seed of each copy.
        temperature: temperature of the initial velocities, K; there is no net momentum or rotation.
    """

    def __init__(
        self, atoms: Atoms, copies: Copies, seeds: Sequence[int], temperature: float
    ) -> None:
        self._atoms, self._copies = atoms, copies
        self._generators = [np.random.default_rng([seed, len(atoms)]) for seed in seeds]
        self.seeds = list(seeds)
        momenta = []
        for generator in self._generators:
            one = atoms.copy()
            thermal = np.sqrt(one.get_masses() * units.kB * temperature)[:, None]
            one.set_momenta(thermal * generator.standard_normal((len(atoms), 3)))
            Stationary(one)
            if not atoms.pbc.any() and len(atoms) > 2:
                ZeroRotation(one)
            momenta.append(one.get_momenta())
        positions = np.tile(atoms.positions, (len(seeds), 1, 1))
        self._gather(positions, np.array(momenta).reshape(positions.shape))
        self.moving.get_forces()
        self.start_energies = self.calculator.energies.copy()
        if any(self.calculator.lost):
            raise StructureError(
                f"{atoms.get_chemical_formula()} cannot be evaluated at the start of its runs; "
                "check the structure, and that the model supports it",
                code="EKD-STRUCTURE-015",
            )

    def _gather(self, positions: Array, momenta: Array) -> None:
        n_copies = len(positions)
        self.moving = Atoms(
            numbers=np.tile(self._atoms.numbers, n_copies),
            positions=positions.reshape(-1, 3),
            masses=np.tile(self._atoms.get_masses(), n_copies),
        )
        self.moving.set_momenta(momenta.reshape(-1, 3))
        self.calculator = CopiesCalculator(self._copies, self._atoms.positions, n_copies)
        self.moving.calc = self.calculator

    def langevin(self, timestep: float, temperature: float, friction: float) -> MolecularDynamics:
        """Make a Langevin integrator (ps, K, 1/ps)."""
        return Langevin(
            self.moving,
            timestep * _PICOSECOND,
            temperature_K=temperature,
            friction=friction / _PICOSECOND,
            fixcm=False,
            rng=_Streams(self._generators),
        )

    def verlet(self, timestep: float) -> MolecularDynamics:
        """Make an integrator at constant energy (ps)."""
        return VelocityVerlet(self.moving, timestep * _PICOSECOND)

    @property
    def positions(self) -> Array:
        """Positions, [n_copies, n_atoms, 3] Å."""
        result: Array = self.moving.positions.reshape(len(self.seeds), -1, 3)
        return result

    @property
    def momenta(self) -> Array:
        """Momenta, [n_copies, n_atoms, 3] in ASE units."""
        result: Array = self.moving.get_momenta().reshape(len(self.seeds), -1, 3)
        return result

    def kinetic_energies(self) -> Array:
        """Return the kinetic energies, [n_copies] eV."""
        masses = self._atoms.get_masses()[:, None]
        result: Array = 0.5 * np.sum(self.momenta**2 / masses, axis=(1, 2))
        return result

    def failures(self, watch: Watch) -> list[str | None]:
        """Return the failure of each copy, or None."""
        masses = self._atoms.get_masses()
        changes = self.calculator.energies - self.start_energies
        return [
            self.calculator.lost[k]
            or watch.look(self.positions[k], temperature_of(self.momenta[k], masses), changes[k])
            for k in range(len(self.seeds))
        ]

    def keep(self, rows: Sequence[int]) -> None:
        """Keep only some of the copies; new integrators must then be made."""
        positions, momenta = self.positions[rows].copy(), self.momenta[rows].copy()
        self._generators = [self._generators[k] for k in rows]
        self.seeds = [self.seeds[k] for k in rows]
        self.start_energies = self.start_energies[rows]
        if len(rows):
            self._gather(positions, momenta)


def run_survival(
    atoms: Atoms,
    copies: Copies,
    temperature: float,
    seeds: Sequence[int],
    config: StabilityConfig,
    report: Callable[[float], None],
) -> list[Outcome]:
    """Run Langevin dynamics of copies of a structure until each has failed or reached its end.

    Args:
        atoms: starting structure.
        copies: evaluator of the copies.
        temperature: temperature, K.
        seeds: seeds of the runs.
        config: duration, time step, friction and failure criteria.
        report: progress callback, called with the simulated time since the last call, ps.
    """
    watch = Watch(atoms, config.failure, temperature)
    flock = Flock(atoms, copies, seeds, temperature)
    span = config.check_every * config.timestep
    n_checks = max(1, round(config.duration / span))
    outcomes: list[Outcome] = []
    with _quiet():
        integrator = flock.langevin(config.timestep, temperature, config.friction)
        for check in range(1, n_checks + 1):
            integrator.run(config.check_every)
            found = flock.failures(watch)
            report(span)
            failed = [k for k, kind in enumerate(found) if kind is not None]
            outcomes += [Outcome(flock.seeds[k], check * span, found[k]) for k in failed]
            if failed:
                flock.keep([k for k in range(len(found)) if k not in failed])
                if not flock.seeds:
                    report((n_checks - check) * span)
                    break
                integrator = flock.langevin(config.timestep, temperature, config.friction)
    outcomes += [Outcome(seed, n_checks * span, None) for seed in flock.seeds]
    return sorted(outcomes, key=lambda outcome: outcome.seed)


def run_drift(
    atoms: Atoms,
    copies: Copies,
    timestep: float,
    seeds: Sequence[int],
    config: StabilityConfig,
    report: Callable[[float], None],
) -> list[DriftOutcome]:
    """Equilibrate with a thermostat, continue without, and fit a line to the total energy."""
    drift: DriftConfig = config.drift
    watch = Watch(atoms, config.failure, drift.temperature)
    flock = Flock(atoms, copies, seeds, drift.temperature)
    every = max(1, round(drift.duration / timestep / 1000))
    n_samples = max(2, round(drift.duration / timestep / every))
    outcomes: list[DriftOutcome] = []
    with _quiet():
        n_steps = max(1, round(drift.equilibration / drift.bath_timestep))
        flock.langevin(drift.bath_timestep, drift.temperature, config.friction).run(n_steps)
        report(drift.equilibration)
        integrator = flock.verlet(timestep)
        series: dict[int, list[float]] = {seed: [] for seed in seeds}
        for check in range(n_samples + 1):
            if check:
                integrator.run(every)
                report(every * timestep)
            found = flock.failures(watch)
            totals = flock.calculator.energies + flock.kinetic_energies()
            for k, seed in enumerate(flock.seeds):
                series[seed].append(float(totals[k]))
            failed = [k for k, kind in enumerate(found) if kind is not None]
            outcomes += [
                DriftOutcome(flock.seeds[k], timestep, None, None, found[k]) for k in failed
            ]
            if failed:
                flock.keep([k for k in range(len(found)) if k not in failed])
                if not flock.seeds:
                    report((n_samples - check) * every * timestep)
                    break
                integrator = flock.verlet(timestep)
    for seed in flock.seeds:
        outcomes.append(drift_of(seed, timestep, every * timestep, series[seed], len(atoms)))
    return sorted(outcomes, key=lambda outcome: outcome.seed)


def drift_of(
    seed: int, timestep: float, interval: float, totals: Sequence[float], n_atoms: int
) -> DriftOutcome:
    """Fit the slope of the total energy of a run, sampled every ``interval`` ps."""
    time, energy = np.arange(len(totals)) * interval, np.asarray(totals)
    slope = energy_drift(time, energy, n_atoms).slope
    deviation = (energy - energy[0]) / n_atoms - slope * time
    return DriftOutcome(seed, timestep, slope, float(np.std(deviation)), None)


def _quiet() -> warnings.catch_warnings:
    """Ignore numerical warnings of failing runs, which are an expected result."""
    return warnings.catch_warnings(action="ignore", category=RuntimeWarning)
