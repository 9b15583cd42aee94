"""How good a model is: errors against the truth, stability of its dynamics, plots, a report."""

from ekd.evaluation.metrics import Metrics, compare, improvement, mean
from ekd.evaluation.stability import Drift, energy_drift

__all__ = ["Drift", "Metrics", "compare", "energy_drift", "improvement", "mean"]
