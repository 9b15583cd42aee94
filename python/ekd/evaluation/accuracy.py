"""Errors of energies, conformer energies and forces: of all, in windows, by group, by element.

All errors are in eV, eV/atom and eV/Å. Relative energies are energy differences between conformers:
configurations with the same composition in the same group of the data. Every pair of conformers
counts once, as in the COMP6 benchmark (Smith et al., J. Chem. Phys. 148, 241733 (2018)), whose
energy window is kept too: conformers within 100 kcal/mol of the lowest one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ekd.data import Dataset
from ekd.elements import symbol
from ekd.units import KCAL_PER_MOL

Array = NDArray[np.float64]

QUANTITIES = ("energy", "energy_per_atom", "relative_energy", "force")
"""Total energy (eV), the same per atom (eV/atom), energy differences of conformers (eV), force
components (eV/Å)."""

QUANTILES = (50, 90, 95, 99)
"""Per cent of the errors that are below."""

_MAX_PAIRS = 1_000_000  # of conformers that quantiles are taken from; beyond it, so many at random


@dataclass(frozen=True)
class Errors:
    """A distribution of absolute errors.

    Attributes:
        n: energies, pairs of conformers, or force components.
        mae: mean.
        rmse: root mean square.
        max: largest.
        q50: median; q90, q95, q99: 90, 95 and 99 % of the errors are below.
    """

    n: int
    mae: float
    rmse: float
    max: float
    q50: float
    q90: float
    q95: float
    q99: float

    @classmethod
    def of(cls, errors: NDArray[np.floating[Any]]) -> Errors | None:
        """Those of some errors of any sign and shape; None of none."""
        if errors.size == 0:
            return None
        absolute = np.abs(errors.ravel())
        return cls(
            absolute.size,
            float(absolute.mean()),
            float(np.sqrt(np.mean(absolute**2))),
            float(absolute.max()),
            *(float(value) for value in np.percentile(absolute, QUANTILES)),
        )

    @classmethod
    def mean(cls, several: Sequence[Errors]) -> Errors:
        """Every number averaged: what to expect of any one of several models."""
        names = [field.name for field in fields(cls) if field.name != "n"]
        return cls(
            several[0].n,
            *(float(np.mean([getattr(one, name) for one in several])) for name in names),
        )


@dataclass(frozen=True)
class Slice:
    """A part of a dataset that gets rows of its own.

    Attributes:
        kind: ``all``, ``window``, ``group`` or ``element``.
        name: of the window, group or element; empty for all.
        configs: numbers of its configurations; none for an element: an energy belongs to none.
        atoms: numbers of its atoms.
    """

    kind: str
    name: str
    configs: NDArray[np.int64]
    atoms: NDArray[np.int64]


def conformers(data: Dataset) -> NDArray[np.int64]:
    """Number of the molecule that each configuration is a conformer of, [n_configs].

    Two configurations are conformers of one molecule if group and composition are the same.
    """
    keys = np.char.add(np.char.add(data.groups, "\0"), data.formulas)
    _, inverse = np.unique(keys, return_inverse=True)
    return np.asarray(inverse.reshape(-1), dtype=np.int64)


def above_minimum(data: Dataset) -> Array:
    """Energy of each configuration above the lowest conformer of its molecule, [n_configs] eV."""
    molecule = conformers(data)
    lowest = np.full(molecule.max() + 1, np.inf)
    np.minimum.at(lowest, molecule, data.energies)
    result: Array = data.energies - lowest[molecule]
    return result


def slices(data: Dataset, windows: Sequence[float], by_group: bool = True) -> Iterator[Slice]:
    """All of a dataset, its energy windows (kcal/mol), groups and elements.

    Args:
        data: the truth.
        windows: of energies above the lowest conformer, kcal/mol.
        by_group: whether groups get rows; if there is one alone, it gets none.
    """
    yield Slice("all", "", np.arange(len(data)), np.arange(data.n_atoms))
    height = above_minimum(data)
    for window in windows:
        configs = np.flatnonzero(height <= window * KCAL_PER_MOL)
        yield Slice("window", f"{window:g} kcal/mol", configs, _atoms_of(data, configs))
    names, inverse, counts = np.unique(data.groups, return_inverse=True, return_counts=True)
    if by_group and len(names) > 1:
        # Numbers, not masks: there may be thousands of groups.
        order = np.argsort(inverse.reshape(-1), kind="stable")
        for name, configs in zip(names, np.split(order, np.cumsum(counts)[:-1]), strict=True):
            yield Slice("group", str(name), configs, _atoms_of(data, configs))
    for number in data.elements:
        atoms = np.flatnonzero(data.atomic_numbers == number)
        yield Slice("element", symbol(number), np.empty(0, dtype=np.int64), atoms)


def _atoms_of(data: Dataset, configs: NDArray[np.int64]) -> NDArray[np.int64]:
    counts = data.n_atoms_per_config[configs]
    ends = np.cumsum(counts)
    within = np.arange(counts.sum()) - np.repeat(ends - counts, counts)
    result: NDArray[np.int64] = np.repeat(data.offsets[configs], counts) + within
    return result


def measure(
    part: Slice,
    data: Dataset,
    molecule: NDArray[np.int64],
    energies: Array | None,
    forces: Array | None,
    use_energies: bool,
) -> dict[str, Errors]:
    """Errors of one slice, by quantity; without those that nothing is known about.

    Args:
        part: of the dataset.
        data: the truth.
        molecule: from :func:`conformers`.
        energies: predicted, [n_configs] eV; None: not looked at.
        forces: predicted, [n_atoms, 3] eV/Å; None: not looked at.
        use_energies: whether total energies are at one level of theory. Relative energies are
            measured in any case: constants of a composition cancel.
    """
    found: dict[str, Errors | None] = {}
    if energies is not None:
        errors = (energies - data.energies)[part.configs]
        if use_energies:
            found["energy"] = Errors.of(errors)
            found["energy_per_atom"] = Errors.of(errors / data.n_atoms_per_config[part.configs])
        found["relative_energy"] = relative_errors(errors, molecule[part.configs])
    if forces is not None and data.forces is not None:
        found["force"] = Errors.of(forces[part.atoms] - data.forces[part.atoms])
    return {name: value for name, value in found.items() if value is not None}


def relative_errors(errors: Array, molecule: NDArray[np.int64]) -> Errors | None:
    """Errors of the energy differences of all pairs of conformers; None if there is no pair.

    Mean and root mean square take ``n log n`` operations: of n sorted errors e, the sum of
    ``|e_i - e_j|`` over pairs is ``sum_k (2 k + 1 - n) e_k``, that of the squares is
    ``n sum e^2 - (sum e)^2``. Quantiles are those of all pairs, or of a million drawn at random.

    Args:
        errors: of the energies, [n_configs] eV.
        molecule: numbers that are equal for conformers of a molecule, [n_configs].
    """
    if len(errors) == 0:
        return None
    order = np.lexsort((errors, molecule))
    errors, molecule = errors[order], molecule[order]
    starts = np.flatnonzero(np.concatenate([[True], molecule[1:] != molecule[:-1]]))
    counts = np.diff(np.append(starts, len(errors)))
    n_pairs = counts * (counts - 1) // 2
    total = int(n_pairs.sum())
    if total == 0:
        return None
    # Offsets of a molecule cancel: without them the squares keep their digits.
    errors = errors - np.repeat(np.add.reduceat(errors, starts) / counts, counts)
    rank = np.arange(len(errors)) - np.repeat(starts, counts)
    absolute = float(np.sum((2 * rank + 1 - np.repeat(counts, counts)) * errors))
    squares = float(np.sum(counts * np.add.reduceat(errors**2, starts)))
    largest = float(np.max(errors[starts + counts - 1] - errors[starts]))
    sample = _pair_differences(errors, starts, counts, n_pairs)
    return Errors(
        total,
        absolute / total,
        float(np.sqrt(squares / total)),
        largest,
        *(float(value) for value in np.percentile(sample, QUANTILES)),
    )


def _pair_differences(
    errors: Array, starts: NDArray[np.int64], counts: NDArray[np.int64], n_pairs: NDArray[np.int64]
) -> Array:
    if n_pairs.sum() <= _MAX_PAIRS:
        parts = []
        for start, count in zip(starts[counts > 1], counts[counts > 1], strict=True):
            i, j = np.triu_indices(count, k=1)
            parts.append(errors[start + j] - errors[start + i])
        return np.concatenate(parts)
    random = np.random.default_rng(0)
    chosen = random.choice(len(starts), size=_MAX_PAIRS, p=n_pairs / n_pairs.sum())
    i = random.integers(counts[chosen])
    j = (i + 1 + random.integers(counts[chosen] - 1)) % counts[chosen]  # never i itself
    result: Array = np.abs(errors[starts[chosen] + i] - errors[starts[chosen] + j])
    return result
