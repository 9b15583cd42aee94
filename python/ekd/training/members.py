"""Plans of the members of an ensemble: seeds, settings, splits and starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ekd.config import HIPNNConfig, MemberConfig, TrainingConfig
from ekd.data import Dataset, folds
from ekd.errors import ConfigError
from ekd.training.start import reference_energies_after
from ekd.training.trained import TrainedModel


@dataclass(frozen=True, eq=False)
class Member:
    """Plan of one network to train.

    Attributes:
        seed: seed of the initial weights and of the order of batches.
        model: architecture.
        training: schedule and loss.
        train_indices: configurations to train on.
        validation_indices: configurations for validation only.
        start: a finished network whose weights it starts from; None: random weights.
        reference_energies: own reference energies by atomic number, eV; None: those of the
            ensemble.
    """

    seed: int
    model: HIPNNConfig
    training: TrainingConfig
    train_indices: NDArray[np.int64]
    validation_indices: NDArray[np.int64]
    start: TrainedModel | None = None
    reference_energies: dict[int, float] | None = None


def plan_members(
    data: Dataset,
    n_members: int,
    *,
    model: HIPNNConfig,
    training: TrainingConfig,
    train_indices: NDArray[np.int64],
    validation_indices: NDArray[np.int64],
    seed: int = 0,
    overrides: Sequence[MemberConfig] = (),
    splits: str = "shared",
    n_folds: int | None = None,
    split_by: str = "configuration",
    split_seed: int = 0,
    starts: Sequence[TrainedModel] = (),
) -> list[Member]:
    """Plan the members of an ensemble.

    No member is trained on the validation part, with any kind of split, so the ensemble can be
    tested on it.

    Args:
        data: data of all members.
        n_members: number of networks.
        model: common architecture.
        training: common settings of the training.
        train_indices: the training part.
        validation_indices: the validation part.
        seed: seed of the first member; the others use consecutive seeds.
        overrides: settings of individual members, starting with the first.
        splits: ``shared``: all members use the training part. ``k-fold``: member k holds out fold k
            of it, and is validated on this fold. ``bootstrap``: each member draws as many
            configurations from it as there are, with replacement.
        n_folds: number of folds for ``k-fold``; None: one per member. If there are fewer folds than
            members, they are used cyclically.
        split_by: ``configuration`` or ``formula``; with ``formula``, folds have no formulas in
            common.
        split_seed: seed of the folds and draws.
        starts: finished networks that members start from in turn; empty: random weights. Reference
            energies are fitted for each, see
            :func:`ekd.training.start.reference_energies_after`.

    Raises:
        ConfigError: fewer than one member, more overrides than members, invalid settings, or an
            unknown kind of split.
        DataError: too few configurations or formulas for the folds.
    """
    if n_members < 1:
        raise ConfigError(
            f"n_members is {n_members}; an ensemble needs at least 1", code="EKD-CONFIG-011"
        )
    if len(overrides) > n_members:
        raise ConfigError(
            f"settings of {len(overrides)} members, but n_members is {n_members}; "
            "give settings for each member, or change n_members",
            code="EKD-CONFIG-039",
        )
    if splits == "k-fold":
        n_folds = n_folds or n_members
        parts = folds(data, train_indices, n_folds, by=split_by, seed=split_seed)
    elif splits not in ("shared", "bootstrap"):
        raise ConfigError(
            f"cannot split by '{splits}'; expected 'shared', 'k-fold' or 'bootstrap'",
            code="EKD-CONFIG-019",
        )
    energies = [reference_energies_after(start, data, train_indices) for start in starts]
    members = []
    for k in range(n_members):
        own = overrides[k] if k < len(overrides) else MemberConfig()
        own_model, own_training = own.apply(model, training)
        learned, watched = train_indices, validation_indices
        if splits == "k-fold":
            watched = parts[k % len(parts)]
            learned = np.setdiff1d(train_indices, watched, assume_unique=True)
        elif splits == "bootstrap":
            generator = np.random.default_rng([split_seed, k])
            learned = np.sort(generator.choice(train_indices, size=len(train_indices)))
        own_seed = seed + k if own.seed is None else own.seed
        start = starts[k % len(starts)] if starts else None
        own_energies = energies[k % len(starts)] if starts else None
        members.append(
            Member(own_seed, own_model, own_training, learned, watched, start, own_energies)
        )
    return members
