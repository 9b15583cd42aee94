"""Configurations beyond the data: the teachers label them, and the student learns from them too.

None has a true energy; the datasets that are made here have NaN in its place.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd.config import WallConfig
from ekd.data import Dataset, Provenance, prepared
from ekd.data.combine import concatenate
from ekd.data.frames import read_frames
from ekd.data.readers.hdf5_walk import SUFFIXES
from ekd.distillation.langevin import moved, require_positive, snapshots_of
from ekd.distillation.wall import wall_of_spread
from ekd.errors import ConfigError, DataError
from ekd.models import HIPNN
from ekd.training import Ensemble
from ekd.training.ensemble import evaluate_models


def perturb(data: Dataset, displacement: float, n_copies: int = 1, seed: int = 0) -> Dataset:
    """Copies of configurations with every atom displaced at random.

    Args:
        data: structures, best those of the training part alone: a copy of a held-out one would
            tell the student about it.
        displacement: standard deviation of each component, Å.
        n_copies: of every configuration.
        seed: of the displacements.

    Raises:
        ConfigError: no copy, or a displacement that is not positive.
    """
    if n_copies < 1 or not displacement > 0:
        raise ConfigError(
            f"{n_copies} copies displaced by {displacement} Å; at least 1 copy and a positive "
            "displacement are needed",
            code="EKD-CONFIG-011",
        )
    random = np.random.default_rng(seed)
    shape = data.positions.shape
    return concatenate(
        *(
            moved(data, data.positions + random.normal(scale=displacement, size=shape))
            for _ in range(n_copies)
        )
    )


def without_energies(data: Dataset) -> Dataset:
    """The geometries of a dataset alone: NaN for energies, no forces."""
    return replace(data, energies=np.full(len(data), np.nan), forces=None, reference_energies=None)


def read_structures(path: str | os.PathLike[str]) -> Dataset:
    """Read structures from any file that ASE reads, or from a pool or prepared file of ekd.

    Energies and forces in it are ignored.

    Raises:
        DataError: the file is missing, cannot be read, or has no structures.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"structure file '{path}' not found; check the path", code="EKD-DATA-001")
    if path.suffix.lower() in SUFFIXES:
        return without_energies(prepared.load(path))
    try:
        frames = list(read_frames(path))
    except Exception as error:  # each of ASE's formats fails in its own way
        raise DataError(
            f"'{path}' cannot be read by ASE ({type(error).__name__}: {error}); give extended XYZ "
            "or another format of ASE",
            code="EKD-DATA-027",
        ) from None
    if not frames or any(len(frame) == 0 for frame in frames):
        raise DataError(
            f"'{path}' has {'an empty structure' if frames else 'no structures'}",
            code="EKD-DATA-053",
        )
    pbc = np.array([frame.pbc for frame in frames])
    return Dataset(
        atomic_numbers=np.concatenate([frame.numbers for frame in frames]).astype(np.int64),
        positions=np.concatenate([frame.positions for frame in frames]),
        offsets=np.concatenate([[0], np.cumsum([len(frame) for frame in frames])]),
        energies=np.full(len(frames), np.nan),
        groups=np.array([frame.get_chemical_formula() for frame in frames]),
        provenance=Provenance(str(path), "", "none", 0),
        cells=np.array([frame.cell.array for frame in frames]) if pbc.any() else None,
        pbc=pbc if pbc.any() else None,
    )


def sample_md(
    teachers: Ensemble,
    data: Dataset,
    n_snapshots: int = 10,
    interval: float = 0.02,
    temperature: float = 300.0,
    timestep: float = 0.5e-3,
    friction: float = 10.0,
    seed: int = 0,
    chunk_size: int = 100,
    n_workers: int | None = None,
    directory: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = True,
    wall: WallConfig | None = None,
) -> Dataset:
    """Snapshots of Langevin dynamics with the mean forces of an ensemble.

    Every configuration starts one trajectory, and all of a chunk move together, see
    :func:`ekd.distillation.langevin.snapshots_of`. A trajectory ends early where atoms come closer
    than 0.4 Å or forces exceed 100 eV/Å: there the teachers know nothing, and no snapshot is taken.

    Args:
        teachers: networks of ekd.
        data: where trajectories start, best in the training part alone.
        n_snapshots: of every trajectory.
        interval: ps between them.
        temperature: K.
        timestep: ps.
        friction: 1/ps.
        seed: of velocities and thermostat.
        chunk_size: trajectories per chunk.
        n_workers: processes; None: one per core.
        directory: for finished chunks; None keeps nothing. Remove it when the result is safe.
        resume: continue from the chunks in the directory, with the same result bit by bit.
        progress: show progress on standard error, if it is a terminal.
        wall: added to the mean energy where the teachers disagree, as in the labels; None: nothing.

    Raises:
        ConfigError: a number that must be positive is not.
        DataError: the chunks in the directory belong to something else, or every trajectory ended
            before its first snapshot.
        StructureError: the data hold an element that the teachers do not know.
        TeacherError: a process was lost.
    """
    settings = {
        "n_snapshots": n_snapshots,
        "interval": interval,
        "temperature": temperature,
        "timestep": timestep,
        "friction": friction,
        "chunk_size": chunk_size,
    }
    require_positive(settings)
    plan: dict[str, Any] = {
        **settings,
        "seed": seed,
        "wall": wall.model_dump() if wall is not None and wall.strength else None,
        "data": data.fingerprint,
        "teachers": [model.sha256 for model in teachers.members],
    }
    driver = _Teachers(teachers, wall if plan["wall"] else None)
    with contextlib.ExitStack() as stack:
        if directory is None:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="ekd-"))
        found = snapshots_of(driver, data, plan, directory, resume, n_workers, progress).frames
    if found is None:
        raise DataError(
            "every trajectory of the ensemble ended before its first snapshot; lower temperature "
            "or interval, or train the teachers longer",
            code="EKD-LABELS-008",
        )
    return found


@dataclass(frozen=True)
class _Teachers:
    """They move the atoms with their mean forces."""

    ensemble: Ensemble
    wall: WallConfig | None

    def begin(self, start: Dataset) -> _Known:
        models = [member.in_float64() for member in self.ensemble.members]
        return _Known(models, start, self.wall)


@dataclass(frozen=True)
class _Known:
    """What the teachers know about configurations, wherever those have moved.

    Attributes:
        models: the teachers.
        start: the configurations.
        wall: where they disagree.
    """

    models: list[HIPNN]
    start: Dataset
    wall: WallConfig | None

    def forces(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean over the teachers, and those of the wall, [n_atoms, 3] eV/Å."""
        predictions = evaluate_models(self.models, replace(self.start, positions=positions))
        forces = np.stack([predicted.forces for predicted in predictions])
        mean: NDArray[np.float64] = forces.mean(0)
        if self.wall is None:
            return mean
        energies = np.stack([predicted.energies for predicted in predictions])
        return mean + wall_of_spread(energies, forces, self.start.n_atoms_per_config, self.wall)[1]

    def verdict(
        self, positions: NDArray[np.float64], running: NDArray[np.bool_]
    ) -> NDArray[np.int8]:
        """Every snapshot is welcome."""
        return np.zeros(len(running), dtype=np.int8)
