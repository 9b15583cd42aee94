"""Make ``mp2_chno.h5``: small molecules and pairs, with energies and forces of MP2/cc-pVDZ.

    pip install 'ekd[train,xtb]' pyscf==2.14.0
    python make.py WORK ../data/mp2_chno.h5

Pools with GFN2-xTB make the geometries, in a minute. Another one takes their structures and asks
MP2 for each: an hour of one core. It can be interrupted; the same command goes on.

    python make.py WORK ../data/mp2_chno_close.h5 --close --first ../data/mp2_chno.h5

adds molecules that are pressed together, in seven minutes more.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

import ekd
from ekd.data import Dataset, prepared
from ekd.data.combine import concatenate
from ekd.files import atomic_write

SMALL = ("H2O", "NH3", "CH4", "CH3OH", "H2CO", "HCN", "C2H2", "H3CNH2")
"""Molecules of one and two heavy atoms; pairs are made of these."""

OTHERS = (
    *("C2H4", "C2H6", "H2O2", "HCOOH", "N2H4", "CH3OCH3", "C2H6NH", "CH3CH2NH2", "C3H8"),
    *("CH2NHCH2", "C3H4_C2v", "C3H4_D2d", "C3H6_D3h"),
)
FOUR_HEAVY = ("CH3CONH2", "CH3COOH", "CH3COCH3", "H2CCHCN", "2-butyne")
"""Of four heavy atoms; a calculation takes ten times as long."""

RECIPES = {
    "molecules": ekd.PoolConfig(
        molecules=[*SMALL, *OTHERS],
        n_rattled=10,
        displacement=0.12,
        n_stretched=6,
        temperatures=[300.0, 600.0, 1000.0, 1500.0],
        n_snapshots=6,
        interval=0.05,
        n_clusters=0,
    ),
    "large": ekd.PoolConfig(
        molecules=[*FOUR_HEAVY],
        n_rattled=3,
        n_stretched=4,
        temperatures=[600.0, 1500.0],
        n_snapshots=4,
        interval=0.05,
        n_clusters=0,
    ),
    "pairs": ekd.PoolConfig(
        molecules=[*SMALL],
        n_rattled=0,
        n_stretched=0,
        temperatures=[],
        n_clusters=500,
        largest_cluster=2,
    ),
}

LARGE = 70
"""Basis functions of a molecule or a pair that takes long, 10 s and more."""

SHARE_OF_LARGE = 0.15
"""Such geometries that are calculated."""

CLOSE_RECIPES = {
    "close_pairs": ekd.PoolConfig(
        molecules=[*SMALL],
        n_rattled=0,
        n_stretched=0,
        temperatures=[],
        n_clusters=250,
        largest_cluster=2,
        contact=(0.4, 0.75),
    ),
    "waters": ekd.PoolConfig(
        molecules=["H2O"],
        n_rattled=0,
        n_stretched=0,
        temperatures=[],
        n_clusters=150,
        largest_cluster=4,
        contact=(0.4, 1.0),
    ),
}
"""Molecules that are pressed together: they keep liquids whole, see docs/pretraining.md."""

LARGEST_CLOSE = 72
"""Basis functions of the largest of these that are calculated."""


def n_functions(atoms: Atoms) -> int:
    """Basis functions of cc-pVDZ."""
    return sum(5 if number == 1 else 14 for number in atoms.numbers)


def geometries(
    work: Path, recipes: Mapping[str, ekd.PoolConfig], seed: int, kind: str | None = None
) -> list[Atoms]:
    """Those of all recipes, by GFN2-xTB; of one kind, or of all."""
    structures = []
    for name, recipe in recipes.items():
        data = ekd.build_pool(None, recipe, path=work / f"{name}.h5", seed=seed, resume=True).data
        chosen = np.arange(len(data)) if kind is None else np.flatnonzero(data.groups == kind)
        structures += [data.atoms(k) for k in chosen]
    return structures


def molecules_and_pairs(work: Path) -> list[Atoms]:
    """In any order, so that every part of the work takes about the same time."""
    structures = geometries(work, RECIPES, seed=0)
    random = np.random.default_rng(0)
    order = random.permutation(len(structures))
    skipped = random.random(len(structures)) > SHARE_OF_LARGE
    return [structures[k] for k in order if not (skipped[k] and n_functions(structures[k]) > LARGE)]


def pressed_together(work: Path) -> list[Atoms]:
    """In any order too."""
    structures = geometries(work, CLOSE_RECIPES, seed=1, kind="cluster")
    structures = [structures[k] for k in np.random.default_rng(1).permutation(len(structures))]
    return [atoms for atoms in structures if n_functions(atoms) <= LARGEST_CLOSE]


def calculated(work: Path, name: str, structures: list[Atoms], workers: int | None) -> Dataset:
    """The structures with energies and forces of MP2."""
    path = work / f"{name}.xyz"
    ase.io.write(path, structures, format="extxyz")
    points = ekd.PoolConfig(
        calculator=ekd.CalculatorConfig(calculator="mp2:MP2", folder=Path(__file__).parent),
        molecules=[],
        structures=[path],
        n_rattled=0,
        n_stretched=0,
        temperatures=[],
        n_clusters=0,
        chunk_size=10,
        n_workers=workers,
    )
    pool = ekd.build_pool(None, points, path=work / f"{name}.h5", resume=True)
    print("\n".join(pool.summary.notes))
    return pool.data


def write(data: Dataset, path: Path) -> None:
    """Write the file, in the place of one that is there."""
    names = sorted(set(data.groups.tolist()))
    columns = {
        "atomic_numbers": data.atomic_numbers,
        "positions": data.positions,
        "offsets": data.offsets,
        "energies": data.energies,
        "forces": np.asarray(data.forces),
        "group_index": np.array([names.index(group) for group in data.groups]),
    }
    with atomic_write(path) as temporary:
        prepared.write(
            temporary,
            {name: [array] for name, array in columns.items()},
            {name: array.shape for name, array in columns.items()},
            names,
            "MP2/cc-pVDZ, frozen core, PySCF 2.14",
            n_dropped=0,
            preparation={"sources": [], "license": "CC0-1.0"},
        )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help="folder of what is unfinished")
    parser.add_argument("output", type=Path, help="the file")
    parser.add_argument("--first", type=Path, help="finished file of molecules and pairs")
    parser.add_argument("--close", action="store_true", help="with molecules pressed together")
    parser.add_argument("--workers", type=int, help="processes; one per core")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    if given.first is None:
        structures = molecules_and_pairs(given.work)
        first = calculated(given.work, "single_points", structures, given.workers)
    else:
        first = ekd.load_dataset(given.first)
    if given.close:
        close = calculated(given.work, "close_points", pressed_together(given.work), given.workers)
        first = concatenate(first, close)
    write(first, given.output)


if __name__ == "__main__":
    main()
