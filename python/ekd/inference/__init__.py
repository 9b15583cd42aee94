"""Exported models: what they say about themselves, and what they predict.

Needs the exported file alone: nothing here imports the network architectures.
"""

from ekd.inference.evaluation import Results
from ekd.inference.exported_model import ExportedModel
from ekd.inference.metadata import ModelMetadata, read_metadata
from ekd.inference.self_test import SelfTestReport, run_self_test

__all__ = [
    "ExportedModel",
    "ModelMetadata",
    "Results",
    "SelfTestReport",
    "read_metadata",
    "run_self_test",
]
