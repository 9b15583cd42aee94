"""Predictions of teachers, ensemble and student on a test set, and their errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ekd.data import Dataset
from ekd.distillation import ASETeacher, MemberTeacher
from ekd.distillation.teachers import predict_all
from ekd.evaluation import compare
from ekd.evaluation.accuracy import conformers, relative_errors
from ekd.evaluation.calibration import calibrate
from ekd.files import atomic_write
from ekd.training import Ensemble, EnsemblePredictions
from ekd.training.predictions import Predictions

NEAR, FAR = "predictions.npz", "predictions_far.npz"
"""Files of predictions in ``evaluation/``: for the test set and for the far set."""


@dataclass(frozen=True)
class Measured:
    """Predictions of all models on a set, with their errors.

    Attributes:
        truth: the set with reference data.
        members: predictions of each teacher.
        counting: whether the energies of each teacher are at the level of theory of the data.
        ensemble: mean and spread of the teachers; energies only of teachers with ``counting``.
        student: predictions of the student, or the mean of several students.
    """

    truth: Dataset
    members: list[Predictions]
    counting: list[bool]
    ensemble: EnsemblePredictions
    student: EnsemblePredictions

    @classmethod
    def of(
        cls, truth: Dataset, teachers: Sequence[MemberTeacher | ASETeacher], students: Ensemble
    ) -> Measured:
        """Predict with all models on a set."""
        members = predict_all(teachers, truth)
        counting = [teacher.use_energies for teacher in teachers]
        ensemble = EnsemblePredictions.of(members)
        if any(counting):  # others are at another level of theory
            energies = np.stack([member.energies for member in members])[counting].mean(0)
            ensemble = replace(ensemble, energies=energies)
        return cls(truth, members, counting, ensemble, students.predict(truth))

    @property
    def errors(self) -> dict[str, Any]:
        """All errors as in ``metrics.json``; eV and eV/Å."""
        truth, counting = self.truth, self.counting
        molecule = conformers(truth)

        def relative(model: Predictions | EnsemblePredictions) -> float | None:
            found = relative_errors(model.energies - truth.energies, molecule)
            return None if found is None else found.rmse

        return {
            "dataset": truth.provenance.path,
            "n_configs": len(truth),
            "teachers": [
                asdict(compare(member, truth, with_energies))
                for member, with_energies in zip(self.members, counting, strict=True)
            ],
            "ensemble": asdict(compare(self.ensemble, truth, any(counting))),
            "student": asdict(compare(self.student, truth)),
            "relative_energy_rmse": {
                "teachers": [relative(member) for member in self.members],
                "ensemble": relative(self.ensemble),
                "student": relative(self.student),
            },
            **told_errors(truth, self.ensemble, self.student),
        }

    def save(self, path: Path) -> None:
        """Write the reference data and all predictions."""
        truth, members = self.truth, self.members
        with atomic_write(path) as temporary:
            np.savez_compressed(
                temporary,
                groups=truth.groups,
                true_energies=truth.energies,
                true_forces=truth.forces if truth.forces is not None else np.empty((0, 3)),
                teacher_energies=np.stack([member.energies for member in members])[self.counting],
                teacher_forces=np.stack([member.forces for member in members]),
                ensemble_energies=self.ensemble.energies[None][: any(self.counting)],
                ensemble_forces=self.ensemble.forces,
                ensemble_forces_std=self.ensemble.forces_std,
                student_energies=self.student.energies,
                student_forces=self.student.forces,
                student_uncertainty=(
                    np.empty(0) if self.student.uncertainty is None else self.student.uncertainty
                ),
            )


def told_errors(
    truth: Dataset,
    ensemble: EnsemblePredictions,
    student: EnsemblePredictions,
) -> dict[str, dict[str, float | None]]:
    """Compare the spread of the teachers and the student's uncertainty with their true errors.

    Args:
        truth: reference data; without forces, all results are None.
        ensemble: predictions of the teachers, with their spread.
        student: predictions of the student or students, with their uncertainty.

    Returns:
        ``spearman``, the rank correlation over atoms of estimated and true force errors, and
        ``error_over_spread``, the root mean square error of the force components divided by the
        root mean square estimate. Both for ``ensemble_spread`` and ``student_uncertainty``, None if
        not available.
    """
    told = {
        "ensemble_spread": (ensemble, ensemble.forces_std),
        "student_uncertainty": (student, student.uncertainty),
    }
    found: dict[str, dict[str, float | None]] = {
        "spearman": dict.fromkeys(told),
        "error_over_spread": dict.fromkeys(told),
    }
    for name, (model, estimate) in told.items():
        if truth.forces is None or estimate is None or truth.n_atoms < 2:
            continue
        error = np.sqrt(np.mean((model.forces - truth.forces) ** 2, axis=1))
        result = calibrate(estimate, error)
        found["spearman"][name] = result.spearman
        # A single teacher has no spread.
        found["error_over_spread"][name] = result.scale if np.isfinite(result.scale) else None
    return found
