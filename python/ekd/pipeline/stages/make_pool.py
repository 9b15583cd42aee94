"""The stage ``pool``: thousands of geometries with energies and forces of a calculator."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from ekd.pipeline import bases
from ekd.pipeline.stage import Stage
from ekd.pipeline.workspace import Workspace
from ekd.pool import build_pool


class MakePool(Stage):
    """Make the pool that bases are trained on."""

    name = "pool"
    section = "pool"
    sections = ("seed", "data", "pool")
    leaves = (bases.POOL,)
    shows = ("pool.json", "pool.png")
    unfinished = ("pool.h5.parts", "pool.png", "pool.json")

    def settings(self, work: Workspace) -> dict[str, Any]:
        """Return all settings; the only setting of the model is its cutoff."""
        return super().settings(work) | {"model.cutoff": work.config.model.cutoff}

    def run(self, work: Workspace) -> None:
        """Build the pool and show its summary."""
        pool = build_pool(
            work.data.subset(work.trained_on),
            work.config.pool,
            path=work.folder / bases.POOL,
            cutoff=work.config.model.cutoff,
            seed=work.config.seed,
            resume=True,
            progress=work.progress,
        )
        work.console.print(pool.summary.table())
        for note in pool.summary.notes:
            work.console.print(escape(note), soft_wrap=True, highlight=False)


POOL = MakePool()
