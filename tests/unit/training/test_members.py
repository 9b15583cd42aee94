"""How members of an ensemble differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ekd.config import HIPNNConfig, MemberConfig, TrainingConfig
from ekd.data import Dataset, split
from ekd.errors import ConfigError
from ekd.training import Member, plan_members, train_ensemble

MODEL = HIPNNConfig(n_features=4, n_sensitivities=4, n_atom_layers=1, cutoff=4.0, soft_max=3.0)


def plan(data: Dataset, n_members: int = 4, **changes: Any) -> list[Member]:
    training, validation = split(data, 0.1)
    settings = {
        "model": MODEL,
        "training": TrainingConfig(),
        "train_indices": training,
        "validation_indices": validation,
        "seed": 7,
    }
    return plan_members(data, n_members, **(settings | changes))


def test_shared_split(small_dataset: Dataset) -> None:
    training, validation = split(small_dataset, 0.1)
    members = plan(small_dataset)
    assert [member.seed for member in members] == [7, 8, 9, 10]
    for member in members:
        np.testing.assert_array_equal(member.train_indices, training)
        np.testing.assert_array_equal(member.validation_indices, validation)


def test_folds(small_dataset: Dataset) -> None:
    """Every training configuration is left out once, the validation part by all."""
    training, _ = split(small_dataset, 0.1)
    members = plan(small_dataset, splits="k-fold")
    left_out = [member.validation_indices for member in members]
    np.testing.assert_array_equal(np.sort(np.concatenate(left_out)), training)
    for member in members:
        both = np.concatenate([member.train_indices, member.validation_indices])
        np.testing.assert_array_equal(np.sort(both), training)
    more = plan(small_dataset, n_members=4, splits="k-fold", n_folds=3)
    np.testing.assert_array_equal(more[0].validation_indices, more[3].validation_indices)


def test_bootstrap(small_dataset: Dataset) -> None:
    training, validation = split(small_dataset, 0.1)
    members = plan(small_dataset, splits="bootstrap")
    for member in members:
        assert len(member.train_indices) == len(training)
        share = len(set(member.train_indices)) / len(training)
        assert 0.45 < share < 0.8  # 1 - 1/e on average
        assert set(member.train_indices) <= set(training)
        np.testing.assert_array_equal(member.validation_indices, validation)
    assert (members[0].train_indices != members[1].train_indices).any()


def test_own_settings(small_dataset: Dataset) -> None:
    own = [
        MemberConfig(seed=99),
        MemberConfig(model={"n_features": 6}, training={"learning_rate": 2e-3}),
    ]
    members = plan(small_dataset, n_members=3, overrides=own)
    assert [member.seed for member in members] == [99, 8, 9]
    assert [member.model.n_features for member in members] == [4, 6, 4]
    assert [member.training.learning_rate for member in members] == [5e-3, 2e-3, 5e-3]


def test_what_cannot_be(small_dataset: Dataset) -> None:
    with pytest.raises(ConfigError, match="cannot split by 'halves'; expected 'shared', 'k-fold'"):
        plan(small_dataset, splits="halves")
    with pytest.raises(ConfigError, match="settings of 5 members, but n_members is 4"):
        plan(small_dataset, overrides=[MemberConfig()] * 5)
    with pytest.raises(ConfigError, match="unknown key 'n_featurs': did you mean 'n_features'"):
        plan(small_dataset, overrides=[MemberConfig(model={"n_featurs": 6})])


def test_members_that_differ_are_one_ensemble(small_dataset: Dataset) -> None:
    members = train_ensemble(
        small_dataset,
        model=MODEL,
        n_members=2,
        training=TrainingConfig(epochs=2, batch_atoms=80),
        splits="bootstrap",
        overrides=[MemberConfig(model={"n_features": 6, "cutoff": 4.5})],
        n_workers=1,
        progress=False,
    )
    assert [member.model_config.n_features for member in members.members] == [6, 4]
    predicted = members.predict(small_dataset)
    assert np.isfinite(predicted.forces).all()
    splits = [member.provenance["split_sha256"] for member in members.members]
    assert splits[0] != splits[1]
