"""The stage ``pretrain``: networks that teachers and student start from."""

from __future__ import annotations

from ekd.config import Config
from ekd.pipeline import bases, trainings
from ekd.pipeline.checks import check_bases, check_tensorboard
from ekd.pipeline.stage import Check, Stage
from ekd.pipeline.stages.make_pool import POOL
from ekd.pipeline.workspace import Workspace
from ekd.training import load_ensemble

ONE_BASE = (
    "All teachers start from one base: their spread and the uncertainty of the student will be "
    "much smaller than the errors. For error bars, use n_bases = 4 in [pretraining]."
)


class PretrainBases(Stage):
    """Train the bases. They need the pool only if they are trained on it."""

    name = "pretrain"
    needs = (POOL,)
    section = "pretraining"
    sections = ("seed", "data", "model", "pretraining")
    leaves = (bases.BASES,)
    shares_training = True

    def needed(self, config: Config) -> tuple[Stage, ...]:
        """Return the pool, if bases are trained on it."""
        return self.needs if bases.learns_from_pool(config) else ()

    def checks(self, work: Workspace) -> list[Check]:
        """Check bases and TensorBoard."""
        return [check_bases, check_tensorboard]

    def run(self, work: Workspace) -> None:
        """Train the bases and draw their learning curves."""
        trained = bases.train_bases(
            work.config, work.folder, work.data, work.base_data, work.progress, work.group
        )
        if len(trained.members) == 1 and work.config.teachers.n_members > 1:
            work.console.print(ONE_BASE, markup=False, soft_wrap=True, highlight=False)
        folder = work.folder / bases.BASES
        if work.writes and trained.members[0].history:
            trainings.draw_curves(folder, trained.members, "base")
        first = folder / bases.FIRST_STEP
        if work.writes and first.is_dir():
            trainings.draw_curves(first, load_ensemble(first).members, "pool base")


PRETRAIN = PretrainBases()
