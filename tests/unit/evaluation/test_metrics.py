"""Errors against hand-computed values."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from ekd.data import Dataset, Provenance
from ekd.errors import DataError
from ekd.evaluation import Metrics, compare, improvement, mean


@dataclass
class Predictions:
    energies: np.ndarray
    forces: np.ndarray


@pytest.fixture
def dataset() -> Dataset:
    """H2 and H at rest, with energies -1 and -2 eV."""
    return Dataset(
        atomic_numbers=np.array([1, 1, 1]),
        positions=np.array([[0.0, 0, 0], [0.7, 0, 0], [0.0, 0, 0]]),
        offsets=np.array([0, 2, 3]),
        energies=np.array([-1.0, -2.0]),
        groups=np.array(["H2", "H"]),
        provenance=Provenance("hand-made", "", "none", 0),
        forces=np.zeros((3, 3)),
    )


@pytest.fixture
def predictions() -> Predictions:
    """Energies off by +3 and -1 eV, one of nine force components off by 0.9 eV/Å."""
    forces = np.zeros((3, 3))
    forces[1, 2] = -0.9
    return Predictions(np.array([2.0, -3.0]), forces)


def test_errors_are_those_worked_out_by_hand(dataset: Dataset, predictions: Predictions) -> None:
    metrics = compare(predictions, dataset)
    assert metrics.energy_rmse == pytest.approx(np.sqrt(5))  # (9 + 1) / 2
    assert metrics.energy_mae == pytest.approx(2.0)
    assert metrics.force_rmse == pytest.approx(0.3)  # sqrt(0.81 / 9)
    assert metrics.force_mae == pytest.approx(0.1)


def test_no_true_forces_no_force_errors(dataset: Dataset, predictions: Predictions) -> None:
    metrics = compare(predictions, replace(dataset, forces=None))
    assert metrics.force_rmse is None
    assert metrics.force_mae is None


def test_predictions_for_another_dataset_are_refused(
    dataset: Dataset, predictions: Predictions
) -> None:
    with pytest.raises(DataError, match=r"2 configurations with 3 atoms.*dataset of 1 with 2"):
        compare(predictions, dataset.subset([0]))


def test_mean_and_improvement() -> None:
    average = mean([Metrics(1.0, 2.0, 3.0, 4.0), Metrics(3.0, 4.0, 5.0, 6.0)])
    assert average == Metrics(2.0, 3.0, 4.0, 5.0)
    better = improvement(Metrics(1.5, 3.0, 5.0, None), average)
    assert better == {
        "energy_rmse": pytest.approx(0.25),
        "energy_mae": pytest.approx(0.0),
        "force_rmse": pytest.approx(-0.25),  # a loss is negative
        "force_mae": None,
    }
