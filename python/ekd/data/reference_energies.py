"""Reference energies of the elements: given with a dataset, or fitted to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd.data.dataset import Dataset
from ekd.data.reference_checks import of_fit, of_given
from ekd.elements import symbol


def reference_energies(
    dataset: Dataset, indices: NDArray[np.int64] | None = None
) -> tuple[dict[int, float], list[str]]:
    """Return the reference energies for models of a dataset, with warnings.

    Args:
        dataset: dataset, whose own reference energies are used if it has any; otherwise they are
            fitted.
        indices: configurations to fit to, or to compare with; None: all.

    Returns:
        Atomic number -> energy (eV), in ascending order, for the elements of the configurations (if
        the dataset has reference energies: for all its elements); and warnings, each with a remedy.
    """
    chosen = slice(None) if indices is None else indices
    composition, energies = dataset.composition[chosen], dataset.energies[chosen]
    if dataset.reference_energies is not None:
        given = {number: dataset.reference_energies[number] for number in dataset.elements}
        return given, of_given(given, dataset.elements, composition, energies)
    fitted = fit_energies(dataset.elements, composition, energies)
    return fitted, of_fit(fitted, dataset.elements, composition, energies)


def provenance_of(
    dataset: Dataset, warnings: Sequence[str], corrected: bool = False
) -> dict[str, Any]:
    """Return the record of reference energies stored with a model: given values and warnings.

    Args:
        dataset: dataset that the model is trained on.
        warnings: warnings from :func:`reference_energies`.
        corrected: whether the model uses other values than the given ones, because it starts from
            a network for another level of theory.
    """
    given = dataset.reference_energies
    record: dict[str, Any] = {}
    if given is not None and not corrected:
        record["reference_energies"] = {symbol(z): given[z] for z in dataset.elements}
    if warnings:
        record["reference_warnings"] = list(warnings)
    return record


def fit_reference_energies(
    dataset: Dataset, indices: NDArray[np.int64] | None = None
) -> dict[int, float]:
    """Fit one energy per element to the total energies by linear least squares.

    If the compositions do not determine all energies (for example, water only), the solution of
    smallest norm is used; sums over molecules are still correct.

    Args:
        dataset: compositions and energies.
        indices: configurations to fit to; None: all.

    Returns:
        Atomic number -> energy (eV), in ascending order, for the elements that occur.
    """
    chosen = slice(None) if indices is None else indices
    return fit_energies(dataset.elements, dataset.composition[chosen], dataset.energies[chosen])


def fit_energies(
    elements: Sequence[int], composition: NDArray[np.integer[Any]], energies: NDArray[np.float64]
) -> dict[int, float]:
    """Same as :func:`fit_reference_energies`, for arrays.

    Args:
        elements: atomic numbers.
        composition: [n_configs, n_elements] number of atoms of each element.
        energies: [n_configs] eV.
    """
    present = composition.any(axis=0)
    matrix = composition[:, present].astype(np.float64)
    solution = np.linalg.lstsq(matrix, energies, rcond=None)[0]
    return dict(zip(np.asarray(elements)[present].tolist(), solution.tolist(), strict=True))
