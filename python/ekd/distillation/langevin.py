"""Snapshots of Langevin dynamics of many configurations at once, in chunks that are kept.

A :class:`Driver` provides the forces, and decides which snapshots to keep.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Protocol

import numpy as np
from ase import units
from ase.data import atomic_masses
from numpy.typing import NDArray

from ekd import workers
from ekd.data import Dataset
from ekd.data.combine import concatenate
from ekd.distillation.parts import Arrays, Parts
from ekd.errors import ConfigError
from ekd.locks import locked_file
from ekd.neighbor_list import batched_neighbor_list
from ekd.training.torch_threads import one_thread

CLOSEST = 0.4
"""Å; if atoms come closer, the potential is wrong."""

LARGEST_FORCE = 100.0
"""eV/Å; if a force is larger, the potential is wrong."""


class Langevin:
    """Langevin dynamics with the BAOAB integrator.

    Leimkuhler and Matthews, Appl. Math. Res. eXpress 2013, 34 (2013). A step consists of a
    :meth:`drift`, a force evaluation, and a :meth:`kick`.

    Args:
        atomic_numbers: atomic numbers, [n_atoms].
        temperature: temperature, K.
        timestep: time step, ps.
        friction: friction, 1/ps.
        random: random number generator for velocities and noise.
    """

    def __init__(
        self,
        atomic_numbers: NDArray[np.integer[Any]],
        temperature: float,
        timestep: float,
        friction: float,
        random: np.random.Generator,
    ) -> None:
        self._masses = atomic_masses[atomic_numbers][:, None]
        self._thermal = np.sqrt(units.kB * temperature / self._masses)
        self._step = timestep * 1e3 * units.fs
        self._decay = np.exp(-friction * timestep)
        self._noise = np.sqrt(1 - self._decay**2)
        self._shape = (len(atomic_numbers), 3)
        self._random = random

    def velocities(self, factor: float = 1.0) -> NDArray[np.float64]:
        """Draw thermal velocities times a factor, [n_atoms, 3] in ASE units."""
        return np.asarray(factor * self._thermal * self._random.standard_normal(self._shape))

    def drift(
        self,
        positions: NDArray[np.float64],
        velocities: NDArray[np.float64],
        forces: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return positions after a step (Å), and velocities before the kick by the new forces."""
        velocities = self.kick(velocities, forces)
        positions = positions + 0.5 * self._step * velocities
        scatter = self._noise * self._thermal * self._random.standard_normal(self._shape)
        velocities = self._decay * velocities + scatter
        return positions + 0.5 * self._step * velocities, velocities

    def kick(
        self, velocities: NDArray[np.float64], forces: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return velocities after half a step with forces in eV/Å."""
        return np.asarray(velocities + 0.5 * self._step * (forces / self._masses))


class End(IntEnum):
    """Why a trajectory ended."""

    NONE = 0
    TOO_CLOSE = 1
    LARGE_FORCES = 2
    SPREAD = 3


class Walk(Protocol):
    """Forces and verdicts for some configurations at any positions."""

    def forces(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the forces that move the atoms, [n_atoms, 3] eV/Å."""

    def verdict(
        self, positions: NDArray[np.float64], running: NDArray[np.bool_]
    ) -> NDArray[np.int8]:
        """Decide which trajectories end at a snapshot: :class:`End`, [n_configs].

        Values for trajectories that are not running are ignored.
        """


class Driver(Protocol):
    """Makes walks; each worker process gets a copy."""

    def begin(self, start: Dataset) -> Walk:
        """Make the walk of these configurations."""


@dataclass(frozen=True)
class Snapshots:
    """Snapshots of trajectories.

    Attributes:
        frames: snapshots, ordered by chunk and then by time; None if there are none.
        ends: why each trajectory ended, :class:`End`, int8 [n_trajectories].
    """

    frames: Dataset | None
    ends: NDArray[np.int8]


def require_positive(settings: Mapping[str, float]) -> None:
    """Check the settings of the dynamics.

    Raises:
        ConfigError: one is not positive.
    """
    wrong = [f"{name} = {value}" for name, value in settings.items() if not value > 0]
    if wrong:
        raise ConfigError(f"{', '.join(wrong)}; expected a positive number", code="EKD-CONFIG-011")


def snapshots_of(
    driver: Driver,
    data: Dataset,
    plan: dict[str, Any],
    directory: str | os.PathLike[str],
    resume: bool,
    n_workers: int | None,
    progress: bool,
    name: str = "trajectories",
) -> Snapshots:
    """Run a trajectory from every configuration, all of a chunk together.

    The integrator is :class:`Langevin`. A trajectory ends early where atoms come closer than 0.4 Å,
    forces exceed 100 eV/Å, or the driver says so of a snapshot, which is then not taken.

    Args:
        driver: source of the forces.
        data: starting configurations.
        plan: everything that the trajectories depend on, as JSON values, including ``n_snapshots,
            interval, temperature, timestep, friction, chunk_size`` and ``seed``.
        directory: folder for finished chunks.
        resume: continue from the chunks in the directory, with a bitwise identical result.
        n_workers: number of processes; None: ``EKD_WORKERS`` if set, else one per core.
        progress: show progress on standard error.
        name: name of the trajectories in the progress bar.

    Raises:
        DataError: the chunks in the directory belong to another calculation.
        TeacherError: a process was lost.
    """
    with locked_file(directory):  # the lock is next to the folder, which may be removed first
        parts = Parts(directory, plan, resume)
        job = _Dynamics(driver, data, parts, plan)
        chunks = range(-(-len(data) // int(plan["chunk_size"])))
        sizes = [len(job.chunk(number)) for number in chunks]
        parts.complete(job, sizes, n_workers, name=name, progress=progress)
    frames, ends = [], []
    for number in chunks:
        arrays, start = parts.load(number), job.chunk(number)
        ends.append(arrays["ends"])
        for positions, running in zip(arrays["positions"], arrays["running"], strict=True):
            if running.any():
                frames.append(moved(start, positions).subset(running))
    return Snapshots(concatenate(*frames) if frames else None, np.concatenate(ends))


def moved(data: Dataset, positions: NDArray[np.float64]) -> Dataset:
    """Return the configurations at other positions, without energies and forces."""
    return replace(data, positions=positions, energies=np.full(len(data), np.nan), forces=None)


@dataclass(frozen=True)
class _Dynamics:
    """Job that runs trajectories in worker processes."""

    driver: Driver
    data: Dataset
    parts: Parts
    plan: dict[str, Any]

    def chunk(self, number: int) -> Dataset:
        size = int(self.plan["chunk_size"])
        return self.data.subset(np.arange(number * size, min((number + 1) * size, len(self.data))))

    def run(self, number: int, report: workers.Report) -> None:
        random = np.random.default_rng([int(self.plan["seed"]), number])
        with one_thread():
            start = self.chunk(number)
            walk = self.driver.begin(start)
            self.parts.save(number, _trajectories(walk, start, self.plan, random))


def _trajectories(
    walk: Walk, start: Dataset, plan: dict[str, Any], random: np.random.Generator
) -> Arrays:
    """Run trajectories.

    Returns:
        ``positions`` [n_snapshots, n_atoms, 3] Å, which configurations were ``running``,
        [n_snapshots, n_configs], and ``ends``, int8 [n_configs].
    """
    langevin = Langevin(
        start.atomic_numbers, plan["temperature"], plan["timestep"], plan["friction"], random
    )
    n_between = max(1, round(plan["interval"] / plan["timestep"]))
    positions = start.positions.copy()
    velocities = langevin.velocities()
    ends = np.zeros(len(start), dtype=np.int8)
    running = ends == End.NONE
    forces = walk.forces(positions)
    saved_positions, saved_running = [], []
    for count in range(1, n_between * int(plan["n_snapshots"]) + 1):
        before = positions
        positions, velocities = langevin.drift(positions, velocities, forces)
        ends[running & _too_close(start, positions)] = End.TOO_CLOSE
        running = ends == End.NONE
        # Atoms of ended trajectories stay in place while the others continue.
        positions = np.where(running[start.config_index][:, None], positions, before)
        forces = walk.forces(positions)
        ends[running & are_large(start, forces)] = End.LARGE_FORCES
        running = ends == End.NONE
        moving = running[start.config_index][:, None]
        forces = np.where(moving, forces, 0.0)
        velocities = np.where(moving, langevin.kick(velocities, forces), 0.0)
        if count % n_between == 0:
            if running.any():
                ends = np.where(running, walk.verdict(positions, running), ends)
                running = ends == End.NONE
            saved_positions.append(positions)
            saved_running.append(running)
    return {
        "positions": np.stack(saved_positions),
        "running": np.stack(saved_running),
        "ends": ends,
    }


def are_large(data: Dataset, forces: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether forces of a configuration are too large or not finite, [n_configs]."""
    tame = np.abs(forces) < LARGEST_FORCE  # also false if they are not finite
    return ~np.logical_and.reduceat(tame.all(axis=1), data.offsets[:-1])


def _too_close(data: Dataset, positions: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether two atoms of a configuration are too close, [n_configs]."""
    found = batched_neighbor_list(positions, data.offsets, CLOSEST, data.cells, data.pbc)
    return np.diff(found.pair_offsets) > 0
