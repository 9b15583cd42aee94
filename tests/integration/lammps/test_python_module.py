"""pair_style ekd through the Python module of LAMMPS, as programs use it.

The module runs in a separate process, because it needs the folder of the MPI library before it
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

# Two LAMMPS instances with different models, an error that the program survives, and `clear`.
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


# Commands that fail. A run after each of them uses the unchanged style or ends with an error.
FAILURES = """
import json, sys
from lammps import lammps

first, second = sys.argv[1:]
one = lammps(cmdargs=["-screen", "none", "-log", "none"])
one.commands_string('''
units metal
atom_style atomic
atom_modify map yes
read_data box.data
pair_style ekd energy total
pair_coeff * * %s O H N C''' % first)
found = []

def attempt(*commands):
    try:
        for command in commands:
            one.command(command)
        found.append(one.get_thermo("pe"))
    except Exception as error:
        found.append(str(error))

run = "run 0 post no"
attempt(run)
for bad in (f"* * {first} O Zn N C", f"* * {first} O", f"* * nothing.pt O H N C", f"* * {first}"):
    attempt("pair_coeff " + bad)
    attempt(run)
attempt(f"pair_coeff * * {first} O H N C", run)
for bad in ("block -1", "energy free", "device warp", "energy relative precision"):
    attempt("pair_style ekd " + bad)
    attempt(run)
attempt("pair_style ekd energy total", run)
attempt("pair_style ekd energy total", f"pair_coeff * * {second} O H N C", run)
print(json.dumps(found))
"""


def run_program(program: str, models: list[Path], folder: Path) -> object:
    """The last output line of a program that uses LAMMPS."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, models)],
        cwd=folder,
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
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def models(model_folder: Path) -> list[Path]:
    pytest.importorskip("lammps")
    return [model_folder / "1-float64.pt", model_folder / "3-float64.pt"]


def test_commands_that_fail_change_nothing_and_stop_the_next_run(
    models: list[Path], tmp_path: Path
) -> None:
    atoms = systems.water_box()
    write_data(tmp_path / "box.data", atoms)
    found = run_program(FAILURES, models, tmp_path)
    atoms.calc = EKDCalculator(models[0])
    energy = pytest.approx(atoms.get_potential_energy(), rel=1e-9)
    assert found[0] == energy
    messages = ["the element 'Zn'", "names 1 element(s)", "cannot be opened", "names 0 element(s)"]
    for k, message in enumerate(messages):
        assert message in found[1 + 2 * k]
        assert "its last pair_coeff command failed" in found[2 + 2 * k]
    assert found[9] == energy
    messages = ["block is -1", "energy is 'free'", "warp", "'precision' lacks its value"]
    for k, message in enumerate(messages):
        assert message in found[10 + 2 * k]
        assert "The last pair_style ekd command failed" in found[11 + 2 * k]
    assert found[18] == energy
    atoms.calc = EKDCalculator(models[1])
    assert found[19] == pytest.approx(atoms.get_potential_energy(), rel=1e-9)


def test_two_of_them_an_error_and_clear(models: list[Path], tmp_path: Path) -> None:
    atoms = systems.water_box()
    write_data(tmp_path / "box.data", atoms)
    results = run_program(PROGRAM, models, tmp_path)
    assert "'nothing.pt' cannot be opened" in results["message"]
    limit = tolerance("lammps")
    for found, model in zip(results["found"], [*models, models[1]], strict=True):
        atoms.calc = EKDCalculator(model)
        assert abs(found["energy"] - atoms.get_potential_energy()) / len(atoms) < limit.atol
        np.testing.assert_allclose(found["forces"], atoms.get_forces(), **limit.bounds)
        assert found["cutoff"] == 4.0


# A LAMMPS without plugins, in which the style is registered by a function.
REGISTER = """
import json, os, sys
from lammps import lammps
import ekd.lammps

first, second = sys.argv[1:]
one = lammps(cmdargs=["-screen", "none", "-log", "none"])
one.command("plugin clear")
setup = '''
units metal
atom_style atomic
atom_modify map yes
read_data box.data
pair_style ekd energy total
pair_coeff * * %s O H N C
run 0 post no'''
try:
    one.commands_string(setup % first)
except Exception as error:
    before = str(error)
one.command("clear")
ekd.lammps.register(one)
one.commands_string(setup % first)
print(json.dumps({"before": before, "energy": one.get_thermo("pe")}))
"""


def test_register(model_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("lammps")
    atoms = systems.water_box(2)
    write_data(tmp_path / "box.data", atoms)
    models = [model_folder / "2-float64.pt", model_folder / "1-float64.pt"]
    found = run_program(REGISTER, models, tmp_path)
    assert isinstance(found, dict)
    assert "ekd" in found["before"]
    atoms.calc = EKDCalculator(models[0])
    assert found["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-9 * len(atoms))


def test_register_in_another_lammps(tmp_path: Path) -> None:
    from ekd.errors import BuildError
    from ekd.lammps import register

    with pytest.raises(BuildError, match=r"does not load .*ekd lammps build"):
        register(None, tmp_path / "nothing.so")
