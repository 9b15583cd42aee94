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
    """Return the indices of training and validation configurations, each in rising order.

    Args:
        dataset: at least two configurations.
        validation_fraction: share of the configurations held out, between 0 and 1.
        by: ``configuration`` draws them one by one. ``formula`` draws whole chemical formulas
            until no further one fits into the share, so that no conformer of a validation
            molecule is trained on; the smallest formula is taken if none fits.
        seed: seed of the draw.

    Raises:
        DataError: the fraction is not between 0 and 1, ``by`` is unknown, or there are too few
            configurations or formulas to have both parts.
    """
    if not 0 < validation_fraction < 1:
        raise DataError(f"validation_fraction is {validation_fraction}; expected 0 < value < 1")
    n_configs = len(dataset)
    if n_configs < 2:
        raise DataError("a split needs at least 2 configurations, found 1; add data")
    n_validation = min(max(round(validation_fraction * n_configs), 1), n_configs - 1)
    generator = np.random.default_rng(seed)
    if by == "configuration":
        held_out = np.zeros(n_configs, dtype=bool)
        held_out[generator.permutation(n_configs)[:n_validation]] = True
    elif by == "formula":
        held_out = _whole_formulas(dataset, n_validation, generator)
    else:
        raise DataError(f"cannot split by '{by}'; expected 'configuration' or 'formula'")
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _whole_formulas(
    dataset: Dataset, n_validation: int, generator: np.random.Generator
) -> NDArray[np.bool_]:
    formulas, members, sizes = np.unique(dataset.formulas, return_inverse=True, return_counts=True)
    if len(formulas) < 2:
        raise DataError(
            f"a split by formula needs at least 2 formulas, found only {formulas[0]}; "
            "split by 'configuration'"
        )
    chosen: list[int] = []
    room = n_validation
    for formula in generator.permutation(len(formulas)):
        if sizes[formula] <= room:
            chosen.append(formula)
            room -= sizes[formula]
    return np.isin(members, chosen or [np.argmin(sizes)])
