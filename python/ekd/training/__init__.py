"""Training of single networks and of ensembles."""

from ekd.training.loop import train
from ekd.training.predictions import Predictions
from ekd.training.trained import TrainedModel

__all__ = ["Predictions", "TrainedModel", "train"]
