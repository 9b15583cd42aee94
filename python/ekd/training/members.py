"""What the members of an ensemble have in common, and what each has of its own."""

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
    """One network that is to be trained.

    Attributes:
        seed: of its weights and the order of its batches.
        model: architecture.
        training: schedule and loss.
        train_indices: configurations to train on.
        validation_indices: configurations to watch.
        start: a finished network whose weights it starts from; None: random weights.
        reference_energies: eV by atomic number, of its own; None: those of the ensemble.
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
    """Decide how members differ.

    The validation part is unseen by all of them whatever the way of splitting, so that the ensemble
    can be measured on it.

    Args:
        data: of all members.
        n_members: number of networks.
        model: architecture, where a member has none of its own.
        training: settings, likewise.
        train_indices: the training part.
        validation_indices: the validation part.
        seed: of the first member; the others count on from it.
        overrides: what the first members have of their own.
        splits: ``shared``: every member learns from the training part. ``k-fold``: member k leaves
            out fold k of it, and is validated on that. ``bootstrap``: every member draws as many
            configurations from it as there are, with replacement.
        n_folds: of ``k-fold``; None: one per member. Members beyond begin with the first again.
        split_by: ``configuration`` or ``formula``: whether folds share formulas.
        split_seed: seed of the folds and draws.
        starts: finished networks that members start from, each taking the next; none: random
            weights. Reference energies are fitted anew for each, see
            :func:`ekd.training.start.reference_energies_after`.

    Raises:
        ConfigError: fewer than one member, more overrides than members, settings that are
            impossible, or an unknown way of splitting.
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
