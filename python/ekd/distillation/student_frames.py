"""Frames of the students' dynamics: force errors, and selection for training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ekd.data import Dataset
from ekd.training import (
    Ensemble,
    TrainedModel,
)


def force_errors(
    students: TrainedModel | Ensemble, frames: Dataset, forces: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean over the atoms of each configuration of ``|F_student - F_teachers|``, [n] eV/Å.

    Args:
        students: one student, or several, whose mean is used.
        frames: configurations.
        forces: forces of the teachers, [n_atoms, 3] eV/Å.
    """
    difference = np.linalg.norm(
        Ensemble(members_of(students)).predict(frames).forces - forces, axis=1
    )
    errors: NDArray[np.float64] = np.add.reduceat(difference, frames.offsets[:-1])
    return errors / frames.n_atoms_per_config


def most_frames(n_others: int, ratio: float) -> int:
    """Return the maximum number of frames for a fraction of at most ``ratio`` of all."""
    return int(ratio * n_others / (1 - ratio) + 1e-9)


def choose(errors: NDArray[np.float64], n_most: int) -> NDArray[np.int64]:
    """Return the indices of the largest errors, in ascending order; ties go to the first."""
    return np.sort(np.argsort(-errors, kind="stable")[:n_most])


def members_of(students: TrainedModel | Ensemble) -> list[TrainedModel]:
    """Return one or several students as a list."""
    return [students] if isinstance(students, TrainedModel) else students.members


def atom_mean(errors: NDArray[np.float64], frames: Dataset) -> float:
    """Return the mean over the atoms of all frames, given the means of each frame."""
    return float(np.average(errors, weights=frames.n_atoms_per_config))
