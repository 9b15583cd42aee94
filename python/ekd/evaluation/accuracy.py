"""Errors of energies, conformer energies and forces: for all, by energy window, group and element.

All errors are in eV, eV/atom and eV/Å. Relative energies are energy differences between conformers:
configurations with the same composition in the same group of the data. Each pair of conformers is
counted once, as in the COMP6 benchmark (Smith et al., J. Chem. Phys. 148, 241733 (2018)). The
default energy window, conformers within 100 kcal/mol of the lowest one, is also that of COMP6.
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
"""Total energy (eV), energy per atom (eV/atom), energy differences of conformers (eV), force
components (eV/Å)."""

QUANTILES = (50, 90, 95, 99)
"""Percentiles of the absolute errors."""

_MAX_PAIRS = 1_000_000  # pairs of conformers for quantiles; if there are more, a random sample


@dataclass(frozen=True)
class Errors:
    """A distribution of absolute errors.

    Attributes:
        n: number of energies, pairs of conformers, or force components.
        mae: mean.
        rmse: root mean square.
        max: maximum.
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
        """Compute it from errors of any sign and shape; None if there are none."""
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
        """Average each number over several models, as expected for any one of them."""
        names = [field.name for field in fields(cls) if field.name != "n"]
        return cls(
            several[0].n,
            *(float(np.mean([getattr(one, name) for one in several])) for name in names),
        )


@dataclass(frozen=True)
class Slice:
    """A part of a dataset with separate errors.

    Attributes:
        kind: ``all``, ``window``, ``group`` or ``element``.
        name: name of the window, group or element; empty for all.
        configs: indices of its configurations; empty for elements, which have no energies.
        atoms: indices of its atoms.
    """

    kind: str
    name: str
    configs: NDArray[np.int64]
    atoms: NDArray[np.int64]


def conformers(data: Dataset) -> NDArray[np.int64]:
    """Return the number of the molecule of which each configuration is a conformer, [n_configs].

    Two configurations are conformers of one molecule if they have the same group and composition.
    """
    keys = np.char.add(np.char.add(data.groups, "\0"), data.formulas)
    _, inverse = np.unique(keys, return_inverse=True)
    return np.asarray(inverse.reshape(-1), dtype=np.int64)


def above_minimum(data: Dataset) -> Array:
    """Return the energies above the lowest conformer of each molecule, [n_configs] eV."""
    molecule = conformers(data)
    lowest = np.full(molecule.max() + 1, np.inf)
    np.minimum.at(lowest, molecule, data.energies)
    result: Array = data.energies - lowest[molecule]
    return result


def slices(data: Dataset, windows: Sequence[float], by_group: bool = True) -> Iterator[Slice]:
    """Yield the whole dataset, its energy windows (kcal/mol), groups and elements.

    Args:
        data: reference data.
        windows: energy windows above the lowest conformer, kcal/mol.
        by_group: include groups, if there is more than one.
    """
    yield Slice("all", "", np.arange(len(data)), np.arange(data.n_atoms))
    height = above_minimum(data)
    for window in windows:
        configs = np.flatnonzero(height <= window * KCAL_PER_MOL)
        yield Slice("window", f"{window:g} kcal/mol", configs, _atoms_of(data, configs))
    names, inverse, counts = np.unique(data.groups, return_inverse=True, return_counts=True)
    if by_group and len(names) > 1:
        # Use indices instead of masks, because there may be thousands of groups.
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
    """Compute the errors of one slice by quantity, for the available quantities.

    Args:
        part: slice of the dataset.
        data: reference data.
        molecule: result of :func:`conformers`.
        energies: predicted energies, [n_configs] eV; None: no energy errors.
        forces: predicted forces, [n_atoms, 3] eV/Å; None: no force errors.
        use_energies: whether total energies are at the same level of theory. Relative energies are
            always compared, because constants of a composition cancel.
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
    """Compute errors of the energy differences of all pairs of conformers; None without pairs.

    Mean and root mean square take ``n log n`` operations: for n sorted errors e, the sum of
    ``|e_i - e_j|`` over pairs is ``sum_k (2 k + 1 - n) e_k``, and the sum of squares is
    ``n sum e^2 - (sum e)^2``. Quantiles are those of all pairs, or of a million random ones.

    Args:
        errors: errors of the energies, [n_configs] eV.
        molecule: number of the molecule of each conformer, [n_configs].
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
    # Subtract the mean of each molecule, which cancels in differences, to avoid rounding errors.
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
