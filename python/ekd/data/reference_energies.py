"""Energies of isolated atoms, as far as a dataset fixes them."""

from __future__ import annotations

import numpy as np

from ekd.data.dataset import Dataset


def fit_reference_energies(dataset: Dataset) -> dict[int, float]:
    """Fit one energy per element to the total energies by linear least squares.

    Where compositions do not tell two elements apart (a set of water alone), the solution of
    smallest norm is taken: each sum over a molecule is still right.

    Returns:
        Atomic number -> energy (eV), in rising order of atomic number.
    """
    solution = np.linalg.lstsq(
        dataset.composition.astype(np.float64), dataset.energies, rcond=None
    )[0]
    return dict(zip(dataset.elements, solution.tolist(), strict=True))
