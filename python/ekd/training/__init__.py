"""Training of single networks and of ensembles."""

from ekd.training.ensemble import (
    Ensemble,
    EnsemblePredictions,
    load_ensemble,
    member_directory,
    plan_ensemble,
    train_ensemble,
    train_members,
)
from ekd.training.loop import train
from ekd.training.members import Member, plan_members
from ekd.training.predictions import Predictions
from ekd.training.pretraining import pretrain
from ekd.training.trained import TrainedModel

__all__ = [
    "Ensemble",
    "EnsemblePredictions",
    "Member",
    "Predictions",
    "TrainedModel",
    "load_ensemble",
    "member_directory",
    "plan_ensemble",
    "plan_members",
    "pretrain",
    "train",
    "train_ensemble",
    "train_members",
]
