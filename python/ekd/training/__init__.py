"""Training of single networks and of ensembles."""

from ekd.training.ensemble import (
    Ensemble,
    EnsemblePredictions,
    load_ensemble,
    member_directory,
    train_ensemble,
    train_members,
)
from ekd.training.loop import train
from ekd.training.predictions import Predictions
from ekd.training.trained import TrainedModel

__all__ = [
    "Ensemble",
    "EnsemblePredictions",
    "Predictions",
    "TrainedModel",
    "load_ensemble",
    "member_directory",
    "train",
    "train_ensemble",
    "train_members",
]
