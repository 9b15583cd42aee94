"""Training task of students with the same labels: data, split, forces and weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd.config import SpreadConfig, UncertaintyConfig
from ekd.data import Dataset, split
from ekd.data.combine import concatenate
from ekd.data.mapped import row_blocks
from ekd.data.reference_energies import provenance_of, reference_energies
from ekd.distillation.labels import Labels
from ekd.distillation.sample_weights import trust
from ekd.errors import DataError
from ekd.training import TrainedModel
from ekd.training.batches import LossWeights
from ekd.training.start import reference_energies_after
from ekd.training.uncertainty import SpreadLesson


@dataclass(frozen=True, eq=False)
class StudentTask:
    """Training task of students with the same labels, as arguments of :func:`ekd.training.train`.

    Attributes:
        data: structures and energies, including the extra configurations of the labels.
        train_indices: configurations to train on.
        validation_indices: configurations for validation only.
        reference_energies: reference energies by atomic number, eV.
        labels: mean forces of the teachers, [n_atoms, 3] eV/Å.
        weights: loss weights of energies and forces; None: all one.
        spread: training data of the uncertainty head; None: no head.
        start: network whose weights the training starts from; None: random weights.
        provenance: provenance of the students.
    """

    data: Dataset
    train_indices: NDArray[np.int64]
    validation_indices: NDArray[np.int64]
    reference_energies: dict[int, float]
    labels: NDArray[np.float64]
    weights: LossWeights | None
    spread: SpreadLesson | None
    start: TrainedModel | None
    provenance: dict[str, Any]


def plan_task(
    data: Dataset,
    labels: Labels,
    validation_fraction: float = 0.1,
    split_by: str = "configuration",
    split_seed: int = 0,
    spread: SpreadConfig | None = None,
    uncertainty: UncertaintyConfig | None = None,
    extra_energy_weight: float = 1.0,
    extra_force_weight: float = 1.0,
    start: TrainedModel | None = None,
) -> StudentTask:
    """Plan the task of students with the same labels.

    Arguments and errors are those of :func:`ekd.distillation.distill`.
    """
    labels.check(data)
    train_indices, validation_indices = split(data, validation_fraction, split_by, split_seed)
    energies, doubts = reference_energies(data, train_indices)
    if start is not None:
        energies = reference_energies_after(start, data, train_indices)
    provenance: dict[str, Any] = {"teachers": list(labels.teacher_sha256)}
    provenance |= provenance_of(data, doubts, corrected=start is not None)
    if labels.extra is not None:
        extra_indices = len(data) + np.arange(len(labels.extra))
        train_indices = np.concatenate([train_indices, extra_indices])
        data = concatenate(data, labels.extra)
        provenance["n_extra"] = len(labels.extra)
    trusted = trust(data, labels, spread or SpreadConfig(), extra_energy_weight, extra_force_weight)
    if spread is not None and spread.limit is not None:
        provenance["n_above_limit"] = trusted.n_above
    return StudentTask(
        data=_with_all_energies(data, labels),
        train_indices=train_indices[trusted.kept[train_indices]],
        validation_indices=validation_indices,
        reference_energies=energies,
        labels=labels.forces,
        weights=trusted.weights,
        spread=_spread_lesson(labels, uncertainty or UncertaintyConfig(), train_indices),
        start=start,
        provenance=provenance,
    )


def _spread_lesson(
    labels: Labels, uncertainty: UncertaintyConfig, train_indices: NDArray[np.int64]
) -> SpreadLesson | None:
    """Return the training data of the uncertainty head; None if there is no head.

    They include configurations whose forces are not trained on because the teachers disagree: they
    are needed to learn large uncertainties.
    """
    if uncertainty.enabled is False:
        return None
    if labels.n_members > 1 and any((part > 0).any() for part in row_blocks(labels.forces_std)):
        return SpreadLesson(uncertainty, labels.forces_std, labels.n_members, train_indices)
    if uncertainty.enabled is None:
        return None
    raise DataError(
        f"the labels are of {labels.n_members} teacher(s) that never disagree, so there is no "
        "spread to learn; use labels of at least two different teachers, or set enabled = false in "
        "[student.uncertainty]",
        code="EKD-LABELS-011",
    )


def _with_all_energies(data: Dataset, labels: Labels) -> Dataset:
    """Set energies of extra configurations to the teachers' mean; to zero if there is none.

    Zero energies have the weight zero.
    """
    is_true = np.isfinite(data.energies)
    if is_true.all():
        return data
    told = np.zeros(len(data)) if labels.energies is None else labels.energies
    return replace(data, energies=np.where(is_true, data.energies, told))
