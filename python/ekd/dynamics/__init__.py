"""Stability tests by molecular dynamics: survival of runs, and energy conservation."""

from ekd.dynamics.measure_stability import stability
from ekd.dynamics.stability_files import terminal_tables, write_stability
from ekd.dynamics.stability_results import Stability
from ekd.dynamics.stability_settings import (
    DriftConfig,
    FailureConfig,
    StabilityConfig,
    StructureConfig,
)
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
    "terminal_tables",
    "write_stability",
]
