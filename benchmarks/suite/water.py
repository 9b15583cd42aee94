"""Liquid water of any size: cubes of a small box, the same for all that is measured on it."""

from __future__ import annotations

from ase import Atoms

from ekd.lammps.structures import water_box

DENSITY = 0.997  # g/cm³

_MOLECULES = (64, 125)  # of the small boxes: 12,288 atoms are 4³ of one, 3,000 are 2³ of the other


def cube(n_atoms: int) -> tuple[int, int]:
    """Molecules of the small box, and its repeats along each axis, that come nearest."""
    choices = []
    for molecules in _MOLECULES:
        near = round((n_atoms / (3 * molecules)) ** (1 / 3))
        choices += [(molecules, repeats) for repeats in (near, near + 1) if repeats > 0]
    return min(choices, key=lambda choice: abs(3 * choice[0] * choice[1] ** 3 - n_atoms))


def water(n_atoms: int) -> Atoms:
    """A periodic cube of water of about this many atoms."""
    molecules, repeats = cube(n_atoms)
    return water_box(molecules, DENSITY).repeat(repeats)
