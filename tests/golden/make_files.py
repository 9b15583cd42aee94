"""Writes one file of every other format of ekd, and a description of their contents.

    PYTHONPATH=tests python tests/golden/make_files.py

The files are a small run with the files of its stages (``run-1/``), prepared files of formats 1 and
2, and a restart file of LAMMPS. Run it with the version of ekd that introduces a format, with new
file names. Keep the files of older formats, because later versions must read them
(``tests/unit/test_golden_files.py``, ``tests/integration/lammps/test_golden_restart.py``).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from ase.build import molecule
from ase.io import write as write_frames

from ekd import load_dataset, prepare_dataset
from ekd.config import load_config
from ekd.distillation import Labels
from ekd.lammps.inputs import write_data
from ekd.lammps.run import installed_program
from ekd.pipeline.runner import Pipeline
from ekd.pool import Pool

FOLDER = Path(__file__).parent
RUN = "run-1"

CONFIG = """
output = "run"
[data]
path = "train.h5"
[test]
path = "train.h5"
[pool]
molecules = ["H2O"]
n_rattled = 2
n_stretched = 1
temperatures = []
n_clusters = 2
n_workers = 1
[pool.calculator]
calculator = "pool_calculators:PairSprings"
[model]
n_interactions = 1
l_max = 1
n_features = 3
n_sensitivities = 4
n_atom_layers = 1
cutoff = 4.0
soft_max = 3.0
[pretraining]
n_bases = 1
[pretraining.training]
epochs = 1
[teachers]
n_members = 2
n_workers = 1
[teachers.training]
epochs = 2
[labels]
n_workers = 1
[labels.wall]
strength = 0.1
[student.training]
epochs = 2
[student.uncertainty]
n_steps = 10
"""

STAGES = ["pool", "pretrain", "train", "label", "distill", "evaluate", "export"]

RESTART = """
units metal
atom_style atomic
atom_modify map yes
read_data box.data
pair_style ekd block 100 energy total
pair_coeff * * student.pt O H
mass 1 15.999
mass 2 1.008
run 0 post no
print "energy $(pe:%22.16g)"
write_restart restart-1.bin
"""


def frames(n: int) -> list[object]:
    """Distorted water and hydrogen peroxide, with energies and forces of springs."""
    from pool_calculators import PairSprings

    found = []
    for seed in range(n):
        atoms = molecule(("H2O", "H2O2")[seed % 2])
        atoms.rattle(0.05, seed=seed)
        atoms.calc = PairSprings()
        atoms.get_potential_energy()
        found.append(atoms)
    return found


def isolated() -> list[object]:
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    atoms = []
    for symbol, energy in (("H", -13.6), ("O", -2041.8)):
        one = Atoms(symbol, info={"config_type": "IsolatedAtom"})
        one.calc = SinglePointCalculator(one, energy=energy, forces=np.zeros((1, 3)))
        atoms.append(one)
    return atoms


def main() -> None:
    expected: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        os.chdir(work)
        write_frames("frames.xyz", frames(12))
        write_frames("isolated.xyz", [*frames(12), *isolated()])
        for version, source, compress in ((1, "frames.xyz", True), (2, "isolated.xyz", False)):
            prepare_dataset(source, f"prepared-{version}.h5", forces="forces", compress=compress)
            shutil.copy(f"prepared-{version}.h5", FOLDER)
            data = load_dataset(f"prepared-{version}.h5")
            expected[f"prepared-{version}.h5"] = {
                "fingerprint": data.fingerprint,
                "n_configs": len(data),
                "reference_energies": data.reference_energies
                and {str(z): energy for z, energy in data.reference_energies.items()},
                "forces": data.forces[:3].tolist(),
            }
        shutil.copy("prepared-1.h5", "train.h5")
        shutil.copy(FOLDER.parent / "pool_calculators.py", work)
        Path("config.toml").write_text(CONFIG)
        Pipeline(load_config("config.toml"), progress=False).run(STAGES)
        target = FOLDER / RUN
        shutil.rmtree(target, ignore_errors=True)
        unneeded = ("*.png", "*.csv", "*.resolved.toml", "summary.json", "evaluation", "student.pt")
        shutil.copytree("run", target / "run", ignore=shutil.ignore_patterns(*unneeded))
        for file in ("config.toml", "train.h5"):
            shutil.copy(file, target)
        labels, pool = Labels.load("run/labels.h5"), Pool.load("run/pool.h5")
        expected["labels.h5"] = {
            "forces": labels.forces[:3].tolist(),
            "energies": labels.energies[:3].tolist(),
            "n_extra": len(labels.extra),
            "teachers": [list(teacher.identity) for teacher in labels.teachers],
        }
        expected["pool.h5"] = {
            "fingerprint": pool.summary.fingerprint,
            "n_configs": len(pool.data),
            "forces": pool.data.forces[:3].tolist(),
        }
        expected["restart-1.bin"] = {"energy": make_restart()}
    (FOLDER / "files.json").write_text(json.dumps(expected, indent=1) + "\n")


def make_restart() -> float:
    """Write a restart file of a box with one molecule; returns its energy in eV."""
    shutil.copy(FOLDER / "exported-4-single.pt", "student.pt")
    atoms = molecule("H2O", vacuum=5.0)
    atoms.set_pbc(True)
    write_data(Path("box.data"), atoms, ["O", "H"])
    Path("in.restart").write_text(RESTART)
    program = installed_program()
    done = subprocess.run(
        [*program.command(1), "-in", "in.restart", "-log", "none"],
        env=program.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    shutil.copy("restart-1.bin", FOLDER)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("energy ")]
    return float(line.split()[1])


if __name__ == "__main__":
    main()
