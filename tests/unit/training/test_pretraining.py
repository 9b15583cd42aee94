"""Bases: networks trained on energies and forces, which others start from."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import ekd
from ekd.config import BaseTrainingConfig, TrainingConfig
from ekd.data import Dataset
from ekd.errors import ConfigError, DataError
from ekd.training import Ensemble, pretrain, train_ensemble
from trainings import MODEL

SHORT = BaseTrainingConfig(epochs=2, batch_size=16)
N_CHEAP = 70


@pytest.fixture(scope="module")
def parts(test_dataset: Dataset) -> tuple[Dataset, Dataset]:
    """Many energies and forces at another level of theory, and others at the final level."""
    order = np.random.default_rng(0).permutation(len(test_dataset))
    cheap = test_dataset.subset(order[:N_CHEAP])
    assert cheap.forces is not None
    shift = cheap.composition @ np.arange(1.0, 1 + len(cheap.elements))
    cheap = dataclasses.replace(
        cheap, energies=0.9 * cheap.energies + shift, forces=0.9 * cheap.forces
    )
    return cheap, test_dataset.subset(order[N_CHEAP:])


@pytest.fixture(scope="module")
def bases(parts: tuple[Dataset, Dataset]) -> Ensemble:
    """One trained base."""
    training = BaseTrainingConfig(epochs=30, batch_size=4, learning_rate=1e-2, ema_decay=0.9)
    return pretrain(
        parts[0],
        MODEL,
        n_bases=1,
        training=training,
        validation_fraction=0.1,
        n_workers=1,
        progress=False,
    )


def force_error(models: Ensemble, data: Dataset) -> float:
    """Root mean square, eV/Å."""
    return float(np.sqrt(((models.predict(data).forces - data.forces) ** 2).mean()))


def test_forces_are_learned(bases: Ensemble, parts: tuple[Dataset, Dataset]) -> None:
    cheap, others = parts
    (base,) = bases.members
    history = base.history
    assert history[-1]["validation_force_rmse"] < 0.75 * history[0]["validation_force_rmse"]
    assert cheap.forces is not None
    own = float(np.sqrt(((base.predict(cheap).forces - cheap.forces) ** 2).mean()))
    assert own < 0.6 * float(np.sqrt((cheap.forces**2).mean()))
    assert force_error(bases, others) < 0.8 * float(np.sqrt((others.forces**2).mean()))
    assert base.provenance["labels_sha256"] is not None
    assert base.provenance["n_validation"] == N_CHEAP // 10


def test_a_base_is_a_better_start_than_random_weights(
    bases: Ensemble, parts: tuple[Dataset, Dataset], small_dataset: Dataset
) -> None:
    """Train a few epochs on few energies, and measure errors of true forces at other geometries."""

    def teachers(starts: Ensemble | None, learning_rate: float) -> Ensemble:
        training = TrainingConfig(
            epochs=4, batch_size=8, ema_decay=0.9, learning_rate=learning_rate
        )
        settings = {"n_members": 2, "n_workers": 1, "progress": False}
        return train_ensemble(small_dataset, MODEL, training=training, starts=starts, **settings)

    fine_tuned = force_error(teachers(bases, 1e-3), parts[1])
    random = [force_error(teachers(None, rate), parts[1]) for rate in (1e-3, 5e-3)]
    assert fine_tuned < 0.75 * min(random)


def test_bases_differ_in_their_seed(parts: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    settings = {"training": SHORT, "n_workers": 1, "progress": False}
    two = pretrain(parts[0], MODEL, n_bases=2, seed=5, directory=tmp_path, **settings)
    assert [model.provenance["seed"] for model in two.members] == [5, 6]
    assert two.members[0].sha256 != two.members[1].sha256
    found = ekd.load_ensemble(tmp_path)
    assert [model.sha256 for model in found.members] == [model.sha256 for model in two.members]
    times = [path.stat().st_mtime_ns for path in sorted(tmp_path.glob("*/checkpoint.pt"))]
    again = ekd.pretrain(
        parts[0], MODEL, n_bases=2, seed=5, directory=tmp_path, resume=True, **settings
    )
    assert again.members[1].sha256 == two.members[1].sha256
    assert times == [path.stat().st_mtime_ns for path in sorted(tmp_path.glob("*/checkpoint.pt"))]


def test_a_base_starts_from_another(bases: Ensemble, parts: tuple[Dataset, Dataset]) -> None:
    """A few epochs on few better data help more after training on many cheap data."""
    few = parts[1].subset(np.arange(10))
    other = parts[1].subset(np.arange(10, len(parts[1])))
    training = BaseTrainingConfig(epochs=4, batch_size=4, ema_decay=0.9, learning_rate=2e-3)
    settings = {"n_bases": 1, "validation_fraction": 0.2, "n_workers": 1, "progress": False}
    after = pretrain(few, MODEL, training=training, starts=bases, **settings)
    (model,) = after.members
    assert model.provenance["start"] == bases.members[0].sha256
    alone = pretrain(few, MODEL, training=training, **settings)
    assert force_error(after, other) < 0.75 * force_error(alone, other)
    assert force_error(after, other) < force_error(bases, other)


def test_forces_are_needed(small_dataset: Dataset) -> None:
    with pytest.raises(DataError, match=r"ccsdt_chno\.h5' has no forces to pretrain on; name the"):
        pretrain(small_dataset, MODEL, training=SHORT, progress=False)


def test_a_base_is_needed(parts: tuple[Dataset, Dataset]) -> None:
    with pytest.raises(ConfigError, match="n_bases is 0; at least 1 is needed"):
        pretrain(parts[0], MODEL, n_bases=0, training=SHORT, progress=False)
