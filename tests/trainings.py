"""Trainings of a small network on a few configurations, which take seconds."""

from __future__ import annotations

from typing import Any

import numpy as np

from ekd.config import HIPNNConfig, TrainingConfig
from ekd.data import Dataset, fit_reference_energies
from ekd.training import TrainedModel, train

MODEL = HIPNNConfig(n_features=6, n_sensitivities=5, n_atom_layers=1, cutoff=4.0, soft_max=3.0)
TRAINING = TrainingConfig(epochs=4, batch_size=8)


def run(data: Dataset, **changes: Any) -> TrainedModel:
    """Train on all configurations except the last five, which are the validation set."""
    n = len(data)
    settings = {
        "model": MODEL,
        "training": TRAINING,
        "train_indices": np.arange(0, n - 5),
        "validation_indices": np.arange(n - 5, n),
        "reference_energies": fit_reference_energies(data),
        "seed": 1,
    }
    return train(data, **(settings | changes))
