"""Exported models: what they say about themselves, and what they predict.

Needs the exported file alone: nothing here imports the network architectures, or
torch, but for files and devices that nothing else can use.
"""

from ekd.inference.exported_model import ExportedModel
from ekd.inference.metadata import (
    ModelMetadata,
    TrainingPairs,
    has_weights,
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
    "read_metadata",
    "run_self_test",
    "training_pairs",
]
