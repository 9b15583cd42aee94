"""The stages before the teachers: a pool of cheap geometries, and bases that learn from it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from ekd.config import Config, PoolConfig, PretrainingConfig
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


def identify(config: Config, data: Dataset | None) -> dict[str, Any]:
    """The sections [pool] and [pretraining] with the contents of files in the place of paths.

    Args:
        config: the configuration.
        data: what [pretraining.data] names, or None.
    """
    found: dict[str, Any] = {}
    if config.pool is not None:
        found["pool"] = _identify_pool(config.pool)
    if config.pretraining is not None:
        found["pretraining"] = _identify_bases(config.pretraining, data)
    return found


def learns_from_pool(config: Config) -> bool:
    """Whether bases are trained on what [pool] makes."""
    section = config.pretraining
    return section is not None and section.data is None and section.checkpoint is None


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
    for key in ("device", "checkpoint_minutes"):
        values["training"].pop(key)
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
            f"'{path}', which [pool] or [pretraining] names, cannot be read: {error.strerror}; "
            "check the path"
        ) from None


def check(config: Config, training_set: Dataset, data: Dataset | None) -> None:
    """Find out before any work is done whether bases can be trained, and can be started from.

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
            "[pretraining.data] (forces = '...'), or take a data set that has forces"
        )
    _require_elements(training_set, data, "the data set of [pretraining.data]")


def _require_elements(training_set: Dataset, data: Dataset, name: str) -> None:
    missing = sorted(set(training_set.elements) - set(data.elements))
    if missing:
        raise DataError(
            f"the training set has {', '.join(map(symbol, missing))}, which {name} lacks, so that "
            "teachers could not start from what learns it; add geometries with them"
        )


def train_bases(
    config: Config,
    folder: Path,
    training_set: Dataset,
    data: Dataset | None,
    progress: bool,
    group: Group,
) -> Ensemble:
    """Train the bases into ``folder / "bases"``; a checkpoint without a data set is copied there.

    Args:
        config: has a section [pretraining].
        folder: output folder, with the pool.
        training_set: of the teachers.
        data: of [pretraining.data]; None: the pool.
        progress: show progress on standard error.
        group: processes that share each training.

    Raises:
        DataError: the pool lacks an element of the training set.
        TrainingError: a training diverged, or a process was lost.
    """
    section = config.pretraining
    assert section is not None
    starts = [] if section.checkpoint is None else [TrainedModel.load(section.checkpoint)]
    if starts and data is None:
        (base,) = starts
        target = folder / BASES / "member-0"
        if group.rank == 0:
            target.mkdir(parents=True, exist_ok=True)
            base.save(target / "checkpoint.pt")
        return Ensemble(starts)
    if data is None:
        data = Pool.load(folder / POOL).data
        _require_elements(training_set, data, "the pool")
    job = plan_bases(
        data,
        folder / BASES,
        model=config.model,
        n_bases=section.n_bases,
        seed=config.seed,
        training=section.training,
        validation_fraction=section.validation_fraction,
        split_seed=config.data.split_seed,
        starts=starts,
    )
    job = replace(job, tensorboard=config.tensorboard)
    return train_members(job, resume=True, progress=progress, group=group)


def load_bases(config: Config, folder: Path) -> Ensemble | None:
    """What teachers start from; None: random weights."""
    return None if config.pretraining is None else load_ensemble(folder / BASES)


def pool_for_labels(config: Config, folder: Path) -> Dataset | None:
    """Geometries of the pool that the data do not have; None: they are not to be labelled."""
    if config.pool is None or not config.labels.pool:
        return None
    data = Pool.load(folder / POOL).data
    return data.subset(data.groups != DATA)
