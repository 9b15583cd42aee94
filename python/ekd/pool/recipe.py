"""Geometries of a pool before any calculation, and the MD runs to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ekd.config import PoolConfig
from ekd.data import Dataset, Provenance
from ekd.data.combine import concatenate
from ekd.errors import ConfigError
from ekd.pool.geometries import cluster, open_bonds, rattled, stretched
from ekd.pool.joining import join_many
from ekd.pool.selection import near_duplicates

MOLECULE, DATA, RATTLED, STRETCHED, JOINED, CLUSTER, MD = (
    "molecule", "data", "rattled", "stretched", "joined", "cluster", "md",
)  # fmt: skip

KINDS = (MOLECULE, DATA, RATTLED, STRETCHED, JOINED, CLUSTER, MD)
"""Origin of a configuration; earlier kinds have precedence among near-duplicates."""

_NOWHERE = Provenance("pool", "", "none", 0)

_DRAW, _RATTLE, _STRETCH, _CLUSTER, _RUN, _JOIN = range(6)  # streams of random numbers


@dataclass(frozen=True)
class Run:
    """A run of molecular dynamics.

    Attributes:
        molecule: index of the molecule.
        temperature: K.
        seed: seed of its random numbers.
    """

    molecule: int
    temperature: float
    seed: tuple[int, ...]


@dataclass(frozen=True)
class Recipe:
    """The geometries and runs of a pool.

    Attributes:
        molecules: undistorted molecules.
        geometries: geometries made without forces, with NaN as energies, and kinds as groups.
        parents: [n_geometries] indices of the molecules of each; empty: from the data.
        contacts: [n_geometries] closest distance between molecules of a cluster divided by the sum
            of their van der Waals radii; NaN: not a cluster.
        repeated: [n_repeated] kinds of geometries that are left out as near-duplicates of earlier
            ones.
        runs: runs of molecular dynamics.
    """

    molecules: list[Atoms]
    geometries: Dataset
    parents: list[tuple[int, ...]]
    contacts: NDArray[np.float64]
    repeated: NDArray[np.str_]
    runs: list[Run]


def plan_geometries(
    data: Dataset | None,
    molecules: Sequence[Atoms],
    config: PoolConfig,
    cutoff: float,
    seed: int,
) -> Recipe:
    """Make all geometries that need no forces, without near-duplicates.

    Random numbers of a molecule do not depend on the number of other molecules.

    Args:
        data: training configurations; None: there are none.
        molecules: initial molecules.
        config: numbers and settings of all kinds.
        cutoff: cutoff of the model, Å.
        seed: seed of all random numbers.

    Raises:
        ConfigError: there is nothing to make.
    """
    made: list[tuple[str, Atoms, tuple[int, ...], float]] = []
    # A single atom has one geometry.
    flexible = [index for index, molecule in enumerate(molecules) if len(molecule) > 1]
    for index in flexible:
        random = np.random.default_rng([seed, _RATTLE, index])
        for _ in range(config.n_rattled):
            copy = rattled(molecules[index], config.displacement, random)
            made.append((RATTLED, copy, (index,), np.nan))
    for index in flexible:
        bonds = open_bonds(molecules[index])
        random = np.random.default_rng([seed, _STRETCH, index])
        for _ in range(config.n_stretched if bonds else 0):
            copy = stretched(molecules[index], bonds, config.stretch, random)
            made.append((STRETCHED, copy, (index,), np.nan))
    random = np.random.default_rng([seed, _JOIN])
    for new, its in join_many(
        molecules, config.n_joined, config.max_heavy_atoms, config.excluded_formulas, random
    ):
        made.append((JOINED, rattled(new, config.displacement, random), its, np.nan))
    made += _clusters(molecules, config, cutoff, np.random.default_rng([seed, _CLUSTER]))

    parts: list[Dataset] = []
    parents: list[tuple[int, ...]] = []
    contacts: list[float] = []
    if molecules:
        parts.append(_dataset([MOLECULE] * len(molecules), molecules))
        parents += [(index,) for index in range(len(molecules))]
    if data is not None and config.n_from_data != 0:
        parts.append(_chosen(data, config.n_from_data, seed))
        parents += [()] * len(parts[-1])
    contacts += [np.nan] * len(parents)
    if made:
        parts.append(_dataset([kind for kind, *_ in made], [atoms for _, atoms, *_ in made]))
        parents += [its for _, _, its, _ in made]
        contacts += [contact for *_, contact in made]
    if not parts:
        raise ConfigError(
            "the pool has no geometry: there are no molecules, no structures and no training "
            "configurations; give some of them",
            code="EKD-CONFIG-032",
        )
    runs = [
        Run(index, temperature, (seed, _RUN, index, place))
        for index in flexible
        for place, temperature in enumerate(config.temperatures)
    ]
    geometries = concatenate(*parts)
    first = ~near_duplicates(geometries, config.duplicate_distance)
    return Recipe(
        list(molecules),
        geometries.subset(first),
        [its for its, kept in zip(parents, first, strict=True) if kept],
        np.array(contacts)[first],
        geometries.groups[~first],
        runs,
    )


def _clusters(
    molecules: Sequence[Atoms], config: PoolConfig, cutoff: float, random: np.random.Generator
) -> list[tuple[str, Atoms, tuple[int, ...], float]]:
    """Make clusters of molecules that are rattled by half as much, as they are not rigid."""
    usable = [index for index, molecule in enumerate(molecules) if not molecule.pbc.any()]
    made = []
    for _ in range(config.n_clusters if usable else 0):
        size = 2
        if config.largest_cluster > 2 and random.random() > 2 / 3:
            size = int(random.integers(3, config.largest_cluster + 1))
        parents = tuple(usable[place] for place in random.integers(len(usable), size=size))
        parts = [rattled(molecules[index], config.displacement / 2, random) for index in parents]
        found = cluster(parts, config.contact, cutoff, random)
        made.append((CLUSTER, found.atoms, parents, found.contact))
    return made


def _chosen(data: Dataset, number: int | None, seed: int) -> Dataset:
    """Draw training configurations, in their order and without energies; None: all."""
    if number is not None:
        random = np.random.default_rng([seed, _DRAW])
        data = data.subset(np.sort(random.permutation(len(data))[:number]))
    return Dataset(
        atomic_numbers=data.atomic_numbers,
        positions=data.positions,
        offsets=data.offsets,
        energies=np.full(len(data), np.nan),
        groups=np.full(len(data), DATA),
        provenance=_NOWHERE,
        cells=data.cells,
        pbc=data.pbc,
    )


def _dataset(kinds: Sequence[str], structures: Sequence[Atoms]) -> Dataset:
    pbc = np.array([atoms.pbc for atoms in structures])
    return Dataset(
        atomic_numbers=np.concatenate([atoms.numbers for atoms in structures]).astype(np.int64),
        positions=np.concatenate([atoms.positions for atoms in structures]),
        offsets=np.concatenate([[0], np.cumsum([len(atoms) for atoms in structures])]),
        energies=np.full(len(structures), np.nan),
        groups=np.array(kinds),
        provenance=_NOWHERE,
        cells=np.array([atoms.cell.array for atoms in structures]) if pbc.any() else None,
        pbc=pbc if pbc.any() else None,
    )


def copies(kind: str, atoms: Atoms, number: int) -> Dataset:
    """Repeat a structure, as ``number`` configurations."""
    return _dataset([kind] * number, [atoms] * number)
