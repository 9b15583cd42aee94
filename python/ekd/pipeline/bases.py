"""The stages before the teachers: a pool of cheap geometries, and bases trained on it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ekd.config import Config, PoolConfig, PretrainingConfig, TrainingConfig
from ekd.data import Dataset
from ekd.elements import symbol
from ekd.errors import DataError
from ekd.files import sha256
from ekd.pool import Pool
from ekd.pool.recipe import DATA
from ekd.training import Ensemble, TrainedModel, load_ensemble, train_members
from ekd.training.parallel import Group
from ekd.training.pretraining import plan_bases
from ekd.training.start import check_start

POOL = "pool.h5"
BASES = "bases"
FIRST_STEP = "pool"
"""Subfolder of the bases with those that are trained further on a data set."""


def identify(config: Config, data: Dataset | None) -> dict[str, Any]:
    """Return the sections [pool] and [pretraining] with checksums of files instead of paths.

    Args:
        config: the configuration.
        data: data set of [pretraining.data], or None.
    """
    found: dict[str, Any] = {}
    if config.pool is not None:
        found["pool"] = _identify_pool(config.pool)
    if config.pretraining is not None:
        found["pretraining"] = _identify_bases(config.pretraining, data)
    return found


def learns_from_pool(config: Config) -> bool:
    """Whether bases are trained on the pool, possibly before a data set."""
    section = config.pretraining
    if section is None or config.pool is None:
        return False
    return section.pool and section.checkpoint is None


def _identify_pool(pool: PoolConfig) -> dict[str, Any]:
    values = pool.model_dump(mode="json", exclude={"n_workers", "chunk_size"})
    values["structures"] = [_contents(path) for path in pool.structures]
    values["calculator"].pop("folder")
    values["calculator"]["files"] = {
        key: _contents(path) for key, path in pool.calculator.files.items()
    }
    return values


def _identify_bases(section: PretrainingConfig, data: Dataset | None) -> dict[str, Any]:
    values = section.model_dump(mode="json")
    for step in ("training", "second_step"):
        for key in ("device", "checkpoint_minutes"):
            values[step].pop(key)
    if section.checkpoint is not None:
        values["checkpoint"] = _contents(section.checkpoint)
    if data is not None:
        values["data"] = {"fingerprint": data.fingerprint}
    return values


def _contents(path: str | os.PathLike[str]) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise DataError(
            f"'{path}', given in [pool] or [pretraining], cannot be read: {error.strerror}; "
            "check the path",
            code="EKD-DATA-001",
        ) from None


def check(config: Config, training_set: Dataset, data: Dataset | None) -> None:
    """Check before any work whether bases can be trained and used as starting points.

    Raises:
        ConfigError: the checkpoint has another architecture than [model].
        DataError: the data set lacks forces or an element of the training set.
        StructureError: the checkpoint lacks an element of the training set or the data set.
    """
    section = config.pretraining
    if section is None:
        return
    if section.checkpoint is not None:
        elements = {*training_set.elements, *(() if data is None else data.elements)}
        check_start(TrainedModel.load(section.checkpoint), config.model, sorted(elements))
    if data is None:
        return
    if data.forces is None:
        raise DataError(
            f"'{data.provenance.path}' has no forces to pretrain on; name their key in "
            "[pretraining.data] (forces = '...'), or use a data set that has forces",
            code="EKD-DATA-060",
        )
    _require_elements(training_set, data, "the training set", "the data set of [pretraining.data]")


def _require_elements(wanted: Dataset, data: Dataset, whose: str, name: str) -> None:
    missing = sorted(set(wanted.elements) - set(data.elements))
    if missing:
        raise DataError(
            f"{whose} has {', '.join(map(symbol, missing))}, which {name} lacks, so a network "
            f"trained on {name} could not be trained on {whose} afterwards; add geometries with "
            "these elements",
            code="EKD-DATA-061",
        )


@dataclass(frozen=True)
class Step:
    """One training step of the bases.

    Attributes:
        data: energies and forces.
        training: schedule and loss.
        folder: subfolder of the bases of this step.
        title: name of a base in messages.
    """

    data: Dataset
    training: TrainingConfig
    folder: str
    title: str


def steps(config: Config, pool: Dataset | None, data: Dataset | None) -> list[Step]:
    """Return the training steps in order; each starts from the bases of the previous one.

    Args:
        config: configuration with a section [pretraining].
        pool: pool of geometries; None: not used for training.
        data: data set of [pretraining.data]; None: there is none.
    """
    section = config.pretraining
    assert section is not None
    found = []
    if pool is not None:
        last = data is None
        title = "base" if last else "pool base"
        found.append(Step(pool, section.training, "" if last else FIRST_STEP, title))
    if data is not None:
        is_first = pool is None and section.checkpoint is None
        training = section.training if is_first else section.second_step
        found.append(Step(data, training, "", "base"))
    return found


def train_bases(
    config: Config,
    folder: Path,
    training_set: Dataset,
    data: Dataset | None,
    progress: bool,
    group: Group,
) -> Ensemble:
    """Train the bases into ``folder / "bases"``, in one step or two, or copy the checkpoint there.

    Args:
        config: configuration with a section [pretraining].
        folder: output folder, with the pool.
        training_set: training set of the teachers.
        data: data set of [pretraining.data]; None: there is none.
        progress: show progress on standard error.
        group: processes that share each training.

    Raises:
        DataError: the pool lacks an element of the training set, or of the data set.
        TrainingError: a training diverged, or a process was lost.
    """
    section = config.pretraining
    assert section is not None
    target = folder / BASES
    bases = []
    if section.checkpoint is not None:
        bases = [TrainedModel.load(section.checkpoint)]
        if data is None and group.rank == 0:
            (target / "member-0").mkdir(parents=True, exist_ok=True)
            bases[0].save(target / "member-0" / "checkpoint.pt")
    pool = Pool.load(folder / POOL).data if learns_from_pool(config) else None
    if pool is not None:
        _require_elements(training_set, pool, "the training set", "the pool")
        if data is not None:
            _require_elements(data, pool, "the data set of [pretraining.data]", "the pool")
    for step in steps(config, pool, data):
        job = plan_bases(
            step.data,
            target / step.folder,
            model=config.model,
            n_bases=section.n_bases,
            seed=config.seed,
            training=step.training,
            validation_fraction=section.validation_fraction,
            split_seed=config.data.split_seed,
            starts=bases,
            title=step.title,
        )
        job = replace(job, tensorboard=config.tensorboard)
        bases = train_members(job, resume=True, progress=progress, group=group).members
    return Ensemble(bases)


def load_bases(config: Config, folder: Path) -> Ensemble | None:
    """Load the bases that teachers start from; None: random weights."""
    return None if config.pretraining is None else load_ensemble(folder / BASES)


def pool_for_labels(config: Config, folder: Path) -> Dataset | None:
    """Return geometries of the pool that are not in the data; None: they are not labeled."""
    if config.pool is None or not config.labels.pool:
        return None
    data = Pool.load(folder / POOL).data
    return data.subset(data.groups != DATA)
