"""Make ``mp2_chno.h5``: small molecules and pairs, with energies and forces of MP2/cc-pVDZ.

    pip install 'ekd[xtb]' pyscf==2.14.0
    python make.py WORK ../data/mp2_chno.h5

Three pools with GFN2-xTB make the geometries, in a minute. A fourth one takes their structures and
asks MP2 for each: an hour of one core. It can be interrupted; the same command goes on.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import ase.io
import h5py
import numpy as np
from ase import Atoms

import ekd

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
"""Basis functions of a geometry that takes long, 10 s and more."""

SHARE_OF_LARGE = 0.15
"""Such geometries that are calculated."""


def n_functions(atoms: Atoms) -> int:
    """Basis functions of cc-pVDZ."""
    return sum(5 if number == 1 else 14 for number in atoms.numbers)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help="folder of what is unfinished")
    parser.add_argument("output", type=Path, help="the file")
    parser.add_argument("--workers", type=int, help="processes; one per core")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    structures = []
    for name, recipe in RECIPES.items():
        pool = ekd.build_pool(None, recipe, path=arguments.work / f"{name}.h5", resume=True)
        structures += [pool.data.atoms(k) for k in range(len(pool.data))]
    # In any order, so that every part of the work takes about the same time.
    random = np.random.default_rng(0)
    order = random.permutation(len(structures))
    skipped = random.random(len(structures)) > SHARE_OF_LARGE
    order = [k for k in order if not (skipped[k] and n_functions(structures[k]) > LARGE)]
    path = arguments.work / "structures.xyz"
    ase.io.write(path, [structures[k] for k in order], format="extxyz")
    points = ekd.PoolConfig(
        calculator=ekd.CalculatorConfig(calculator="mp2:MP2", folder=Path(__file__).parent),
        molecules=[],
        structures=[path],
        n_rattled=0,
        n_stretched=0,
        temperatures=[],
        n_clusters=0,
        chunk_size=10,
        n_workers=arguments.workers,
    )
    path = arguments.work / "single_points.h5"
    pool = ekd.build_pool(None, points, path=path, resume=True)
    partial = arguments.output.with_suffix(".part")
    shutil.copyfile(path, partial)
    with h5py.File(partial, "r+") as file:
        file.attrs["level_of_theory"] = "MP2/cc-pVDZ, frozen core, PySCF 2.14"
        file.attrs["license"] = "CC0-1.0"
    partial.replace(arguments.output)
    print("\n".join(pool.summary.notes))


if __name__ == "__main__":
    main()
