"""Frames of the students' dynamics: how wrong students are there, and which are trained on."""

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
        students: of several, the mean counts.
        frames: configurations.
        forces: of the teachers, [n_atoms, 3] eV/Å.
    """
    difference = np.linalg.norm(
        Ensemble(members_of(students)).predict(frames).forces - forces, axis=1
    )
    errors: NDArray[np.float64] = np.add.reduceat(difference, frames.offsets[:-1])
    return errors / frames.n_atoms_per_config


def most_frames(n_others: int, ratio: float) -> int:
    """The most frames that are no larger a share than ``ratio`` beside other configurations."""
    return int(ratio * n_others / (1 - ratio) + 1e-9)


def choose(errors: NDArray[np.float64], n_most: int) -> NDArray[np.int64]:
    """Numbers of the largest errors, in rising order; of equal ones the first are taken."""
    return np.sort(np.argsort(-errors, kind="stable")[:n_most])


def members_of(students: TrainedModel | Ensemble) -> list[TrainedModel]:
    """One student or several, as a list."""
    return [students] if isinstance(students, TrainedModel) else students.members


def atom_mean(errors: NDArray[np.float64], frames: Dataset) -> float:
    """Over the atoms of all frames."""
    return float(np.average(errors, weights=frames.n_atoms_per_config))
