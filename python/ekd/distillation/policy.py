"""Dynamics with the forces of the students, which end where the teachers disagree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ekd.data import Dataset
from ekd.distillation.langevin import End, are_large, moved
from ekd.models import HIPNN
from ekd.training import (
    Ensemble,
    EnsemblePredictions,
)
from ekd.training.ensemble import evaluate_models


@dataclass(frozen=True)
class Policy:
    """Driver whose students provide the forces and whose teachers decide where trajectories end."""

    students: Ensemble
    teachers: Ensemble
    max_spread: float

    def begin(self, start: Dataset) -> _Led:
        """Make the walk of these configurations."""
        students, teachers = (
            [member.in_float64() for member in each.members]
            for each in (self.students, self.teachers)
        )
        return _Led(students, teachers, self.max_spread, start)


@dataclass(frozen=True)
class _Led:
    """Configurations moved by the students."""

    students: list[HIPNN]
    teachers: list[HIPNN]
    max_spread: float
    start: Dataset

    def forces(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean forces of the students, [n_atoms, 3] eV/Å."""
        predictions = evaluate_models(self.students, moved(self.start, positions))
        mean: NDArray[np.float64] = np.mean([p.forces for p in predictions], axis=0)
        return mean

    def verdict(
        self, positions: NDArray[np.float64], running: NDArray[np.bool_]
    ) -> NDArray[np.int8]:
        """End trajectories where the teachers disagree too much or their forces are too large."""
        here = moved(self.start, positions).subset(running)
        found = EnsemblePredictions.of(evaluate_models(self.teachers, here))
        worst = np.maximum.reduceat(found.forces_std, here.offsets[:-1])
        ends = np.where(worst <= self.max_spread, End.NONE, End.SPREAD)  # also for NaN
        ends[(ends == End.NONE) & are_large(here, found.forces)] = End.LARGE_FORCES
        result = np.zeros(len(running), dtype=np.int8)
        result[running] = ends
        return result
