"""The names of the stages in their order, for programs that start quickly.

What each needs, leaves and does is in :mod:`ekd.pipeline.stages`.
"""

from __future__ import annotations

STAGES = ("pool", "pretrain", "train", "label", "distill", "evaluate", "export", "lammps", "report")


def verb(stage: str) -> str:
    """The verb of ``ekd`` for a stage: ``ekd lammps`` is about the pair style itself."""
    return "md" if stage == "lammps" else stage
