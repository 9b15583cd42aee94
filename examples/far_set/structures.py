"""Structures of the set far from the data: molecules, stretched bonds, and pairs of molecules.

Molecules move by GFN2-xTB at 300 to 1500 K. None of those in ``ALONE`` is in the training data or
in the pool of the quickstart, and each pair has one of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from ase.data import covalent_radii, vdw_radii
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.optimize import BFGS
from tblite.ase import TBLite

TUNING = ("HNCO", "CH3CHO", "C3H6", "HCOOCH3", "CO2+H2O", "HNCO+NH3")
"""Settings may be chosen on these; results are reported on the others."""

ALONE = (
    *("CH3CN", "H2CCO", "HCONH2", "HNCO", "CH2OCH2", "C3H4", "CH3CHO", "C3H6", "CH3CH2OH"),
    *("OCHCHO", "HCOOCH3", "CO2", "H2NCN", "NCCN", "HC3N"),
)
PAIRS = (
    *("CO2+H2O", "CO2+NH3", "CO2+HCN", "HNCO+H2O", "HNCO+NH3", "CH3CN+H2O", "H2CCO+H2O"),
    *("HCONH2+H2O", "CO2+CH4", "HNCO+HCN", "CO2+C2H2"),
)

TEMPERATURES = (300.0, 600.0, 600.0, 1000.0, 1500.0)
STRETCHES = (1.2, 1.4)
CONTACTS = (0.75, 0.85, 0.95, 1.1, 1.3, 1.6, 2.0)
"""Closest distance between two molecules, over the sum of the two van der Waals radii."""

_IN_ASE = {"C3H4": "C3H4_C3v", "C3H6": "C3H6_Cs"}
_BUILT = {
    "HNCO": ("NCOH", [(0, 0, 0), (1.21, 0, 0), (2.38, 0, 0), (-0.6, 0.8, 0)]),
    "H2NCN": ("NCNHH", [(0, 0, 0), (1.35, 0, 0), (2.5, 0, 0), (-0.6, 0.8, 0.1), (-0.6, -0.8, 0.1)]),
    "HC3N": ("HCCCN", [(-1.06, 0, 0), (0, 0, 0), (1.2, 0, 0), (2.58, 0, 0), (3.74, 0, 0)]),
    "HCONH2": (
        "CONHHH",
        [(0, 0, 0), (1.22, 0, 0), (-0.7, 1.16, 0), (-0.6, -0.9, 0), (-1.7, 1.1, 0), (-0.2, 2, 0)],
    ),
}


@dataclass(frozen=True)
class Task:
    """One configuration that is to be calculated.

    Attributes:
        system: a name of ``ALONE`` or ``PAIRS``.
        kind: how it is made: ``md``, ``stretched`` or ``pair``.
        value: temperature in K, factor of the bond, or distance over contact.
        seed: of its random numbers.
    """

    system: str
    kind: str
    value: float
    seed: int

    @property
    def name(self) -> str:
        """For the file of the result."""
        return f"{self.system}_{self.kind}_{self.seed}"


def tasks() -> list[Task]:
    """All configurations; any beginning of the list has a little of everything."""
    lists = [
        [
            *(Task(name, "md", t, 10 * k + n) for n, t in enumerate(TEMPERATURES)),
            *(Task(name, "stretched", s, 10 * k + 5 + n) for n, s in enumerate(STRETCHES)),
        ]
        for k, name in enumerate(ALONE)
    ]
    lists += [
        [Task(name, "pair", x, 1000 + 10 * k + n) for n, x in enumerate(CONTACTS)]
        for k, name in enumerate(PAIRS)
    ]
    # Another kind first in each system, so that the beginning is not all at one temperature.
    turned = [group[k % len(group) :] + group[: k % len(group)] for k, group in enumerate(lists)]
    return [task for row in zip(*turned, strict=True) for task in row]


def size(system: str) -> int:
    """Basis functions of a system, from its formula; the smallest are calculated first."""
    atoms = [_BUILT[name][0] if name in _BUILT else name for name in system.split("+")]
    return sum(14 if z > 2 else 5 for name in atoms for z in _numbers(name))


def _numbers(name: str) -> list[int]:
    atoms = Atoms(name) if name not in _IN_ASE else molecule(_IN_ASE[name])
    return [int(z) for z in atoms.numbers]


def build(task: Task) -> Atoms:
    """Make a configuration."""
    random = np.random.default_rng(task.seed)
    if task.kind == "md":
        return moved(named(task.system), task.value, random)
    if task.kind == "stretched":
        return stretched(moved(named(task.system), 300.0, random), task.value, random)
    first, second = (moved(named(name), 500.0, random) for name in task.system.split("+"))
    return placed(first, second, task.value, random)


def named(name: str) -> Atoms:
    """A molecule at its minimum of GFN2-xTB."""
    if name in _BUILT:
        symbols, positions = _BUILT[name]
        atoms = Atoms(symbols, positions)
        atoms.rattle(0.02, seed=0)
    else:
        atoms = molecule(_IN_ASE.get(name, name))
    atoms.calc = TBLite(verbosity=0, accuracy=0.01)
    BFGS(atoms, logfile=None).run(fmax=0.02, steps=200)
    return atoms


def moved(atoms: Atoms, temperature: float, random: np.random.Generator) -> Atoms:
    """A snapshot of Langevin dynamics, 0.3 ps after the minimum."""
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=random)
    Langevin(
        atoms,
        0.5 * units.fs,
        temperature_K=temperature,
        friction=0.02 / units.fs,
        fixcm=False,
        rng=random,
    ).run(600)
    return Atoms(atoms.numbers, atoms.positions)


def stretched(atoms: Atoms, factor: float, random: np.random.Generator) -> Atoms:
    """One bond made longer; what hangs on its end moves along. Rings stay as they are."""
    distances = atoms.get_all_distances()
    radii = covalent_radii[atoms.numbers]
    bonded = distances < 1.25 * (radii[:, None] + radii)
    np.fill_diagonal(bonded, False)
    bonds = [(i, j) for i, j in np.argwhere(bonded) if i < j]
    for i, j in random.permutation(bonds):
        side, front = {int(j)}, [int(j)]
        while front:
            here = front.pop()
            for other in np.flatnonzero(bonded[here]):
                if {here, int(other)} != {int(i), int(j)} and int(other) not in side:
                    side.add(int(other))
                    front.append(int(other))
        if int(i) in side:
            continue  # a ring
        longer = atoms.copy()
        longer.positions[list(side)] += (factor - 1) * (atoms.positions[j] - atoms.positions[i])
        return longer
    raise ValueError(f"{atoms.symbols} has no bond outside a ring")


def placed(first: Atoms, second: Atoms, ratio: float, random: np.random.Generator) -> Atoms:
    """Two molecules in random orientation, their closest atoms at ``ratio`` times contact."""
    first, second = first.copy(), second.copy()
    for atoms in (first, second):
        atoms.positions -= atoms.get_center_of_mass()
        rotation, _ = np.linalg.qr(random.normal(size=(3, 3)))
        atoms.positions = atoms.positions @ (rotation * np.linalg.det(rotation)).T
    direction = random.normal(size=3)
    direction /= np.linalg.norm(direction)
    contact = vdw_radii[first.numbers][:, None] + vdw_radii[second.numbers]

    def closest(distance: float) -> float:
        vectors = second.positions + distance * direction - first.positions[:, None]
        return float((np.linalg.norm(vectors, axis=2) / contact).min())

    # From outside, so that the molecules never pass through each other.
    low, high = 15.0, 0.0
    while closest(low) > ratio:
        low, high = low - 0.1, low
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if closest(middle) < ratio else (low, middle)
    second.positions += high * direction
    return first + second
