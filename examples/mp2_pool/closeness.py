"""How close the test set is to the MP2 geometries, and what a run's errors are apart from those.

    python closeness.py RUN        # output folder of the quickstart

Two geometries of one formula are close if their sorted distances differ by less than 0.02 Å, root
mean square. How close two molecules of water come in the training set and among the MP2 geometries
is printed too.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import ekd
from ekd.data.combine import concatenate
from ekd.distillation.extra import without_energies
from ekd.pool.selection import near_duplicates

DATA = Path(__file__).parents[1] / "data"
CLOSE = 0.02  # Å


def close(test: ekd.Dataset, others: ekd.Dataset) -> NDArray[np.bool_]:
    """[n_configs] whether a configuration of the test set is close to one of the others."""
    found = [
        near_duplicates(concatenate(without_energies(others), without_energies(one)), CLOSE)[-1]
        for one in (test.subset(np.array([k])) for k in range(len(test)))
    ]
    return np.array(found)


def contacts(data: ekd.Dataset) -> dict[str, float]:
    """Shortest distance of two atoms that belong to different molecules of water, by elements."""
    shortest = dict.fromkeys(("H H", "H O", "O O"), np.inf)
    for k in np.flatnonzero(np.isin(data.formulas, ("H4O2", "H6O3"))):
        atoms = data.atoms(k)
        distances, symbols = atoms.get_all_distances(), np.array(atoms.get_chemical_symbols())
        oxygens = np.flatnonzero(symbols == "O")
        molecule = oxygens[distances[:, oxygens].argmin(axis=1)]  # an oxygen atom is its own
        between = np.where(molecule[:, None] == molecule, np.inf, distances)
        for pair in shortest:
            first, second = pair.split()
            part = between[np.ix_(symbols == first, symbols == second)]
            shortest[pair] = min(shortest[pair], float(part.min()))
    return shortest


def main() -> None:
    """Print numbers of configurations, and errors of forces (meV/Å)."""
    run = Path(sys.argv[1])
    keys = {"energy": "ccsd(t)_ccpvdz.energy", "energy_unit": "Hartree"}
    training = ekd.load_dataset(DATA / "ccsdt_chno.h5", **keys)
    test = ekd.load_dataset(DATA / "ccsdt_chno_test.h5", forces="ccsd(t)_ccpvdz.forces", **keys)
    without = ekd.load_dataset(DATA / "mp2_chno.h5")
    mp2 = ekd.load_dataset(DATA / "mp2_chno_close.h5")
    for name, data in (("training", training), ("MP2", without), ("MP2, compressed", mp2)):
        found = ", ".join(f"{pair} {r:.2f} Å" for pair, r in contacts(data).items())
        print(f"closest atoms of two molecules of water, {name}: {found}")
    near_mp2 = close(test, mp2)
    n_training = close(test, training).sum()
    print(f"of {len(test)}: {near_mp2.sum()} close to MP2, {n_training} close to training")
    teachers = [m.predict(test).forces for m in ekd.load_ensemble(run / "teachers").members]
    student = ekd.TrainedModel.load(run / "student" / "checkpoint.pt").predict(test).forces
    for name, chosen in (("close to MP2", near_mp2), ("the others", ~near_mp2)):
        atoms = chosen[test.config_index]

        def error(forces: NDArray[np.float64], atoms: NDArray[np.bool_] = atoms) -> float:
            return float(1e3 * np.sqrt(((forces - test.forces)[atoms] ** 2).mean()))

        mean = np.mean([error(forces) for forces in teachers])
        ensemble = error(np.mean(teachers, axis=0))
        print(
            f"{name}: mean teacher {mean:.1f}, ensemble {ensemble:.1f}, student "
            f"{error(student):.1f}"
        )


if __name__ == "__main__":
    main()
