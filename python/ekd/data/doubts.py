"""Checks for suspicious data: units, placeholder values, energies that are inconsistent.

Each check returns None or one warning that says what to do. No check needs a training run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import covalent_radii
from numpy.typing import NDArray

from ekd.data.dataset import Dataset
from ekd.data.reference_checks import electronic_energy
from ekd.elements import symbol
from ekd.units import BOHR, energy_unit

_UNITS = ("Hartree", "eV", "kcal/mol", "kJ/mol")
_ALL_ELECTRONS = (0.90, 1.12)
"""Range of total energies relative to the sum of all-electron energies of the atoms."""
_SAMPLE = 60
_LARGEST = 200  # atoms; larger configurations are skipped
_STRETCHED, _SHRUNK = (1.65, 2.2), (0.45, 0.6)
"""Nearest-neighbor distance / sum of covalent radii if Å and Bohr are mistaken for each other."""
_FARTHEST, _LONGEST_BOND = 200.0, 3.0
"""Å: allowed extent of a configuration, and what each of its atoms adds to it."""
_NOBLE = (2, 10, 18, 36, 54, 86)
_CONFLICT = 0.01  # eV
_FAR_FROM_ZERO = 5.0  # eV
_ENOUGH = 10  # configurations of a formula
_GAP = (1.0, 3.0)  # eV, between two groups: in most formulas; in a single formula
_GAP_BY_SPREAD = 3.0

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]


def of_dataset(data: Dataset, size: float | None) -> list[str]:
    """Return warnings about the configurations that were read.

    Args:
        data: all configurations.
        size: unit in which the energies were read, in eV; None: unknown.
    """
    name = Path(data.provenance.path).name
    found = of_energies(name, data.elements, data.composition, data.energies, size)
    found.append(
        of_lengths(name, data.atomic_numbers, data.positions, data.offsets, data.cells, data.pbc)
    )
    found.append(
        of_distant_atoms(name, extents(data.positions, data.offsets), data.offsets, data.pbc)
    )
    found.append(
        of_repeated(
            name, data.atomic_numbers, data.positions, data.offsets, data.energies, data.cells
        )
    )
    if data.forces is not None:
        found.append(of_zero_forces(name, n_zero_forces(data.forces, data.offsets), len(data)))
    return [text for text in found if text is not None]


def of_energies(
    name: str,
    elements: Sequence[int],
    composition: Ints,
    energies: Floats,
    size: float | None,
) -> list[str | None]:
    """Return warnings about the energies.

    Args:
        name: name of the file.
        elements: atomic numbers, the columns of ``composition``.
        composition: [n_configs, n_elements] number of atoms of each element.
        energies: [n_configs] eV.
        size: unit in which the energies were read, in eV; None: unknown, or several units.
    """
    return [
        of_energy_unit(name, elements, composition, energies, size),
        of_zero_energies(name, energies),
        of_intensive(name, elements, composition, energies),
        of_two_levels(name, elements, composition, energies),
    ]


def of_energy_unit(
    name: str,
    elements: Sequence[int],
    composition: Ints,
    energies: Floats,
    size: float | None,
) -> str | None:
    """Compare total energies with the all-electron energies of the atoms in each energy unit."""
    if size is None:
        return None
    atoms = composition @ np.array([electronic_energy(z) for z in elements])
    ratio = energies / atoms
    low, high = np.quantile(ratio, [0.05, 0.95])
    for unit in _UNITS:
        expected = size / energy_unit(unit)
        if abs(expected - 1) < 1e-6:
            continue
        if _ALL_ELECTRONS[0] * expected < low and high < _ALL_ELECTRONS[1] * expected:
            return (
                f"energies in '{name}' are {np.median(ratio):.3g} times the all-electron energies "
                f"of the atoms, as if they were in {unit} but were read in another unit; check "
                f"them, and give energy_unit='{unit}'"
            )
    return None


def of_zero_energies(name: str, energies: Floats) -> str | None:
    """Find energies of exactly zero among others far from zero: probably not computed."""
    n_zero = int((energies == 0).sum())
    # Relative energies are near zero anyway.
    if not n_zero or np.abs(energies[energies != 0]).min(initial=np.inf) < _FAR_FROM_ZERO:
        return None
    if n_zero == len(energies):
        return None
    return (
        f"{n_zero:,} of {len(energies):,} energies in '{name}' are exactly zero, while the others "
        "are far from zero: were they computed? Remove these configurations, or write NaN for "
        "missing values"
    )


def n_zero_forces(forces: Floats, offsets: NDArray[np.int64]) -> int:
    """Number of configurations with several atoms whose forces are all exactly zero."""
    sizes = np.diff(offsets)
    config = np.repeat(np.arange(len(sizes)), sizes)
    others = np.bincount(config[(forces != 0).any(axis=1)], minlength=len(sizes))
    return int(((others == 0) & (sizes > 1)).sum())


def of_zero_forces(name: str, n_zero: int, n_configs: int) -> str | None:
    """Warn about forces that are zero on all of several atoms: often they were not computed."""
    if not n_zero:
        return None
    return (
        f"{n_zero:,} of {n_configs:,} configurations in '{name}' have forces that are exactly "
        "zero: were they computed? Remove these configurations, or write NaN for missing values"
    )


def of_lengths(
    name: str,
    numbers: Ints,
    positions: Floats,
    offsets: NDArray[np.int64],
    cells: Floats | None,
    pbc: NDArray[np.bool_] | None,
) -> str | None:
    """Compare nearest-neighbor distances with bond lengths, in a sample of configurations."""
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
            f"nearest neighbors in '{name}' are {ratio:.2f} times as far apart as bonds are long: "
            "Å may have been read as Bohr; check the positions and length_unit"
        )
    return None


def extents(positions: Floats, offsets: NDArray[np.int64]) -> Floats:
    """Largest difference of a coordinate in each configuration, shape (n_configs,), in Å."""
    here = np.asarray(positions, dtype=np.float64)
    first = offsets[:-1] - offsets[0]
    largest: Floats = np.ptp(
        [np.minimum.reduceat(here, first), np.maximum.reduceat(here, first)], axis=0
    ).max(axis=1)
    return largest


def of_distant_atoms(
    name: str, extents: Floats, offsets: NDArray[np.int64], pbc: NDArray[np.bool_] | None
) -> str | None:
    """Look for atoms that are far from all others, in configurations that are not periodic."""
    too_far = extents > _FARTHEST + _LONGEST_BOND * np.diff(offsets)
    if pbc is not None:
        too_far &= ~np.asarray(pbc).any(axis=1)
    if not too_far.any():
        return None
    return (
        f"{too_far.sum():,} configurations in '{name}' extend over up to "
        f"{extents[too_far].max():.4g} Å, which is more than a chain of their atoms: a number may "
        "be damaged, or molecules may be parts of a periodic box; check the positions"
    )


def of_repeated(
    name: str,
    numbers: Ints,
    positions: Floats,
    offsets: NDArray[np.int64],
    energies: Floats,
    cells: Floats | None,
) -> str | None:
    """Find identical positions with two different energies."""
    first_of = repeated(numbers, positions, offsets, cells)
    later = np.flatnonzero(first_of != np.arange(len(first_of)))
    difference = np.abs(energies[later] - energies[first_of[later]])
    n_conflicts = int((difference > _CONFLICT).sum())
    if not n_conflicts:
        return None
    return (
        f"{n_conflicts:,} configurations in '{name}' repeat the geometry of an earlier one with "
        f"another energy, by up to {1000 * difference.max():.4g} meV: are there two methods, or "
        "calculations that converged to another state? Keep one energy for each geometry"
    )


def repeated(
    numbers: Ints, positions: Floats, offsets: NDArray[np.int64], cells: Floats | None
) -> NDArray[np.int64]:
    """[n_configs] first configuration with bitwise equal atoms, positions and cell."""
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
    before, after = order[:-1], order[1:]
    alike = (sums[before] == sums[after]) & (sizes[before] == sizes[after])
    for one, other in zip(before[alike], after[alike], strict=True):
        earlier = first_of[one]
        a, b = (slice(*offsets[k : k + 2]) for k in (earlier, other))
        if (numbers[a] == numbers[b]).all() and (positions[a] == positions[b]).all():
            first_of[other] = earlier
    return first_of


def of_intensive(
    name: str, elements: Sequence[int], composition: Ints, energies: Floats
) -> str | None:
    """Find energies per atom given as total energies, which are roughly sums over the atoms."""
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
        f"energies in '{name}' are sums over atoms only after multiplication by the number of "
        f"atoms (residuals of {per_atom:.3g} instead of {total:.3g} eV per atom): they may be "
        "energies per atom; expected total energies"
    )


def of_two_levels(
    name: str, elements: Sequence[int], composition: Ints, energies: Floats
) -> str | None:
    """Find energies of one formula that fall into two groups separated by a gap."""
    _, formula = np.unique(composition, axis=0, return_inverse=True)
    formula = formula.reshape(-1)
    order = np.lexsort((energies, formula))
    counts = np.bincount(formula)
    starts = np.cumsum(counts) - counts
    found: dict[int, tuple[float, int, int]] = {}
    large = np.flatnonzero(counts >= _ENOUGH)
    for kind in large.tolist():
        values = energies[order[starts[kind] : starts[kind] + counts[kind]]]
        gaps = np.diff(values)
        cut = int(np.argmax(gaps)) + 1
        sides = values[:cut], values[cut:]
        if min(map(len, sides)) < max(3, 0.03 * len(values)):
            continue
        spread = max(float(np.quantile(side, 0.9) - np.quantile(side, 0.1)) for side in sides)
        if gaps[cut - 1] > max(_GAP[0], _GAP_BY_SPREAD * spread):
            found[kind] = float(gaps[cut - 1]), len(sides[0]), len(sides[1])
    widest = max((gap for gap, _, _ in found.values()), default=0.0)
    if widest < _GAP[1] and not (len(found) > 1 and len(found) >= 0.8 * len(large)):
        return None
    examples = []
    for kind, (gap, one, other) in sorted(found.items(), key=lambda entry: -entry[1][0])[:3]:
        counted = zip(elements, composition[order[starts[kind]]].tolist(), strict=True)
        atoms = "".join(f"{symbol(z)}{n if n > 1 else ''}" for z, n in counted if n)
        examples.append(f"{atoms}: {one:,} and {other:,} configurations, {gap:.1f} eV apart")
    return (
        f"energies of one formula in '{name}' fall into two groups ({'; '.join(examples)}): two "
        "methods, programs or charges may be mixed. If they are, keep one of them, e.g. with where"
    )
