"""Write a file with the layout and the sizes of ANI-1ccx, for tests of scale.

    python benchmarks/ani1ccx_like.py ani1ccx-like.h5
    python benchmarks/ani1ccx_like.py small.h5 --n-configs 5000 --seed 1

Random acyclic molecules of C, H, N and O, 2 to about 25 atoms, 14 on average, each in many
conformations without clashes. As in the release of ANI-1x there is one group per formula with
``atomic_numbers``, ``coordinates`` and properties by key, in Hartree; ``ccsd(t)_cbs.energy`` is NaN
for some configurations, which come on top of those that are asked for.

The energies are no quantum chemistry, but can be learned: isolated atoms and a Morse potential
between every two atoms. ``wb97x_dz`` is the same with other parameters and has forces.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from ase.formula import Formula
from numpy.typing import NDArray
from rich.progress import track

from ekd.elements import symbol
from ekd.files import atomic_write
from ekd.units import HARTREE

H, C, N, O = 1, 6, 7, 8  # noqa: E741
VALENCE = {C: 4, N: 3, O: 2}
RADIUS = {H: 0.31, C: 0.76, N: 0.71, O: 0.66}  # Å, covalent
ATOM = {H: -0.50, C: -37.83, N: -54.57, O: -75.04}  # Hartree
CONFIGS_PER_MOLECULE = 160  # as in ANI-1ccx: half a million of about 3000 formulas
N_HEAVY = {0: 0.3, 1: 1, 2: 5, 3: 16, 4: 42, 5: 78, 6: 72, 7: 36, 8: 12}  # weights
SQUEEZE = (1.0, 0.9, 0.78)  # length of a single, double and triple bond


@dataclass(frozen=True)
class Molecule:
    """A tree of atoms; every atom but the first is bonded to one before it."""

    numbers: NDArray[np.int64]
    parents: NDArray[np.int64]
    orders: NDArray[np.int64]  # of the bond to the parent

    @property
    def order_in_file(self) -> NDArray[np.int64]:
        """Atoms sorted by element, as all conformations of a formula must have them."""
        rank = {C: 0, H: 1, N: 2, O: 3}
        return np.argsort([rank[int(number)] for number in self.numbers], kind="stable")

    @property
    def formula(self) -> str:
        values, counts = np.unique(self.numbers, return_counts=True)
        content = {symbol(int(z)): int(n) for z, n in zip(values, counts, strict=True)}
        return Formula.from_dict(content).format("hill")


def random_molecule(rng: np.random.Generator) -> Molecule:
    """Draw a tree of heavy atoms with some multiple bonds, and saturate it with hydrogen."""
    weights = np.array(list(N_HEAVY.values()), dtype=np.float64)
    n_heavy = int(rng.choice(list(N_HEAVY), p=weights / weights.sum()))
    if n_heavy == 0:
        return Molecule(np.array([H, H]), np.array([-1, 0]), np.array([0, 1]))
    numbers, parents, orders, free = [], [], [], []
    for atom in range(n_heavy):
        number = int(rng.choice([C, N, O], p=[0.7, 0.16, 0.14]))
        open_ends = [other for other in range(atom) if free[other] > 0]
        if atom and not open_ends:
            break
        parent = int(rng.choice(open_ends)) if atom else -1
        order = 0
        if atom:
            most = min(free[parent], VALENCE[number], 3)
            order = min(most, int(rng.choice([1, 2, 3], p=[0.72, 0.22, 0.06])))
            free[parent] -= order
        numbers.append(number)
        parents.append(parent)
        orders.append(order)
        free.append(VALENCE[number] - order)
    for atom in range(len(numbers)):
        numbers += [H] * free[atom]
        parents += [atom] * free[atom]
        orders += [1] * free[atom]
    return Molecule(np.array(numbers), np.array(parents), np.array(orders))


def conformations(molecule: Molecule, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Random torsions, bonds and angles with thermal noise, no clashes: [n, n_atoms, 3] Å."""
    found: list[NDArray[np.float64]] = []
    missing, tries = n, 0
    while missing > 0:
        positions = _embed(molecule, 2 * missing + 8, rng)
        # Where hardly anything fits, take what there is: strained, but no two atoms in one place.
        good = positions[_closest(molecule, positions) > (1.25 if tries < 20 else 0.6)]
        found.append(good[:missing])
        missing -= len(found[-1])
        tries += 1
    return np.concatenate(found)


