"""The names of the stages in order, quick to import.

The stages themselves are in :mod:`ekd.pipeline.stages`.
"""

from __future__ import annotations

STAGES = ("pool", "pretrain", "train", "label", "distill", "evaluate", "export", "lammps", "report")


def verb(stage: str) -> str:
    """Return the ``ekd`` command of a stage: ``ekd lammps`` is for the pair style itself."""
    return "md" if stage == "lammps" else stage
