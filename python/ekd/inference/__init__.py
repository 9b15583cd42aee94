"""Exported models: metadata and predictions.

Only the exported file is needed: nothing here imports the network architectures. torch is imported
only for files and devices that require it.
"""

from ekd.inference.exported_model import ExportedModel
from ekd.inference.metadata import (
    ModelMetadata,
    TrainingPairs,
    has_weights,
    read_card,
    read_metadata,
    training_pairs,
)
from ekd.inference.results import BatchResults, ClosePair, Results
from ekd.inference.self_test import SelfTestReport, compare_with_frame, run_self_test

__all__ = [
    "BatchResults",
    "ClosePair",
    "ExportedModel",
    "ModelMetadata",
    "Results",
    "SelfTestReport",
    "TrainingPairs",
    "compare_with_frame",
    "has_weights",
    "read_card",
    "read_metadata",
    "run_self_test",
    "training_pairs",
]
