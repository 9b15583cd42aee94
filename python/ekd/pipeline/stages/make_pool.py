"""The stage ``pool``: geometries by the thousand, with energies and forces of a calculator."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from ekd.pipeline import pretraining
from ekd.pipeline.stage import Stage
from ekd.pipeline.workspace import Workspace
from ekd.pool import build_pool


class MakePool(Stage):
    """Make the pool that bases learn from."""

    name = "pool"
    section = "pool"
    sections = ("seed", "data", "pool")
    leaves = (pretraining.POOL,)
    shows = ("pool.json", "pool.png")
    unfinished = ("pool.h5.parts", "pool.png", "pool.json")

    def settings(self, work: Workspace) -> dict[str, Any]:
        """Of the model the pool depends on the cutoff alone."""
        return super().settings(work) | {"model.cutoff": work.config.model.cutoff}

    def run(self, work: Workspace) -> None:
        """Build the pool, show its summary."""
        pool = build_pool(
            work.data.subset(work.trained_on),
            work.config.pool,
            path=work.folder / pretraining.POOL,
            cutoff=work.config.model.cutoff,
            seed=work.config.seed,
            resume=True,
            progress=work.progress,
        )
        work.console.print(pool.summary.table())
        for note in pool.summary.notes:
            work.console.print(escape(note), soft_wrap=True, highlight=False)


POOL = MakePool()
