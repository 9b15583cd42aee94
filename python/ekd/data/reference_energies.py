"""Energies of isolated atoms, as far as a dataset fixes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd.data.dataset import Dataset


def fit_reference_energies(
    dataset: Dataset, indices: NDArray[np.int64] | None = None
) -> dict[int, float]:
    """Fit one energy per element to the total energies by linear least squares.

    Where compositions do not tell two elements apart (a set of water alone), the solution of
    smallest norm is taken: each sum over a molecule is still right.

    Args:
        dataset: compositions and energies.
        indices: configurations to fit to; None: all.

    Returns:
        Atomic number -> energy (eV), in rising order of atomic number, of the elements that occur.
    """
    chosen = slice(None) if indices is None else indices
    return fit_energies(dataset.elements, dataset.composition[chosen], dataset.energies[chosen])


def fit_energies(
    elements: Sequence[int], composition: NDArray[np.integer[Any]], energies: NDArray[np.float64]
) -> dict[int, float]:
    """The same for arrays.

    Args:
        elements: atomic numbers.
        composition: [n_configs, n_elements] atoms of each element.
        energies: [n_configs] eV.
    """
    present = composition.any(axis=0)
    matrix = composition[:, present].astype(np.float64)
    solution = np.linalg.lstsq(matrix, energies, rcond=None)[0]
    return dict(zip(np.asarray(elements)[present].tolist(), solution.tolist(), strict=True))
