"""Geometries made without forces: displaced atoms, stretched bonds, clusters of molecules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.data.vdw_alvarez import vdw_radii
from numpy.typing import NDArray

Array = NDArray[np.float64]

BOND = 1.3
"""Atoms are bonded if closer than this factor times the sum of their covalent radii."""

_VDW = np.where(np.isfinite(vdw_radii), vdw_radii, 2.0)  # Å; Alvarez, Dalton Trans. 42, 8617 (2013)


def rattled(atoms: Atoms, displacement: float, random: np.random.Generator) -> Atoms:
    """Return a copy with every atom displaced by normally distributed random numbers.

    Args:
        atoms: the structure.
        displacement: largest standard deviation of a component, Å; that of this copy is drawn
            uniformly between a fifth of it and all of it.
        random: source of random numbers.
    """
    copy = atoms.copy()
    scale = random.uniform(0.2 * displacement, displacement)
    copy.positions += random.normal(scale=scale, size=copy.positions.shape)
    return copy


@dataclass(frozen=True)
class Bond:
    """A bond that can be stretched, because it is the only connection of its two sides.

    Attributes:
        fixed: index of the atom that stays in place.
        moved: index of the atom that moves.
        fragment: [n] indices of all atoms that move, ``moved`` among them.
    """

    fixed: int
    moved: int
    fragment: tuple[int, ...]


def open_bonds(atoms: Atoms) -> list[Bond]:
    """Find bonds that are not part of a ring; the smaller side of each is the moving one.

    Atoms are bonded if they are closer than 1.3 times the sum of their covalent radii. For periodic
    structures, the list is empty.

    Args:
        atoms: the structure.
    """
    if atoms.pbc.any():
        return []
    radii = covalent_radii[atoms.numbers]
    distances = np.linalg.norm(atoms.positions[:, None] - atoms.positions, axis=-1)
    bonded = distances < BOND * (radii[:, None] + radii)
    np.fill_diagonal(bonded, False)
    found = []
    for i, j in np.argwhere(np.triu(bonded)).tolist():
        side = _reached(bonded, start=j, without=i)
        if i in side:
            continue  # a ring
        other = _reached(bonded, start=i, without=j)
        fixed, moved, fragment = (i, j, side) if len(side) <= len(other) else (j, i, other)
        found.append(Bond(fixed, moved, tuple(sorted(fragment))))
    return found


def stretched(
    atoms: Atoms,
    bonds: Sequence[Bond],
    stretch: tuple[float, float],
    random: np.random.Generator,
) -> Atoms:
    """Return a copy with one bond stretched or compressed; the fragment behind it moves rigidly.

    A pair of elements is drawn first, then one of their bonds; otherwise nearly all would be bonds
    of hydrogen.

    Args:
        atoms: the structure.
        bonds: one or more bonds from :func:`open_bonds`.
        stretch: smallest and largest factor of the bond length, drawn uniformly in between.
        random: source of random numbers.
    """
    numbers = atoms.numbers
    kinds = [tuple(sorted((numbers[bond.fixed], numbers[bond.moved]))) for bond in bonds]
    different = sorted(set(kinds))
    kind = different[random.integers(len(different))]
    candidates = [bond for bond, its in zip(bonds, kinds, strict=True) if its == kind]
    bond = candidates[random.integers(len(candidates))]
    vector = atoms.positions[bond.moved] - atoms.positions[bond.fixed]
    copy = atoms.copy()
    copy.positions[list(bond.fragment)] += (random.uniform(*stretch) - 1.0) * vector
    return copy


@dataclass(frozen=True)
class Cluster:
    """A cluster of molecules.

    Attributes:
        atoms: all atoms, one molecule after the other.
        contact: smallest distance between atoms of different molecules divided by the sum of their
            van der Waals radii.
    """

    atoms: Atoms
    contact: float


def cluster(
    molecules: Sequence[Atoms],
    contact: tuple[float, float],
    cutoff: float,
    random: np.random.Generator,
) -> Cluster:
    """Place randomly oriented molecules next to each other, one after the other.

    A molecule approaches from far away along a random direction, on which a random atom of it would
    hit a random atom of those already placed. It stops when the distance of two atoms divided by
    the sum of their van der Waals radii falls to a number drawn uniformly from the range
    ``contact``. Therefore, molecules never pass through each other.

    Args:
        molecules: two or more rigid molecules.
        contact: smallest and largest ratio of this kind.
        cutoff: Å, upper limit of the closest distance between a molecule and the others; the
            largest ratio is reduced if necessary.
        random: source of random numbers.
    """
    total = _turned(molecules[0], random)
    closest = np.inf
    for molecule in molecules[1:]:
        guest = _turned(molecule, random)
        sums = _VDW[total.numbers][:, None] + _VDW[guest.numbers]
        highest = min(contact[1], cutoff / sums.max())
        ratio = random.uniform(min(contact[0], highest), highest)
        host = total.positions - total.positions[random.integers(len(total))]
        visitor = guest.positions - guest.positions[random.integers(len(guest))]
        visitor = visitor + _approach(host, visitor, ratio * sums, _direction(random))
        total.positions = host
        guest.positions = visitor
        distances = np.linalg.norm(host[:, None] - visitor, axis=-1)
        closest = min(closest, float((distances / sums).min()))
        total += guest
    return Cluster(total, closest)


def _reached(bonded: NDArray[np.bool_], start: int, without: int) -> set[int]:
    """Return atoms connected to ``start`` if its bond to ``without`` is cut."""
    found, waiting = {start}, [start]
    while waiting:
        atom = waiting.pop()
        for other in np.flatnonzero(bonded[atom]).tolist():
            if other not in found and (atom, other) != (start, without):
                found.add(other)
                waiting.append(other)
    return found


def _approach(host: Array, guest: Array, contact: Array, direction: Array) -> Array:
    """Displacement of the guest, [3] Å, at its first contact when it approaches from far away.

    Args:
        host: positions [n, 3] Å.
        guest: positions [m, 3] Å.
        contact: contact distances, [n, m] Å.
        direction: unit vector [3] from the host to the origin of the guest's path.
    """
    difference = host[:, None] - guest
    along = difference @ direction
    across = np.maximum((difference**2).sum(-1) - along**2, 0.0)
    free = contact**2 - across
    stops = np.where(free > 0.0, along + np.sqrt(np.maximum(free, 0.0)), -np.inf)
    return np.asarray(stops.max() * direction)


def _turned(atoms: Atoms, random: np.random.Generator) -> Atoms:
    """Return a randomly oriented copy without a cell."""
    matrix, upper = np.linalg.qr(random.normal(size=(3, 3)))
    matrix = matrix * np.sign(np.diag(upper))  # makes it uniform
    matrix[:, 0] *= np.linalg.det(matrix)  # a rotation, not a reflection
    centred = atoms.positions - atoms.positions.mean(axis=0)
    return Atoms(numbers=atoms.numbers, positions=centred @ matrix)


def _direction(random: np.random.Generator) -> Array:
    vector = random.normal(size=3)
    return np.asarray(vector / np.linalg.norm(vector))