def _embed(molecule: Molecule, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    numbers, parents = molecule.numbers, molecule.parents
    n_atoms = len(numbers)
    positions = np.zeros((n, n_atoms, 3))
    axis = np.tile([0.0, 0.0, 1.0], (n, 1))  # of the first atom: towards its first child
    for atom in range(n_atoms):
        children = np.flatnonzero(parents == atom)
        bonds = molecule.orders[children].tolist() + [molecule.orders[atom]] * (atom > 0)
        angle = {1: 109.5, 2: 120.0, 3: 180.0}[max(bonds, default=1)]
        n_sites = {109.5: 3, 120.0: 2, 180.0: 1}[angle]
        if atom > 0:
            axis = positions[:, parents[atom]] - positions[:, atom]
            axis /= np.linalg.norm(axis, axis=1, keepdims=True)
        first, second = _perpendicular(axis)
        torsion = rng.uniform(0, 2 * np.pi, n)
        site = 0
        for place, child in enumerate(children):
            length = RADIUS[int(numbers[atom])] + RADIUS[int(numbers[child])]
            length *= SQUEEZE[molecule.orders[child] - 1]
            lengths = length * (1 + 0.03 * rng.normal(size=(n, 1)))
            if atom == 0 and place == 0:
                direction = axis
            else:
                tilt = np.radians(angle + 5.0 * rng.normal(size=(n, 1)))
                turn = torsion + 2 * np.pi * site / max(n_sites, 1) + 0.08 * rng.normal(size=n)
                around = np.cos(turn)[:, None] * first + np.sin(turn)[:, None] * second
                direction = np.cos(tilt) * axis + np.sin(tilt) * around
                site += 1
            positions[:, child] = positions[:, atom] + lengths * direction
    return positions


def _perpendicular(axis: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    helper = np.where(np.abs(axis[:, :1]) < 0.7, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    first = np.cross(axis, helper)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return first, np.cross(axis, first)


def _closest(molecule: Molecule, positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smallest distance of atoms without a bond, in units of a rough contact distance."""
    first, second = np.triu_indices(len(molecule.numbers), 1)
    bonded = (molecule.parents[second] == first) | (molecule.parents[first] == second)
    first, second = first[~bonded], second[~bonded]
    radii = np.array([RADIUS[int(number)] for number in molecule.numbers])
    contact = 0.6 + 0.8 * (radii[first] + radii[second])
    distances = np.linalg.norm(positions[:, first] - positions[:, second], axis=2)
    return np.min(1.25 * distances / contact, axis=1, initial=np.inf)


def morse(
    numbers: NDArray[np.int64], positions: NDArray[np.float64], depth: float, width: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Energies [m] in Hartree and forces [m, n, 3] in Hartree/Å of isolated atoms and pairs.

    Args:
        numbers: [n].
        positions: [m, n, 3] Å.
        depth: of a C-C well, eV; others in proportion to the radii.
        width: 1/Å.
    """
    radii = np.array([RADIUS[int(number)] for number in numbers])
    rest = radii[:, None] + radii[None, :]
    depths = depth * np.sqrt(rest / (2 * RADIUS[C]))
    vectors = positions[:, None, :, :] - positions[:, :, None, :]  # from i to j
    distances = np.linalg.norm(vectors, axis=3)
    np.einsum("mii->mi", distances)[:] = 1.0
    decay = np.exp(-width * (distances - rest))
    pair = depths * ((1 - decay) ** 2 - 1)
    slope = 2 * depths * width * (1 - decay) * decay / distances
    for array in (pair, slope):
        np.einsum("mii->mi", array)[:] = 0.0
    atoms = sum(ATOM[int(number)] for number in numbers)
    energies = atoms + 0.5 * pair.sum(axis=(1, 2)) / HARTREE
    forces = np.einsum("mij,mijk->mik", slope, vectors) / HARTREE
    return energies, forces


def write(path: Path, n_configs: int, seed: int, nan_share: float) -> None:
    """Write the file."""
    rng = np.random.default_rng([seed, 0])
    n_molecules = max(1, round(n_configs / CONFIGS_PER_MOLECULE))
    molecules = [random_molecule(rng) for _ in range(n_molecules)]
    # At least one of each, the rest as uneven as in the release.
    weights = rng.lognormal(sigma=0.8, size=n_molecules)
    counts = 1 + rng.multinomial(n_configs - n_molecules, weights / weights.sum())
    by_formula: dict[str, list[int]] = {}
    for index, molecule in enumerate(molecules):
        by_formula.setdefault(molecule.formula, []).append(index)
    with atomic_write(path) as temporary, h5py.File(temporary, "w") as file:
        for formula in track(sorted(by_formula), description=f"writing {path.name}"):
            members = by_formula[formula]
            parts = []
            for index in members:
                own = np.random.default_rng([seed, 1, index])
                n = int(counts[index])
                extra = int(own.binomial(n, nan_share))
                positions = conformations(molecules[index], n + extra, own)
                parts.append(positions[:, molecules[index].order_in_file])
            first = molecules[members[0]]
            numbers = first.numbers[first.order_in_file]
            shuffle = np.random.default_rng([seed, 2, members[0]])
            positions = shuffle.permutation(np.concatenate(parts)).astype(np.float32)
            exact, _ = morse(numbers, positions.astype(np.float64), depth=4.0, width=2.0)
            rough, forces = morse(numbers, positions.astype(np.float64), depth=4.3, width=1.9)
            n_valid = int(counts[members].sum())
            absent = shuffle.permutation(len(positions))[n_valid:]
            exact[absent] = np.nan
            group = file.create_group(formula)
            group["atomic_numbers"] = numbers.astype(np.uint8)
            group["coordinates"] = positions
            group["ccsd(t)_cbs.energy"] = exact
            group["wb97x_dz.energy"] = rough
            group["wb97x_dz.forces"] = forces.astype(np.float32)


def main() -> None:
    """Read the command line and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path, metavar="FILE.h5")
    parser.add_argument(
        "--n-configs", type=int, default=500_000, help="with a coupled-cluster energy (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same file")
    parser.add_argument(
        "--nan-share", type=float, default=0.05, help="further ones without it (%(default)s)"
    )
    arguments = parser.parse_args()
    if arguments.n_configs < 1 or not 0 <= arguments.nan_share < 1:
        parser.error("--n-configs is at least 1, --nan-share at least 0 and below 1")
    write(arguments.path, arguments.n_configs, arguments.seed, arguments.nan_share)


if __name__ == "__main__":
    main()
