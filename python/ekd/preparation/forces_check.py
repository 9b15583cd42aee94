"""Consistency check of forces and energies: a wrong sign or unit shows in the work of forces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ekd.data import Dataset
from ekd.preparation.geometry import same_size
from ekd.units import BOHR

MAX_DISPLACEMENT = 0.3
"""Å, root mean square displacement, beyond which the trapezoidal rule is too inaccurate."""


_SURE, _ENOUGH, _NEAR = 0.9, 10, 0.12
"""Correlation and number of pairs needed to detect a factor of 1.9, and relative tolerance."""


@dataclass(frozen=True)
class Work:
    """Energy differences compared with the work of the mean force between nearby configurations.

    Attributes:
        ratio: ratio of the two by least squares: one if forces and energies agree, negative if
            the forces are gradients, the ratio of units if these were mixed up.
        correlation: near one if the ratio is meaningful.
        n_pairs: number of pairs of configurations that were compared.
    """

    ratio: float
    correlation: float
    n_pairs: int


def doubt(work: Work | None) -> str | None:
    """Return a warning about the forces with a remedy; None if there is none or data are few."""
    if work is None or abs(work.correlation) <= 0.7:
        return None
    if work.ratio < 0:
        return (
            "energies rise along the forces: the file contains gradients; reverse their sign with "
            "--gradients (gradients=True in Python)"
        )
    sure = work.correlation > _SURE and work.n_pairs >= _ENOUGH
    for ratio, what in ((1 / BOHR, "small"), (BOHR, "large")):
        if sure and abs(work.ratio / ratio - 1) < _NEAR:
            return (
                f"energy differences are {work.ratio:.3g} times the work of the forces, which are "
                f"too {what} by the length of a Bohr in Å: forces may be in energy per "
                f"{'Bohr' if what == 'small' else 'Å'} and were read as energy per "
                f"{'Å' if what == 'small' else 'Bohr'}; state their unit in the file, see "
                "docs/data.md"
            )
    if not 0.5 < work.ratio < 2:
        return (
            f"energy differences are {work.ratio:.3g} times the work of the forces: are both in "
            "the same unit?"
        )
    return None


def of_dataset(data: Dataset) -> str | None:
    """Apply :func:`doubt` to the forces of a dataset; None without forces."""
    if data.forces is None:
        return None
    check = ForcesCheck()
    _, groups = np.unique(data.groups, return_inverse=True)
    periodic = np.zeros(len(data), dtype=bool)
    if data.pbc is not None:
        periodic |= data.pbc.any(axis=1)
    check.add(
        data.atomic_numbers, data.positions, data.forces, data.offsets, data.energies,
        groups.reshape(-1), ~periodic,
    )  # fmt: skip
    return doubt(check.result())


class ForcesCheck:
    """Compares each configuration with the next one, if it is a nearby one of the same molecule."""

    def __init__(self) -> None:
        self._sums = np.zeros(3)  # sums of work², work * difference, difference²
        self._n_pairs = 0

    def add(
        self,
        atomic_numbers: NDArray[np.integer],
        positions: NDArray[np.float64],
        forces: NDArray[np.float64],
        offsets: NDArray[np.int64],
        energies: NDArray[np.float64],
        groups: NDArray[np.integer],
        chosen: NDArray[np.bool_],
    ) -> None:
        """Compare the configurations of a block.

        Args:
            atomic_numbers: [n_atoms].
            positions: [n_atoms, 3] Å.
            forces: [n_atoms, 3] eV/Å.
            offsets: [n_configs + 1].
            energies: [n_configs] eV.
            groups: [n_configs] groups; configurations of different groups are not compared.
            chosen: [n_configs] mask of the configurations to compare.
        """
        sizes = np.diff(offsets)
        first = np.flatnonzero(
            (sizes[1:] == sizes[:-1]) & (groups[1:] == groups[:-1]) & chosen[1:] & chosen[:-1]
        )
        for places, one in same_size(offsets, first):
            other = one + one.shape[1]
            shift = positions[other] - positions[one]
            shift -= shift.mean(axis=1, keepdims=True)
            near = np.sqrt(np.square(shift).sum(axis=2).mean(axis=1)) < MAX_DISPLACEMENT
            near &= (atomic_numbers[one] == atomic_numbers[other]).all(axis=1)
            force = 0.5 * (forces[one] + forces[other])
            work = -(force * shift).sum(axis=(1, 2))[near]
            difference = (energies[first[places] + 1] - energies[first[places]])[near]
            self._sums += [work @ work, work @ difference, difference @ difference]
            self._n_pairs += len(work)

    def result(self) -> Work | None:
        """Return the result; None if no pairs could be compared."""
        work, product, difference = self._sums
        if min(work, difference) <= 0:
            return None
        correlation = product / np.sqrt(work * difference)
        return Work(float(product / work), float(correlation), self._n_pairs)
