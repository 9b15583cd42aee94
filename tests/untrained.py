"""Untrained networks as teachers, sufficient for tests."""

from __future__ import annotations

import torch

from ekd.config import HIPNNConfig, TrainingConfig
from ekd.models import HIPNN
from ekd.training import Ensemble, TrainedModel

MODEL = HIPNNConfig(n_features=6, n_sensitivities=5, n_atom_layers=1, cutoff=4.0, soft_max=3.0)
ELEMENTS = [1, 6, 7, 8]


def teacher(seed: int, elements: list[int] = ELEMENTS, cutoff: float = 4.0) -> TrainedModel:
    """A network with energies of approximately the right magnitude."""
    config = MODEL.model_copy(update={"cutoff": cutoff})
    torch.manual_seed(seed)
    model = HIPNN(
        config, elements, [{1: -13.0, 6: -1030.0, 7: -1480.0, 8: -2040.0}[z] for z in elements]
    )
    return TrainedModel(model, config, TrainingConfig(epochs=1), {}, [])


def ensemble(n_members: int = 3) -> Ensemble:
    """An ensemble of such networks."""
    return Ensemble([teacher(seed) for seed in range(n_members)])
