"""Analysis of the data: reference energies, outliers, duplicates, contacts, gaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ekd.data.readers.source import config_ranges, flat_cells, incomplete
from ekd.data.reference_checks import of_fit, of_given
from ekd.data.reference_energies import fit_energies
from ekd.elements import symbol
from ekd.errors import DataError
from ekd.preparation.duplicates import Geometries, find_duplicates
from ekd.preparation.forces_check import ForcesCheck, Work
from ekd.preparation.geometry import PairContacts, measure
from ekd.preparation.staging import Staging

MAD_OF_NORMAL = 1.4826
"""Ratio of standard deviation and median absolute deviation of a normal distribution."""

ENOUGH = 10
"""Minimum number of configurations of a formula for a comparison with their median."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """Results for every configuration with an energy.

    Attributes:
        elements: atomic numbers, in ascending order.
        composition: [n_configs, n_elements] number of atoms of each element.
        offsets: [n_configs + 1] first atom of each configuration.
        gaps: masks [n_configs] of unusable configurations, by problem.
        reference_energies: eV by atomic number, fitted without the outliers.
        isolated_atoms: eV by atomic number, from frames marked as such; may be empty.
        residuals: (energy - sum of reference energies) / atoms, [n_configs] eV; NaN: unusable.
        energy_outliers: [n_configs] whether the residual is too far from similar ones, see
            :func:`analyse`.
        contacts: smallest distance, [n_configs] Å, see :class:`~.geometry.Measures`.
        pair_contacts: smallest distance of pairs of elements, [n_elements, n_elements] Å.
        first_of: [n_configs] first configuration with the same geometry.
        work: agreement of forces and energies; None without forces.
    """

    elements: NDArray[np.int64]
    composition: NDArray[np.int32]
    offsets: NDArray[np.int64]
    gaps: dict[str, NDArray[np.bool_]]
    reference_energies: dict[int, float]
    isolated_atoms: dict[int, float]
    residuals: NDArray[np.float64]
    energy_outliers: NDArray[np.bool_]
    contacts: NDArray[np.float64]
    pair_contacts: NDArray[np.float64]
    first_of: NDArray[np.int64]
    work: Work | None

    @property
    def unusable(self) -> NDArray[np.bool_]:
        """[n_configs] whether a configuration has any problem."""
        mask: NDArray[np.bool_] = np.any(list(self.gaps.values()), axis=0)
        return mask

    def reference_warnings(
        self, kept: NDArray[np.bool_], energies: NDArray[np.float64]
    ) -> list[str]:
        """Return warnings about the reference energies that models of these data will use.

        Args:
            kept: [n_configs] mask of the configurations that are kept.
            energies: [n_kept] eV.
        """
        elements, composition = self.elements.tolist(), self.composition[kept]
        if self.isolated_atoms:
            return of_given(self.isolated_atoms, elements, composition, energies)
        return of_fit(self.reference_energies, elements, composition, energies)

    @property
    def duplicates(self) -> NDArray[np.bool_]:
        """[n_configs] whether an earlier configuration has the same geometry."""
        return np.asarray(self.first_of != np.arange(len(self.first_of)))


def analyse(
    staging: Staging, deviations: float, advance: Callable[[int], object] = lambda _: None
) -> Analysis:
    """Analyze every configuration, in bounded memory except for a few numbers per configuration.

    The energy of a configuration is compared with the median of its formula, if the formula occurs
    often enough, and otherwise with the reference energies. Isomers and conformers of one formula
    are much closer to each other than to a sum over atoms.

    Args:
        staging: the data.
        deviations: largest distance of an energy residual from the median, in robust standard
            deviations of all configurations that are compared in the same way.
        advance: called with the number of configurations after each block.
    """
    atomic_numbers, positions = staging.array("atomic_numbers"), staging.array("positions")
    cells, pbc = staging.array("cells"), staging.array("pbc")
    forces, groups = staging.array("forces"), staging.array("group_index")
    energies = np.asarray(staging.array("energies"))
    sizes = np.asarray(staging.array("sizes"))
    n_configs = len(sizes)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    ranges = list(config_ranges(offsets))
    elements = np.unique(
        np.concatenate([np.unique(atomic_numbers[offsets[i] : offsets[j]]) for i, j in ranges])
    ).astype(np.int64)

    gaps = {
        "no atoms": sizes == 0,
        "positions that are not finite": np.zeros(n_configs, dtype=bool),
        "no finite forces": np.zeros(n_configs, dtype=bool),
        "lattice vectors that are missing or lie in one plane": np.zeros(n_configs, dtype=bool),
    }
    no_atoms, bad_positions, bad_forces, bad_cells = gaps.values()
    composition = np.zeros((n_configs, len(elements)), dtype=np.int32)
    contacts, keys = np.empty(n_configs), np.empty((n_configs, 2))
    pair_contacts = PairContacts(elements)
    check = ForcesCheck() if len(forces) else None
    for first, last in ranges:
        configs, atoms = slice(first, last), slice(offsets[first], offsets[last])
        numbers, here = np.asarray(atomic_numbers[atoms]), np.asarray(positions[atoms])
        bad_positions[configs] = incomplete(here, sizes[configs])
        if check is not None:
            bad_forces[configs] = incomplete(forces[atoms], sizes[configs])
        bad_cells[configs] = flat_cells(cells[configs], pbc[configs])
        good = ~(no_atoms | bad_positions | bad_forces | bad_cells)[configs]
        flat = np.repeat(np.arange(last - first), sizes[configs]) * len(elements)
        flat += np.searchsorted(elements, numbers)
        counts = np.bincount(flat, minlength=(last - first) * len(elements))
        composition[configs] = counts.reshape(-1, len(elements))
        block_offsets = offsets[first : last + 1] - offsets[first]
        measures = measure(
            numbers, here, block_offsets, cells[configs], pbc[configs], good, pair_contacts
        )
        contacts[configs], keys[configs] = measures.contacts, measures.keys
        if check is not None:
            check.add(
                numbers, here, np.asarray(forces[atoms]), block_offsets,
                energies[configs], groups[configs], good & ~pbc[configs].any(axis=1),
            )  # fmt: skip
        advance(last - first)

    good = ~np.any(list(gaps.values()), axis=0)
    reference, residuals, outliers = _fit(elements, composition, energies, good, deviations)
    geometries = Geometries(atomic_numbers, positions, offsets, cells, pbc)
    return Analysis(
        elements=elements,
        composition=composition,
        offsets=offsets,
        gaps=gaps,
        reference_energies=reference,
        isolated_atoms=_isolated_atoms(staging, elements),
        residuals=residuals,
        energy_outliers=outliers,
        contacts=contacts,
        pair_contacts=pair_contacts.distances,
        first_of=find_duplicates(composition, keys, geometries),
        work=None if check is None else check.result(),
    )


def _isolated_atoms(staging: Staging, elements: NDArray[np.int64]) -> dict[int, float]:
    """Return the isolated atoms of the elements that occur.

    Raises:
        DataError: only some of these elements have an isolated atom.
    """
    known = staging.isolated_atoms
    missing = [symbol(int(z)) for z in elements if z not in known]
    if known and missing:
        raise DataError(
            f"there are isolated atoms of {', '.join(map(symbol, sorted(known)))}, and none of "
            f"{', '.join(missing)}, which the data also contain; add these, or remove the marks "
            "config_type=IsolatedAtom",
            code="EKD-DATA-011",
        )
    return {int(z): known[int(z)] for z in elements} if known else {}


def _fit(
    elements: NDArray[np.int64],
    composition: NDArray[np.int32],
    energies: NDArray[np.float64],
    good: NDArray[np.bool_],
    deviations: float,
) -> tuple[dict[int, float], NDArray[np.float64], NDArray[np.bool_]]:
    """Return reference energies, residuals per atom (NaN if unusable), and a mask of outliers."""
    residuals, outliers = np.full(len(energies), np.nan), np.zeros(len(energies), dtype=bool)
    reference: dict[int, float] = {}
    if not good.any():
        return reference, residuals, outliers
    atoms = composition[good]
    _, formula = np.unique(atoms, axis=0, return_inverse=True)
    for _ in range(5):  # outliers distort the fit: leave them out, and repeat
        used = good & ~outliers
        reference = fit_energies(elements.tolist(), composition[used], energies[used])
        values = np.array([reference.get(int(number), 0.0) for number in elements])
        residuals[good] = (energies[good] - atoms @ values) / atoms.sum(axis=1)
        before = outliers.copy()
        outliers[good] = _far(residuals[good], formula.reshape(-1), deviations)
        if (outliers == before).all():
            break
    return reference, residuals, outliers


def _far(
    values: NDArray[np.float64], formula: NDArray[np.int64], deviations: float
) -> NDArray[np.bool_]:
    """Mask of values far from the median of their formula, or of all rare formulas."""
    order = np.lexsort((values, formula))
    counts = np.bincount(formula)
    first = np.cumsum(counts) - counts
    medians = values[order[first + counts // 2]]
    rare = (counts < ENOUGH)[formula]
    distance = np.empty_like(values)
    distance[~rare] = np.abs(values - medians[formula])[~rare]
    distance[rare] = np.abs(values[rare] - np.median(values[rare])) if rare.any() else 0.0
    far = np.zeros(len(values), dtype=bool)
    for kind in (rare, ~rare):
        if kind.any():
            # With a spread of zero, rounding errors would be outliers.
            spread = max(MAD_OF_NORMAL * float(np.median(distance[kind])), 1e-6)
            far[kind] = distance[kind] > deviations * spread
    return far
