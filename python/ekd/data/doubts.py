"""What is doubtful about data that can be read: units, fillings, energies that do not fit together.

Each check returns one warning with what to do, or None. None of them needs the training to fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase.data import covalent_radii
from numpy.typing import NDArray

from ekd.data.reference_checks import electronic_energy
from ekd.units import BOHR, energy_unit

_UNITS = ("Hartree", "eV", "kcal/mol", "kJ/mol")
_ALL_ELECTRONS = (0.90, 1.12)
"""Of the series for atoms: what molecules have, of all electrons, in the right unit."""
_SAMPLE = 60
_LARGEST = 200  # atoms; larger configurations are not measured
_STRETCHED, _SHRUNK = (1.65, 2.2), (0.45, 0.6)
"""Nearest neighbors by the sum of covalent radii, where Å and Bohr are mistaken for each other."""
_NOBLE = (2, 10, 18, 36, 54, 86)
_CONFLICT = 0.01  # eV

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]


def of_arrays(
    name: str,
    numbers: Ints,
    positions: Floats,
    offsets: NDArray[np.int64],
    energies: Floats,
    forces: Floats | None,
    cells: Floats | None,
    pbc: NDArray[np.bool_] | None,
    size: float | None,
) -> list[str]:
    """What is doubtful about configurations.

    Args:
        name: of the file.
        numbers: [n_atoms] atomic numbers.
        positions: [n_atoms, 3] Å.
        offsets: [n_configs + 1] first atom of each configuration.
        energies: [n_configs] eV.
        forces: [n_atoms, 3] eV/Å, if there are any.
        cells: [n_configs, 3, 3] Å, if anything is periodic.
        pbc: [n_configs, 3], likewise.
        size: of the unit in which energies were read, in eV; None: not known.
    """
    found = [
        of_energy_unit(name, numbers, offsets, energies, size),
        of_zero_energies(name, energies),
        of_lengths(name, numbers, positions, offsets, cells, pbc),
        of_repeated(name, numbers, positions, offsets, energies, cells),
    ]
    if forces is not None:
        found.append(of_zero_forces(name, forces, offsets))
    return [text for text in found if text is not None]


def of_energy_unit(
    name: str,
    numbers: Ints,
    offsets: NDArray[np.int64],
    energies: Floats,
    size: float | None,
) -> str | None:
    """Compare total energies with those of all electrons of the atoms, in every unit."""
    if size is None:
        return None
    table = np.array([0.0, *(electronic_energy(z) for z in range(1, 119))])
    atoms = np.add.reduceat(table[numbers], offsets[:-1])
    ratio = energies / atoms
    low, high = np.quantile(ratio, [0.05, 0.95])
    for unit in _UNITS:
        expected = size / energy_unit(unit)
        if abs(expected - 1) < 1e-6:
            continue
        if _ALL_ELECTRONS[0] * expected < low and high < _ALL_ELECTRONS[1] * expected:
            return (
                f"energies in '{name}' are {np.median(ratio):.3g} times those that all electrons of "
                f"the atoms have, as if they were in {unit} and were read in another unit; check "
                f"them, and give energy_unit='{unit}'"
            )
    return None


def of_zero_energies(name: str, energies: Floats) -> str | None:
    """Zero among energies that are far from it stands for what was not computed."""
    n_zero = int((energies == 0).sum())
    if not n_zero or abs(float(np.median(energies))) < 1.0:
        return None
    return (
        f"{n_zero:,} of {len(energies):,} energies in '{name}' are exactly zero, which others are "
        "far from: were they computed? Remove these configurations, or write NaN for what is missing"
    )


def of_zero_forces(name: str, forces: Floats, offsets: NDArray[np.int64]) -> str | None:
    """Forces of zero on several atoms are often none."""
    sizes = np.diff(offsets)
    largest = np.maximum.reduceat(np.abs(forces).max(axis=1), offsets[:-1])
    n_zero = int(((largest == 0) & (sizes > 1)).sum())
    if not n_zero:
        return None
    return (
        f"{n_zero:,} of {len(sizes):,} configurations in '{name}' have forces that are exactly "
        "zero: were they computed? Remove these configurations, or write NaN for what is missing"
    )


def of_lengths(
    name: str,
    numbers: Ints,
    positions: Floats,
    offsets: NDArray[np.int64],
    cells: Floats | None,
    pbc: NDArray[np.bool_] | None,
) -> str | None:
    """Compare distances of nearest neighbors with bonds, in a sample."""
    sizes = np.diff(offsets)
    usable = np.flatnonzero((sizes > 2) & (sizes <= _LARGEST))
    if not len(usable):
        return None
    step = max(1, len(usable) // _SAMPLE)
    ratios = []
    for config in usable[::step]:
        atoms = slice(int(offsets[config]), int(offsets[config + 1]))
        here = np.asarray(positions[atoms], dtype=np.float64)
        vectors = here[None] - here[:, None]
        if cells is not None and pbc is not None and pbc[config].any():
            grid = np.array(np.meshgrid(*[[-1, 0, 1]] * 3)).reshape(3, -1).T * pbc[config]
            shifts = grid @ cells[config]
            distances = np.linalg.norm(vectors[None] + shifts[:, None, None], axis=3)
            distances[distances == 0] = np.inf
            distances = distances.min(axis=0)
        else:
            distances = np.linalg.norm(vectors, axis=2)
            np.fill_diagonal(distances, np.inf)
        kinds = np.asarray(numbers[atoms])
        radii = covalent_radii[kinds]
        scaled = (distances / (radii[None] + radii[:, None])).min(axis=1)
        ratios.append(scaled[~np.isin(kinds, _NOBLE)])
    found = np.concatenate(ratios)
    found = found[np.isfinite(found)]
    if not len(found):
        return None
    ratio = float(np.median(found))
    if _STRETCHED[0] <= ratio <= _STRETCHED[1]:
        return (
            f"nearest neighbors in '{name}' are {ratio:.1f} times as far apart as bonds are long: "
            f"Bohr ({BOHR:.3f} Å) may have been read as Å; check the positions, and give "
            "length_unit='Bohr'"
        )
    if _SHRUNK[0] <= ratio <= _SHRUNK[1]:
        return (
            f"nearest neighbors in '{name}' are {ratio:.2f} times as far apart as bonds are long: Å "
            "may have been read as Bohr; check the positions and length_unit"
        )
    return None


def of_repeated(
    name: str,
    numbers: Ints,
    positions: Floats,
    offsets: NDArray[np.int64],
    energies: Floats,
    cells: Floats | None,
) -> str | None:
    """The very same numbers as positions, with two energies."""
    first_of = repeated(numbers, positions, offsets, cells)
    later = np.flatnonzero(first_of != np.arange(len(first_of)))
    difference = np.abs(energies[later] - energies[first_of[later]])
    n_conflicts = int((difference > _CONFLICT).sum())
    if not n_conflicts:
        return None
    return (
        f"{n_conflicts:,} configurations in '{name}' repeat the geometry of an earlier one with "
        f"another energy, by up to {1000 * difference.max():.4g} meV: are there two methods, or "
        "calculations that ended in another state? Keep one energy for each geometry"
    )


def repeated(
    numbers: Ints, positions: Floats, offsets: NDArray[np.int64], cells: Floats | None
) -> NDArray[np.int64]:
    """[n_configs] first configuration with the same atoms, positions and cell, bit by bit."""
    n_configs = len(offsets) - 1
    generator = np.random.default_rng(0)
    sizes = np.diff(offsets)
    place = np.arange(len(numbers)) - np.repeat(offsets[:-1], sizes)
    weights = generator.normal(size=(int(sizes.max()), 4))[place]
    per_atom = weights[:, 0] * numbers + (weights[:, 1:] * positions).sum(axis=1)
    sums = np.add.reduceat(per_atom, offsets[:-1])
    if cells is not None:
        sums = sums + cells.reshape(n_configs, 9) @ generator.normal(size=9)
    order = np.lexsort((np.arange(n_configs), sums, sizes))
    first_of = np.arange(n_configs)
    for one, other in zip(order[:-1], order[1:], strict=True):
        if sums[one] != sums[other] or sizes[one] != sizes[other]:
            continue
        earlier = first_of[one]
        a, b = (slice(*offsets[k : k + 2]) for k in (earlier, other))
        if (numbers[a] == numbers[b]).all() and (positions[a] == positions[b]).all():
            first_of[other] = earlier
    return first_of


def of_intensive(
    name: str, elements: Sequence[int], composition: Ints, energies: Floats
) -> str | None:
    """Energies per atom in the place of total energies: these are sums over atoms, to a first."""
    sizes = composition.sum(axis=1)
    formulas = np.unique(composition, axis=0)
    if len(formulas) < len(elements) + 3 or sizes.max() < 1.5 * sizes.min():
        return None
    matrix = composition.astype(np.float64)

    def unexplained(values: Floats) -> float:
        left = values - matrix @ np.linalg.lstsq(matrix, values, rcond=None)[0]
        return float(np.sqrt(np.mean((left / sizes) ** 2)))

    total, per_atom = unexplained(energies), unexplained(energies * sizes)
    if per_atom > 0.1 * total or total < 0.05:
        return None
    return (
        f"energies in '{name}' are sums over atoms only after they are multiplied by the number of "
        f"atoms (residuals of {per_atom:.3g} instead of {total:.3g} eV per atom): they may be "
        "energies per atom; expected total energies"
    )
