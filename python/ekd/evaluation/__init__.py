"""How good a model is: errors against the truth, stability of its dynamics, plots, reports."""

from ekd.evaluation.calculators import MeanCalculator, as_calculator
from ekd.evaluation.instrument import Evaluation, evaluate
from ekd.evaluation.metrics import Metrics, compare, improvement, mean
from ekd.evaluation.settings import CurveConfig, ModelConfig, SetConfig
from ekd.evaluation.stability import Drift, energy_drift

__all__ = [
    "CurveConfig",
    "Drift",
    "Evaluation",
    "MeanCalculator",
    "Metrics",
    "ModelConfig",
    "SetConfig",
    "as_calculator",
    "compare",
    "energy_drift",
    "evaluate",
    "improvement",
    "mean",
]
