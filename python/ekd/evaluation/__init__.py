"""Evaluation of models: errors relative to reference data, energy drift, plots, reports."""

from ekd.evaluation.calculators import MeanCalculator, as_calculator
from ekd.evaluation.evaluate_models import evaluate
from ekd.evaluation.evaluation_files import write_evaluation
from ekd.evaluation.evaluation_results import Evaluation
from ekd.evaluation.evaluation_settings import CurveConfig, ModelConfig, SetConfig
from ekd.evaluation.metrics import Metrics, compare, improvement, mean
from ekd.evaluation.tables import terminal_tables
from ekd.evaluation.trajectories import Drift, energy_drift

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
    "terminal_tables",
    "write_evaluation",
]
