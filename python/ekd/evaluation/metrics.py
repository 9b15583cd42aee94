"""Errors of predicted energies and forces against the true ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ekd.data import Dataset
from ekd.errors import DataError


class EnergiesAndForces(Protocol):
    """Predictions of one model or of an ensemble."""

    @property
    def energies(self) -> NDArray[np.float64]:
        """Energy of each configuration, [n_configs], eV."""

    @property
    def forces(self) -> NDArray[np.float64]:
        """Force on each atom, [n_atoms, 3], eV/Å."""


@dataclass(frozen=True)
class Metrics:
    """Errors of the total energy per configuration (eV) and of each force component (eV/Å).

    The force errors are None if the dataset has no true forces, and the energy errors if the
    energies are at another level of theory.
    """

    energy_rmse: float | None
    energy_mae: float | None
    force_rmse: float | None = None
    force_mae: float | None = None


NAMES = ("energy_rmse", "energy_mae", "force_rmse", "force_mae")


def compare(
    predictions: EnergiesAndForces, dataset: Dataset, with_energies: bool = True
) -> Metrics:
    """Compare predictions with the energies and, if available, forces of a dataset.

    Args:
        predictions: predictions for this dataset.
        dataset: reference data.
        with_energies: False if the predicted energies are at another level of theory.

    Raises:
        DataError: the predictions were made for another dataset (the numbers of configurations or
            atoms differ).
    """
    found = (len(predictions.energies), len(predictions.forces))
    if found != (len(dataset), dataset.n_atoms):
        raise DataError(
            f"predictions for {found[0]} configurations with {found[1]} atoms cannot be compared "
            f"with a dataset of {len(dataset)} with {dataset.n_atoms}; predict for that dataset",
            code="EKD-DATA-059",
        )
    errors: list[float | None] = [None] * 4
    if with_energies:
        energy_errors = predictions.energies - dataset.energies
        errors[:2] = _rms(energy_errors), _mean_absolute(energy_errors)
    if dataset.forces is not None:
        force_errors = predictions.forces - dataset.forces
        errors[2:] = _rms(force_errors), _mean_absolute(force_errors)
    return Metrics(*errors)


def mean(metrics: Sequence[Metrics]) -> Metrics:
    """Average each error over the models that have it, as expected for any one of them."""

    def average(name: str) -> float | None:
        values = [value for entry in metrics if (value := getattr(entry, name)) is not None]
        return float(np.mean(values)) if values else None

    return Metrics(*map(average, NAMES))


def improvement(metrics: Metrics, baseline: Metrics) -> dict[str, float | None]:
    """Return the relative reduction of each error from the baseline: 0.2 is 20 % better."""
    shares: dict[str, float | None] = {}
    for name in NAMES:
        value, reference = getattr(metrics, name), getattr(baseline, name)
        shares[name] = None if value is None or not reference else 1.0 - value / reference
    return shares


def _rms(errors: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(errors**2)))


def _mean_absolute(errors: NDArray[np.float64]) -> float:
    return float(np.mean(np.abs(errors)))
