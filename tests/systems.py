"""Small structures for tests, the same on every run and machine."""

from __future__ import annotations

import ase.build
import numpy as np
from ase import Atoms


def water(seed: int = 0) -> Atoms:
    """A distorted water molecule."""
    return _distorted(ase.build.molecule("H2O"), seed)


def methanol(seed: int = 0) -> Atoms:
    """A distorted methanol molecule."""
    return _distorted(ase.build.molecule("CH3OH"), seed)


def water_box(n_side: int = 2, seed: int = 0) -> Atoms:
    """A cubic periodic box of ``n_side``³ randomly oriented water molecules at 0.997 g/cm³."""
    spacing = 3.107  # Å: cube root of the volume of one molecule
    generator = np.random.default_rng(seed)
    box = Atoms(cell=[n_side * spacing] * 3, pbc=True)
    for site in np.ndindex(n_side, n_side, n_side):
        molecule = ase.build.molecule("H2O")
        molecule.rotate(generator.uniform(0, 360), generator.normal(size=3), center="COM")
        molecule.translate((np.array(site) + 0.5) * spacing - molecule.get_center_of_mass())
        box += molecule
    return _distorted(box, seed)


def triclinic_crystal(seed: int = 0) -> Atoms:
    """Hydrogen cyanide and ammonia in a strongly skewed cell, with atoms outside of it."""
    cell = np.array([[5.2, 0.0, 0.0], [1.9, 4.8, 0.0], [-1.4, 1.7, 5.6]])
    crystal = Atoms(cell=cell, pbc=True)
    for name, site in (("HCN", (0.1, 0.2, 0.3)), ("NH3", (0.6, 0.7, 1.8))):
        molecule = ase.build.molecule(name)
        molecule.translate(np.array(site) @ cell - molecule.get_center_of_mass())
        crystal += molecule
    return _distorted(crystal, seed)


def tiny_cell(seed: int = 0) -> Atoms:
    """One water molecule in a cell of 3.1 Å: each atom has many images, including its own."""
    return water_box(n_side=1, seed=seed)


def _distorted(atoms: Atoms, seed: int) -> Atoms:
    """Displace every atom, so that no symmetry hides an error."""
    atoms.positions += np.random.default_rng(seed).normal(scale=0.05, size=atoms.positions.shape)
    return atoms


# Cases for kernels: periodic or not, images, atoms without neighbors.
STRUCTURES = {
    "molecule": methanol,
    "liquid": lambda: water_box(3),
    "crystal": triclinic_crystal,
    "images of itself": tiny_cell,
    "one atom": lambda: Atoms("O"),
    "no pairs": lambda: Atoms("OH", positions=[[0, 0, 0], [0, 0, 9.0]]),
    "one without neighbours": lambda: methanol() + Atoms("O", positions=[[30.0, 0, 0]]),
}
