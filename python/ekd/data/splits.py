"""Split a dataset into training and validation configurations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ekd.data.dataset import Dataset
from ekd.errors import DataError


def split(
    dataset: Dataset,
    validation_fraction: float,
    by: str = "configuration",
    seed: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of training and validation configurations, each in ascending order.

    Args:
        dataset: at least two configurations.
        validation_fraction: fraction of configurations held out, between 0 and 1.
        by: ``configuration`` draws single configurations. ``formula`` draws whole chemical formulas
            until no other one fits into the fraction, so no conformer of a validation molecule is
            trained on; if none fits, the smallest formula is used.
        seed: seed of the random numbers.

    Raises:
        DataError: the fraction is not between 0 and 1, ``by`` is unknown, or there are too few
            configurations or formulas for both parts.
    """
    if not 0 < validation_fraction < 1:
        raise DataError(
            f"validation_fraction is {validation_fraction}; expected 0 < value < 1",
            code="EKD-CONFIG-011",
        )
    n_configs = len(dataset)
    if n_configs < 2:
        raise DataError(
            "a split needs at least 2 configurations, found 1; add data", code="EKD-DATA-052"
        )
    n_validation = min(max(round(validation_fraction * n_configs), 1), n_configs - 1)
    generator = np.random.default_rng(seed)
    if by == "configuration":
        held_out = np.zeros(n_configs, dtype=bool)
        held_out[generator.permutation(n_configs)[:n_validation]] = True
    elif by == "formula":
        held_out = _whole_formulas(dataset, n_validation, generator)
    else:
        raise DataError(
            f"cannot split by '{by}'; expected 'configuration' or 'formula'", code="EKD-CONFIG-019"
        )
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _whole_formulas(
    dataset: Dataset, n_validation: int, generator: np.random.Generator
) -> NDArray[np.bool_]:
    formulas, members, sizes = np.unique(dataset.formulas, return_inverse=True, return_counts=True)
    if len(formulas) < 2:
        raise DataError(
            f"a split by formula needs at least 2 formulas, found only {formulas[0]}; "
            "split by 'configuration'",
            code="EKD-DATA-052",
        )
    chosen: list[int] = []
    room = n_validation
    for formula in generator.permutation(len(formulas)):
        if sizes[formula] <= room:
            chosen.append(formula)
            room -= sizes[formula]
    return np.isin(members, chosen or [np.argmin(sizes)])


def folds(
    dataset: Dataset,
    indices: NDArray[np.int64],
    n_folds: int,
    by: str = "configuration",
    seed: int = 0,
) -> list[NDArray[np.int64]]:
    """Divide configurations into folds of about equal size.

    Args:
        dataset: the data.
        indices: the configurations to divide.
        n_folds: number of folds.
        by: ``configuration`` assigns single configurations; ``formula`` assigns whole chemical
            formulas, in random order, each to the fold that is smallest so far.
        seed: seed of the random numbers.

    Returns:
        The indices of every fold, each in ascending order.

    Raises:
        DataError: fewer than two folds, or more folds than configurations or formulas.
    """
    generator = np.random.default_rng([seed, n_folds])
    unit_of = np.arange(len(indices))
    if by == "formula":
        unit_of = np.unique(dataset.formulas[indices], return_inverse=True)[1]
    n_units = int(unit_of.max()) + 1
    if not 2 <= n_folds <= n_units:
        kind = "formulas" if by == "formula" else "configurations"
        raise DataError(
            f"{n_units} {kind} cannot be divided into {n_folds} folds; expected 2 to {n_units}",
            code="EKD-DATA-052",
        )
    order = generator.permutation(n_units)
    fold_of = np.empty(n_units, dtype=np.int64)
    if by == "formula":
        sizes = np.bincount(unit_of)
        filled = np.zeros(n_folds, dtype=np.int64)
        for unit in order:
            fold_of[unit] = np.argmin(filled)
            filled[fold_of[unit]] += sizes[unit]
    else:
        fold_of[order] = np.arange(n_units) % n_folds
    return [indices[fold_of[unit_of] == k] for k in range(n_folds)]
