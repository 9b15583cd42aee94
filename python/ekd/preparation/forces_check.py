"""Do the forces belong to the energies? A wrong sign or unit shows in the work that they do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ekd.data import Dataset
from ekd.preparation.geometry import same_size
from ekd.units import BOHR

MAX_DISPLACEMENT = 0.3
"""Å, root mean square: between configurations further apart than this, the trapezoid is too bad."""


_SURE, _ENOUGH, _NEAR = 0.9, 10, 0.12
"""Correlation and number of pairs that tell a factor of 1.9 from one, and how near it must be."""


@dataclass(frozen=True)
class Work:
    """Energy differences against the work of the mean force between neighbouring configurations.

    Attributes:
        ratio: of the two, by least squares; one where forces and energies agree, negative where
            the forces are gradients, and the ratio of units where these were mixed up.
        correlation: near one where the ratio means anything.
        n_pairs: pairs of configurations that were compared.
    """

    ratio: float
    correlation: float
    n_pairs: int


def doubt(work: Work | None) -> str | None:
    """What is wrong with forces, with what to do; None: nothing, or it cannot be told."""
    if work is None or abs(work.correlation) <= 0.7:
        return None
    if work.ratio < 0:
        return (
            "energies rise along the forces: the file holds gradients; turn their sign with "
            "--gradients (gradients=True in Python)"
        )
    sure = work.correlation > _SURE and work.n_pairs >= _ENOUGH
    for ratio, what in ((1 / BOHR, "small"), (BOHR, "large")):
        if sure and abs(work.ratio / ratio - 1) < _NEAR:
            return (
                f"energy differences are {work.ratio:.3g} times the work of the forces, which are "
                f"too {what} by the length of a Bohr in Å: forces may be in energy per "
                f"{'Bohr' if what == 'small' else 'Å'} and were read as energy per "
                f"{'Å' if what == 'small' else 'Bohr'}; state their unit in the file, as "
                "docs/data.md says"
            )
    if not 0.5 < work.ratio < 2:
        return (
            f"energy differences are {work.ratio:.3g} times the work of the forces: are both in "
            "the same unit?"
        )
    return None


def of_dataset(data: Dataset) -> str | None:
    """:func:`doubt` about the forces of a dataset; None where it has none."""
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
    """Compares each configuration with the next one, where both are the same molecule nearby."""

    def __init__(self) -> None:
        self._sums = np.zeros(3)  # of work², work times difference, difference²
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
            groups: [n_configs] groups; neighbours of different ones are not compared.
            chosen: [n_configs] which to look at.
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
        """What came out; None where there is nothing to compare."""
        work, product, difference = self._sums
        if min(work, difference) <= 0:
            return None
        correlation = product / np.sqrt(work * difference)
        return Work(float(product / work), float(correlation), self._n_pairs)
