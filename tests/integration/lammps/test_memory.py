"""Memory does not grow over many steps, with new neighbor lists, or in an ASE program."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

import systems
from lammps_runs import RunLammps, write_data
from models import random_model

# Atoms are displaced by commands, because an untrained model has no meaningful dynamics.
SCRIPT = """
units metal
atom_style atomic
atom_modify map yes
read_data box.data
pair_style ekd {keywords}
pair_coeff * * {model} O H N C
neighbor 0.5 bin
neigh_modify every {every} delay 0 check no
group odd id 1:24:2
group even id 2:24:2
fix odd odd move wiggle 0.08 0.05 0.0 0.02
fix even even move wiggle 0.0 0.05 0.08 0.03
timestep 0.0005
thermo 500
run {first} post no
info memory
run {rest} post no
info memory
"""

LOOP = """
import resource, sys
import numpy as np
import ase.io
from ekd.calculator import EKDCalculator

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

atoms = ase.io.read("box.xyz")
atoms.calc = EKDCalculator(sys.argv[1])
positions = atoms.positions.copy()
generator = np.random.default_rng(0)
shifts = generator.normal(scale=0.02, size=(50, *positions.shape))
for step in range(int(sys.argv[2])):
    if step == int(sys.argv[2]) // 10:
        before = peak()
    # Now and then far enough that the neighbour list is made anew.
    atoms.positions = positions + shifts[step % 50] * (30 if step % 20 == 0 else 1)
    atoms.get_forces()
    atoms.get_stress()
print(before, peak())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``1.pt`` and ``2.pt`` with this number of interactions; pairs of all kinds are counted."""
    path = tmp_path_factory.mktemp("model")
    for n in (1, 2):
        model = {"n_features": 4, "n_sensitivities": 4, "l_max": n - 1, "n_interactions": n}
        random_model(path / f"{n}.pt", closest={"H-O": 0.95, "H-H": 1.2}, **model)
    return path


def peaks(screen: str) -> list[float]:
    """Largest resident memory that LAMMPS reports, MB."""
    lines = [line for line in screen.splitlines() if "Maximum resident set size" in line]
    return [float(line.split(":")[1].split()[0]) for line in lines]


@pytest.mark.parametrize(
    ("n_interactions", "keywords", "every", "n_steps"),
    [(1, "", 3, 20_000), (2, "", 5, 10_000), (1, "device emulated", 20, 4_000)],
)
def test_steps_of_lammps(
    run_lammps: RunLammps,
    folder: Path,
    tmp_path: Path,
    n_interactions: int,
    keywords: str,
    every: int,
    n_steps: int,
) -> None:
    write_data(tmp_path / "box.data", systems.water_box(2))
    model = folder / f"{n_interactions}.pt"
    first = n_steps // 10
    run = run_lammps(
        SCRIPT.format(
            model=model, keywords=keywords, every=every, first=first, rest=n_steps - first
        )
    )
    assert run.returncode == 0, run.screen[-3000:]
    before, after = peaks(run.screen)
    assert before > 10
    assert after <= 1.01 * before


def test_calculations_of_ase(folder: Path, tmp_path: Path) -> None:
    systems.water_box(2).write(tmp_path / "box.xyz")
    done = subprocess.run(
        [sys.executable, "-c", LOOP, str(folder / "1.pt"), "5000"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    before, after = map(int, done.stdout.split())
    assert before > 10_000  # kB
    assert after <= 1.01 * before


STILL = """
units metal
atom_style atomic
atom_modify map yes
read_data box.data
pair_style ekd
pair_coeff * * {model} O H N C
neigh_modify every 100000
fix move all nve
timestep 1e-9
run {n_steps} post no
"""


@pytest.mark.parametrize("n_interactions", [1, 2])
def test_steps_do_not_return_their_memory(
    run_lammps: RunLammps, tmp_path: Path, n_interactions: int
) -> None:
    """Steps reuse memory for all system sizes, because it takes long to clear new pages."""
    model = random_model(
        tmp_path / "model.pt",
        n_features=32,
        n_sensitivities=12,
        l_max=2 if n_interactions == 1 else 1,
        n_interactions=n_interactions,
    )

    def page_faults(n_steps: int) -> int:
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
        run = run_lammps(STILL.format(model=model, n_steps=n_steps))
        assert run.returncode == 0, run.screen[-3000:]
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt - before

    write_data(tmp_path / "box.data", systems.water_box(2))
    page_faults(1)  # includes those of finding the program
    for n_side in (3, 4, 5, 6):
        write_data(tmp_path / "box.data", systems.water_box(n_side))
        assert page_faults(60) - page_faults(10) < 50 * 10, f"{3 * n_side**3} atoms"
