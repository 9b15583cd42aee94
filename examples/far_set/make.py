"""Make ``ccsdt_chno_far.h5`` and ``ccsdt_chno_far_tuning.h5``: hours, and can be interrupted.

    pip install pyscf==2.14.0 tblite==0.8.0 ase h5py numba
    python make.py PARTS --processes 2       # calculates what PARTS lacks, one file each
    python make.py PARTS --read ../data      # takes over what the two files have
    python make.py PARTS --write ../data     # makes the two files of what is there

CCSD(T)/cc-pVDZ, frozen core; see ``structures.py`` for what, ``coupled_cluster.py`` for how.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections import defaultdict
from pathlib import Path

FILES = {False: "ccsdt_chno_far.h5", True: "ccsdt_chno_far_tuning.h5"}
"""By whether they are for choosing settings."""

LARGEST_T1 = 0.03
"""Above this diagnostic of Lee and Taylor one determinant is no longer a good reference."""


def calculate(job: tuple[int, Path]) -> None:
    """Calculate one configuration, unless it is there."""
    import numpy as np
    from coupled_cluster import NotConvergedError, energy_and_forces
    from pyscf import lib

    from structures import build, tasks

    lib.num_threads(1)
    number, folder = job
    task = tasks()[number]
    path = folder / f"{task.name}.npz"
    claim = folder / f"{task.name}.claim"
    if path.exists() or path.with_suffix(".left_out").exists():
        return
    try:  # several programs may work in one folder
        os.close(os.open(claim, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    start = time.perf_counter()
    atoms = build(task)
    try:
        energy, forces, t1 = energy_and_forces(atoms)
    except NotConvergedError as error:
        energy, forces, t1 = np.nan, np.full((len(atoms), 3), np.nan), np.nan
        print(f"{number} {task}: {error} did not converge")
    partial = folder / f"{task.name}.part"
    with partial.open("wb") as file:
        np.savez(
            file,
            system=task.system,
            kind=task.kind,
            value=task.value,
            numbers=atoms.numbers,
            positions=atoms.positions,
            energy=energy,
            forces=forces,
            t1=t1,
        )
    partial.rename(path)
    seconds = time.perf_counter() - start
    largest = abs(forces).max() * 27.2114
    print(f"{number} {task} t1 {t1:.3f} force {largest:.2f} eV/Å, {seconds:.0f} s", flush=True)


def write(parts: Path, folder: Path) -> None:
    """Make the two files."""
    import h5py
    import numpy as np

    from structures import TUNING

    systems = defaultdict(list)
    left_out = [path.stem for path in sorted(parts.glob("*.left_out"))]
    for path in sorted(parts.glob("*.npz")):
        with np.load(path) as part:
            if not part["t1"] <= LARGEST_T1:
                left_out.append(path.stem)
                continue
            systems[str(part["system"])].append({**part, "name": path.stem})
    counts = {}
    for tuning, name in FILES.items():
        with h5py.File(folder / name, "w") as file:
            file.attrs["level_of_theory"] = (
                "CCSD(T)/cc-pVDZ, frozen core, restricted Hartree-Fock reference, PySCF 2.14"
            )
            file.attrs["description"] = (
                "Molecules, stretched bonds and pairs far from ccsdt_chno.h5"
            )
            file.attrs["license"] = "CC0-1.0"
            file.attrs["units"] = "coordinates: Angstrom; energy: Hartree; forces: Hartree/Angstrom"
            file.attrs["sampling"] = (
                "GFN2-xTB Langevin dynamics, stretched bonds, pairs at 0.75 to 2 times contact; "
                "examples/far_set"
            )
            file.attrs["left_out"] = left_out
            for system, found in sorted(systems.items()):
                if (system in TUNING) != tuning:
                    continue
                group = file.create_group(system)
                group["atomic_numbers"] = found[0]["numbers"].astype(np.uint8)
                group["coordinates"] = np.stack([part["positions"] for part in found])
                group["ccsd(t)_ccpvdz.energy"] = np.array([part["energy"] for part in found])
                group["ccsd(t)_ccpvdz.forces"] = np.stack([part["forces"] for part in found])
                group["name"] = [str(part["name"]) for part in found]
                group["kind"] = [str(part["kind"]) for part in found]
                group["value"] = np.array([float(part["value"]) for part in found])
                group["t1_diagnostic"] = np.array([float(part["t1"]) for part in found])
                counts[name] = counts.get(name, 0) + len(found)
    print(counts, f"{len(left_out)} left out: no convergence, or T1 above {LARGEST_T1}")


def read(parts: Path, folder: Path) -> None:
    """Make parts of what the two files have; what was left out is not tried again."""
    import h5py
    import numpy as np

    parts.mkdir(parents=True, exist_ok=True)
    for name in FILES.values():
        with h5py.File(folder / name) as file:
            for left_out in file.attrs["left_out"]:
                (parts / f"{left_out}.left_out").touch()
            for system, group in file.items():
                for k, stem in enumerate(group["name"].asstr()[()]):
                    np.savez(
                        parts / f"{stem}.npz",
                        system=system,
                        kind=group["kind"].asstr()[k],
                        value=group["value"][k],
                        numbers=group["atomic_numbers"][()],
                        positions=group["coordinates"][k],
                        energy=group["ccsd(t)_ccpvdz.energy"][k],
                        forces=group["ccsd(t)_ccpvdz.forces"][k],
                        t1=group["t1_diagnostic"][k],
                    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", type=Path, help="folder of what is calculated")
    parser.add_argument("--processes", type=int, default=1, help="each with one thread")
    parser.add_argument("--write", type=Path, help="folder for the two files; calculates nothing")
    parser.add_argument("--read", type=Path, help="folder of the two files; calculates nothing")
    arguments = parser.parse_args()
    if arguments.read:
        read(arguments.parts, arguments.read)
        return
    if arguments.write:
        write(arguments.parts, arguments.write)
        return
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    import numpy as np

    from structures import size, tasks

    arguments.parts.mkdir(parents=True, exist_ok=True)
    sizes = [size(task.system) for task in tasks()]
    jobs = [(int(number), arguments.parts) for number in np.argsort(sizes, kind="stable")]
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        for _ in pool.imap_unordered(calculate, jobs):
            pass


if __name__ == "__main__":
    main()
