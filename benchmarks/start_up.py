"""What it takes to begin: import, first forces, a call of the ASE calculator, memory of LAMMPS.

python benchmarks/start_up.py [--other PYTHON] [--repeats 5]

With `--other`, another installation of ekd is measured in turn with this one: the Python of its
environment. Each has a student of its own, with the same random weights, exported by itself.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.progress import track
from rich.table import Table

EXPORT = """
import sys, torch
from ekd.config import HIPNNConfig
from ekd.export import export_model
from ekd.models import HIPNN
torch.manual_seed(0)
config = HIPNNConfig(n_features=48, n_sensitivities=8, soft_min=0.75, soft_max=4.5)
network = HIPNN(config, [1, 6, 7, 8], [-13.6, -1035.0, -1488.0, -2041.8], n_hidden=16)
export_model(network, sys.argv[1], config=config)
"""

START = """
import json, sys, time
begin = time.perf_counter()
from ekd import EKDCalculator
from ase import Atoms
calculator = EKDCalculator(sys.argv[1])
water = [[0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]]
Atoms("OH2", water, calculator=calculator).get_forces()
found = {"first forces of a molecule, s": time.perf_counter() - begin}
import numpy as np
from ase.build import molecule
rng = np.random.default_rng(0)
for name in ("H2O", "CH3CH2OH", "C6H6"):
    atoms = molecule(name)
    atoms.calc = calculator
    moved = [atoms.positions + 0.01 * rng.normal(size=(len(atoms), 3)) for _ in range(300)]
    best = np.inf
    for _ in range(5):
        begin = time.perf_counter()
        for positions in moved:
            atoms.positions = positions
            atoms.get_forces()
        best = min(best, time.perf_counter() - begin)
    found[f"ASE, forces of {len(atoms)} atoms, µs"] = 1e6 * best / len(moved)
print(json.dumps(found))
"""

LAMMPS = """
units metal
region box block 0 12 0 12 0 12
create_box 2 box
create_atoms 1 single 5 5 5
create_atoms 2 single 5.9 5 5
create_atoms 2 single 5 5.9 5
mass 1 16
mass 2 1
pair_style ekd
pair_coeff * * student.pt O H
run 10
"""


def run(command: Sequence[object], folder: Path) -> str:
    """What a command prints."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(done.stdout)
    return done.stdout


def measure(python: Path, folder: Path) -> dict[str, float]:
    """One installation, once."""
    found: dict[str, float] = json.loads(run([python, "-c", START, "student.pt"], folder))
    (folder / "in.small").write_text(LAMMPS)
    lmp = python.parent / "lmp"
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    printed = run([python, "-c", code, python, lmp, "-in", "in.small", "-log", "none"], folder)
    found["memory of LAMMPS, 3 atoms, MB"] = int(re.findall(r"^\d+$", printed, re.M)[-1]) / 1e3
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--other", type=Path, help="Python of another installation of ekd")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    pythons = {"here": Path(sys.executable)}
    if options.other:
        pythons["other"] = options.other
    results: dict[str, list[dict[str, float]]] = {name: [] for name in pythons}
    with tempfile.TemporaryDirectory(prefix="ekd-") as name:
        folders = {key: Path(name) / key for key in pythons}
        for key, python in pythons.items():
            folders[key].mkdir()
            run([python, "-c", EXPORT, "student.pt"], folders[key])
        for _ in track(range(options.repeats), "repeats", console=Console(stderr=True)):
            for key, python in pythons.items():
                results[key].append(measure(python, folders[key]))
    table = Table("median", *pythons, *(["ratio"] if options.other else []))
    for what in results["here"][0]:
        values = [median(each[what] for each in results[key]) for key in pythons]
        ratio = [f"{values[1] / values[0]:.2f}"] if options.other else []
        table.add_row(what, *(f"{value:.3g}" for value in values), *ratio)
    Console().print(table)


if __name__ == "__main__":
    main()
