"""Starting structures of the runs: molecules and boxes of water."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import molecule as build_molecule
from numpy.typing import NDArray

from ekd.errors import ConfigError

_WATER = build_molecule("H2O")
_WATER.positions -= _WATER.positions[0]  # oxygen at the origin

_GRAM_PER_CM3 = 1.66053906892  # of one atomic mass unit per cubic Ångström (CODATA 2022)

_SITES = {
    "simple cubic": [(0.0, 0.0, 0.0)],
    "body-centred": [(0.0, 0.0, 0.0), (0.5, 0.5, 0.5)],
    "face-centred": [
        (0.0, 0.0, 0.0),
        (0.5, 0.5, 0.0),
        (0.5, 0.0, 0.5),
        (0.0, 0.5, 0.5),
    ],
}


def molecule(name: str) -> Atoms:
    """Return an isolated molecule of ASE's collection.

    Raises:
        ConfigError: ASE has no molecule of this name.
    """
    try:
        return build_molecule(name)
    except KeyError:
        raise ConfigError(
            f"'{name}' is not a molecule in ase.build.molecule; examples: H2O, CH3OH, NH3",
            code="EKD-CONFIG-029",
        ) from None


def water_box(n_molecules: int, density: float, seed: int = 0) -> Atoms:
    """Return a periodic cubic box of water without overlapping molecules.

    Oxygen atoms are placed on the cubic lattice with the fewest empty sites. The orientation of
    each molecule is the one, out of many random ones, with the largest distance to the molecules
    already placed.

    Args:
        n_molecules: number of molecules.
        density: density, g/cm³.
        seed: seed of the orientations.
    """
    mass = n_molecules * float(_WATER.get_masses().sum())
    volume = mass * _GRAM_PER_CM3 / density  # Å³
    edge = volume ** (1 / 3)
    generator = np.random.default_rng(seed)
    sites = _lattice(n_molecules) * edge
    # Distribute empty sites evenly through the box.
    sites = sites[np.linspace(0, len(sites) - 1, n_molecules).round().astype(int)]
    placed = np.empty((0, 3))
    for site in sites:
        candidates = [site + _WATER.positions @ _rotation(generator).T for _ in range(40)]
        clearances = [_clearance(candidate, placed, edge) for candidate in candidates]
        placed = np.concatenate([placed, candidates[int(np.argmax(clearances))]])
    box = Atoms("OHH" * n_molecules, positions=placed, cell=[edge] * 3, pbc=True)
    box.wrap()
    return box


def sheared(atoms: Atoms, angle: float = 0.2) -> Atoms:
    """Return a periodic structure sheared into a triclinic cell, by ``angle`` (radian)."""
    strain = np.eye(3)
    strain[1, 0], strain[2, 0], strain[2, 1] = angle, -0.5 * angle, 0.5 * angle
    leaning = atoms.copy()
    leaning.set_cell(atoms.cell.array @ strain, scale_atoms=True)
    return leaning


def rattled(atoms: Atoms, size: float = 0.05, seed: int = 0) -> Atoms:
    """Return the structure with Gaussian displacements (standard deviation in Å)."""
    moved = atoms.copy()
    moved.rattle(size, seed=seed)
    return moved


def _lattice(n_sites: int) -> NDArray[np.float64]:
    """Return the smallest cubic lattice with at least ``n_sites`` sites, fractional coordinates."""
    choices = []
    for basis in _SITES.values():
        repeats = int(np.ceil((n_sites / len(basis)) ** (1 / 3) - 1e-9))
        corners = np.stack(np.meshgrid(*[np.arange(repeats)] * 3, indexing="ij"), -1).reshape(-1, 3)
        choices.append((corners[:, None] + np.asarray(basis)).reshape(-1, 3) / repeats)
    return min(choices, key=len)


def _rotation(generator: np.random.Generator) -> NDArray[np.float64]:
    """Return a uniformly distributed random rotation, from a random unit quaternion."""
    quaternion = generator.normal(size=4)
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _clearance(candidate: NDArray[np.float64], placed: NDArray[np.float64], edge: float) -> float:
    if len(placed) == 0:
        return np.inf
    apart = candidate[:, None] - placed
    apart -= edge * np.round(apart / edge)
    return float(np.linalg.norm(apart, axis=-1).min())
