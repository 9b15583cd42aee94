"""New molecules made of two others: each gives up a hydrogen atom, and a bond takes their place."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray

from ekd.pool.geometries import BOND

HYDROGEN = 1
CLEARANCE = 1.35
"""Atoms of the two molecules that are not bonded keep this times the sum of covalent radii."""

_TURNS = 12  # tries to turn one half about the new bond until nothing is too close
_TRIES = 50  # pairs that are drawn for each molecule, at most


def joined(first: Atoms, second: Atoms, random: np.random.Generator) -> Atoms | None:
    """One molecule of two: a hydrogen atom of each is removed, and their neighbours are bonded.

    Methane and formaldehyde make acetaldehyde. Angles are those that the molecules had, the new
    bond is as long as the sum of the covalent radii, and the angle about it is drawn at random.

    Args:
        first: a molecule, not periodic.
        second: likewise.
        random: source of random numbers.

    Returns:
        The atoms of the first molecule, then those of the second; None: one has no hydrogen atom
        bonded to exactly one other atom that is no hydrogen, or no angle keeps the halves apart.
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
    """Molecules made of two each, drawn at random.

    Args:
        molecules: to draw from.
        number: of new molecules; there are fewer where nothing fits.
        max_heavy_atoms: the most atoms of one that are not hydrogen.
        excluded: formulas that none may have, in Hill order.
        random: source of random numbers.

    Returns:
        The molecules, each with the indices of those that it is made of.
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
    """Hydrogen atoms that have one neighbour, which is no hydrogen, and that neighbour."""
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
    """A rotation that takes one unit vector to another one (Rodrigues)."""
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
    """Rotation about a unit vector by an angle in radians."""
    cross = _cross_matrix(axis)
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def _cross_matrix(v: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
