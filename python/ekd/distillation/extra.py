"""Extra configurations, which are not part of the data: teachers label them for the student.

They have no true energies; the energies of the datasets made here are NaN.
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
    """Copy configurations with random displacements of all atoms.

    Args:
        data: structures. Use only those of the training part: copies of held-out configurations
            would leak into the training.
        displacement: standard deviation of each component, Å.
        n_copies: number of copies per configuration.
        seed: seed of the displacements.

    Raises:
        ConfigError: ``n_copies`` or ``displacement`` is not positive.
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
    """Return only the geometries of a dataset, with NaN energies and no forces."""
    return replace(data, energies=np.full(len(data), np.nan), forces=None, reference_energies=None)


def read_structures(path: str | os.PathLike[str]) -> Dataset:
    """Read structures from any file that ASE reads, or from a pool or prepared file.

    Energies and forces in the file are ignored.

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
    except Exception as error:  # exceptions differ between ASE formats
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
    """Sample snapshots of Langevin dynamics with the mean forces of an ensemble.

    Each configuration starts one trajectory, and the trajectories of a chunk run together, see
    :func:`ekd.distillation.langevin.snapshots_of`. A trajectory ends early if atoms come closer
    than 0.4 Å or forces exceed 100 eV/Å, because the teachers are not reliable there.

    Args:
        teachers: ensemble of ekd networks.
        data: starting configurations; use only those of the training part.
        n_snapshots: number of snapshots per trajectory.
        interval: time between snapshots, ps.
        temperature: temperature, K.
        timestep: time step, ps.
        friction: friction of the thermostat, 1/ps.
        seed: seed of velocities and thermostat.
        chunk_size: trajectories per chunk.
        n_workers: number of processes; None: ``EKD_WORKERS`` if set, else one per core.
        directory: folder for finished chunks, to be removed by the caller; None: keep no files.
        resume: continue from the chunks in the directory, with a bitwise identical result.
        progress: show progress on standard error.
        wall: disagreement penalty, added to the mean energy as in the labels; None: no penalty.

    Raises:
        ConfigError: a number that must be positive is not.
        DataError: the chunks in the directory belong to another calculation, or all trajectories
            ended before their first snapshot.
        StructureError: the data contain an element that the teachers do not support.
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
    """Driver that moves the atoms with the mean forces of the teachers."""

    ensemble: Ensemble
    wall: WallConfig | None

    def begin(self, start: Dataset) -> _Known:
        models = [member.in_float64() for member in self.ensemble.members]
        return _Known(models, start, self.wall)


@dataclass(frozen=True)
class _Known:
    """Mean forces of the teachers for moving configurations.

    Attributes:
        models: the teachers.
        start: the configurations.
        wall: disagreement penalty, or None.
    """

    models: list[HIPNN]
    start: Dataset
    wall: WallConfig | None

    def forces(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean forces of the teachers plus those of the wall, [n_atoms, 3] eV/Å."""
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
        """Accept every snapshot."""
        return np.zeros(len(running), dtype=np.int8)
