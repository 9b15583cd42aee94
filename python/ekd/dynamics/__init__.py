"""Molecular dynamics as a test: how long runs survive, and how well they conserve energy."""

from ekd.dynamics.instrument import Stability, stability
from ekd.dynamics.settings import DriftConfig, FailureConfig, StabilityConfig, StructureConfig
from ekd.dynamics.survival import Survival, survival

__all__ = [
    "DriftConfig",
    "FailureConfig",
    "Stability",
    "StabilityConfig",
    "StructureConfig",
    "Survival",
    "stability",
    "survival",
]
