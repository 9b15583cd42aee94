"""The stage ``label``: forces of the teachers on the training set and on extra configurations."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from rich.markup import escape

from ekd.data import Dataset
from ekd.data.combine import concatenate
from ekd.distillation import Labels, label, perturb, read_structures, sample_md
from ekd.distillation.extra import without_energies
from ekd.errors import DataError
from ekd.pipeline import bases
from ekd.pipeline.checks import check_teachers
from ekd.pipeline.stage import Check, Stage
from ekd.pipeline.stages.make_pool import POOL
from ekd.pipeline.stages.pretrain_bases import PRETRAIN
from ekd.pipeline.stages.train_teachers import TRAIN
from ekd.pipeline.workspace import Workspace


class LabelData(Stage):
    """Label configurations with forces of the teachers."""

    name = "label"
    needs = (POOL, PRETRAIN, TRAIN)
    sections = ("labels",)
    leaves = ("labels.h5",)
    unfinished = ("labels.h5.parts", "snapshots.parts")

    def checks(self, work: Workspace) -> list[Check]:
        """Check the teachers."""
        return [check_teachers]

    def is_intact(self, work: Workspace) -> bool:
        """Check that the labels can be read, so damaged ones are made again."""
        try:
            Labels.load(work.folder / "labels.h5")
        except DataError as error:
            work.console.print(f"[yellow]{escape(error.for_command_line)}[/yellow]")
            return False
        return True

    def run(self, work: Workspace) -> None:
        """Label all configurations, chunk by chunk."""
        section = work.config.labels
        snapshots = work.folder / "snapshots.parts"
        label(
            work.teachers,
            work.data,
            path=work.folder / "labels.h5",
            extra=_extra(work, snapshots),
            chunk_size=section.chunk_size,
            n_workers=section.n_workers,
            resume=True,
            progress=work.progress,
            wall=section.wall,
        )
        shutil.rmtree(snapshots, ignore_errors=True)


def _extra(work: Workspace, snapshots: Path) -> Dataset | None:
    """Return extra configurations; those made here use only the training part of the data."""
    section, seed = work.config.labels, work.config.seed
    extra = [read_structures(path) for path in section.structures]
    pool = bases.pool_for_labels(work.config, work.folder)
    if pool is not None:
        extra.append(without_energies(pool))
    if section.perturbed.n_copies:
        extra.append(
            perturb(
                work.data.subset(work.trained_on),
                section.perturbed.displacement,
                section.perturbed.n_copies,
                seed,
            )
        )
    if section.md.n_trajectories:
        settings = section.md.model_dump()
        n = min(settings.pop("n_trajectories"), len(work.trained_on))
        chosen = np.random.default_rng(seed).permutation(work.trained_on)[:n]
        extra.append(
            sample_md(
                work.members,
                work.data.subset(chosen),
                **settings,
                seed=seed,
                n_workers=section.n_workers,
                directory=snapshots,
                resume=True,
                progress=work.progress,
                wall=section.wall,
            )
        )
    return concatenate(*extra) if extra else None


LABEL = LabelData()
