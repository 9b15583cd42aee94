"""New molecules made of two others by replacing one hydrogen atom of each by a bond."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray

from ekd.pool.geometries import BOND

HYDROGEN = 1
CLEARANCE = 1.35
"""Non-bonded atoms of the two molecules keep this factor times the sum of covalent radii."""

_TURNS = 12  # attempts to rotate one half about the new bond until no atoms are too close
_TRIES = 50  # largest number of pairs drawn per molecule


def joined(first: Atoms, second: Atoms, random: np.random.Generator) -> Atoms | None:
    """Join two molecules: remove a hydrogen atom of each, and bond their neighbors.

    Methane and formaldehyde make acetaldehyde. Angles within the molecules are kept, the length of
    the new bond is the sum of the covalent radii, and the angle about it is random.

    Args:
        first: a non-periodic molecule.
        second: a non-periodic molecule.
        random: source of random numbers.

    Returns:
        The atoms of the first molecule, then those of the second; None if one has no hydrogen atom
        bonded to exactly one atom other than hydrogen, or if no angle keeps the halves apart.
    """
    ends = [_draw_end(atoms, random) for atoms in (first, second)]
    if ends[0] is None or ends[1] is None:
        return None
    (h1, x1), (h2, x2) = ends[0], ends[1]
    axis = _direction(first, x1, h1)
    length = covalent_radii[first.numbers[x1]] + covalent_radii[second.numbers[x2]]
    place = first.positions[x1] + length * axis
    turned = (second.positions - second.positions[x2]) @ _rotation(
        _direction(second, x2, h2), -axis
    ).T
    left = np.delete(np.arange(len(first)), h1)
    right = np.delete(np.arange(len(second)), h2)
    radii = covalent_radii[first.numbers[left]][:, None] + covalent_radii[second.numbers[right]]
    bond = (left == x1)[:, None] & (right == x2)
    for _ in range(_TURNS):
        positions = turned @ _about(axis, random.uniform(0, 2 * np.pi)).T + place
        distances = np.linalg.norm(first.positions[left][:, None] - positions[right], axis=-1)
        if (distances > CLEARANCE * radii)[~bond].all():
            return Atoms(
                np.concatenate([first.numbers[left], second.numbers[right]]),
                np.concatenate([first.positions[left], positions[right]]),
            )
    return None


def join_many(
    molecules: Sequence[Atoms],
    number: int,
    max_heavy_atoms: int,
    excluded: Collection[str],
    random: np.random.Generator,
) -> list[tuple[Atoms, tuple[int, int]]]:
    """Make molecules from random pairs of others.

    Args:
        molecules: molecules to draw from.
        number: number of new molecules; fewer are returned if no others fit.
        max_heavy_atoms: largest number of atoms other than hydrogen.
        excluded: forbidden formulas, in Hill order.
        random: source of random numbers.

    Returns:
        The new molecules, each with the indices of its two parts.
    """
    usable = [
        index for index, atoms in enumerate(molecules) if not atoms.pbc.any() and _ends(atoms)
    ]
    made: list[tuple[Atoms, tuple[int, int]]] = []
    for _ in range(_TRIES * number if usable else 0):
        if len(made) == number:
            break
        i, j = (usable[k] for k in random.integers(len(usable), size=2))
        found = joined(molecules[i], molecules[j], random)
        if found is None or int((found.numbers > HYDROGEN).sum()) > max_heavy_atoms:
            continue
        if found.get_chemical_formula("hill") not in excluded:
            made.append((found, (i, j)))
    return made


def _ends(atoms: Atoms) -> list[tuple[int, int]]:
    """Find hydrogen atoms whose only neighbor is not hydrogen, with that neighbor."""
    radii = covalent_radii[atoms.numbers]
    distances = np.linalg.norm(atoms.positions[:, None] - atoms.positions, axis=-1)
    bonded = distances < BOND * (radii[:, None] + radii)
    np.fill_diagonal(bonded, False)
    found = []
    for index in np.flatnonzero(atoms.numbers == HYDROGEN).tolist():
        neighbors = np.flatnonzero(bonded[index]).tolist()
        if len(neighbors) == 1 and atoms.numbers[neighbors[0]] != HYDROGEN:
            found.append((index, neighbors[0]))
    return found


def _draw_end(atoms: Atoms, random: np.random.Generator) -> tuple[int, int] | None:
    ends = _ends(atoms)
    return ends[random.integers(len(ends))] if ends else None


def _direction(atoms: Atoms, start: int, end: int) -> NDArray[np.float64]:
    vector = atoms.positions[end] - atoms.positions[start]
    return np.asarray(vector / np.linalg.norm(vector))


def _rotation(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation matrix from one unit vector to another (Rodrigues)."""
    axis = np.cross(source, target)
    cosine = float(source @ target)
    if np.linalg.norm(axis) < 1e-8:  # parallel, or half a turn about any perpendicular axis
        other = np.eye(3)[np.argmin(np.abs(source))]
        perpendicular = np.cross(source, other)
        perpendicular /= np.linalg.norm(perpendicular)
        return np.eye(3) if cosine > 0 else 2 * np.outer(perpendicular, perpendicular) - np.eye(3)
    cross = _cross_matrix(axis)
    return np.asarray(np.eye(3) + cross + cross @ cross / (1 + cosine))


def _about(axis: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """Rotation matrix about a unit vector by an angle in radians."""
    cross = _cross_matrix(axis)
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def _cross_matrix(v: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
