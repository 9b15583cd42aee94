"""A folder with input for every command of ekd that writes files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py

ROOT = Path(__file__).parents[1]

CONFIG = """
output = "run"
[data]
path = "train.h5"
energy = "ccsd(t)_ccpvdz.energy"
[test]
path = "test.h5"
energy = "ccsd(t)_ccpvdz.energy"
forces = "ccsd(t)_ccpvdz.forces"
[model]
n_features = 4
n_sensitivities = 4
n_atom_layers = 1
cutoff = 4.0
soft_max = 3.5
[teachers]
n_members = 2
n_workers = 1
[teachers.training]
epochs = 3
batch_size = 8
[labels]
chunk_size = 15
n_workers = 1
pool = false
[labels.md]
n_trajectories = 2
n_snapshots = 2
interval = 1e-3
[student.training]
epochs = 3
batch_size = 8
[student.uncertainty]
n_steps = 10
[student.on_policy]
n_rounds = 1
n_trajectories = 3
n_snapshots = 2
interval = 1e-3
epochs = 2
"""


# Added for tests with a pool.
POOL = """
[pool]
molecules = ["H2O", "NH3", "CH3OH"]
n_from_data = 5
n_rattled = 3
n_stretched = 2
n_clusters = 2
temperatures = [300.0]
n_snapshots = 2
interval = 0.004
n_workers = 1
chunk_size = 10
[pool.calculator]
calculator = "pool_springs:Mine"
[pretraining]
n_bases = 1
validation_fraction = 0.2
[pretraining.training]
epochs = 2
batch_size = 8
"""


def fill(folder: Path, training_file: Path, test_file: Path, with_pool: bool) -> None:
    """Put data, a configuration and a calculator into a folder."""
    folder.mkdir(parents=True)
    for source, name, n_systems, n_each in (
        (training_file, "raw.h5", 19, 2),
        (test_file, "test.h5", 6, 1),
    ):
        with h5py.File(source) as old, h5py.File(folder / name, "w") as new:
            new.attrs.update(old.attrs)
            for system in list(old)[:n_systems]:
                for key, values in old[system].items():
                    few = values[:n_each] if key != "atomic_numbers" else values[:]
                    new[f"{system}/{key}"] = few
    (folder / "pool_springs.py").write_text("from pool_calculators import PairSprings as Mine\n")
    (folder / "config.toml").write_text(CONFIG + POOL if with_pool else CONFIG)
    shutil.copy(ROOT / "tests" / "golden" / "exported-2.pt", folder / "old.pt")


def environment(folder: Path) -> dict[str, str]:
    """Environment of ekd processes in this folder."""
    path = [str(folder), str(ROOT / "tests"), *filter(None, sys.path)]
    return os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path),
        "NO_COLOR": "1",
        "TERM": "dumb",
        "COLUMNS": "400",
    }


def run_faults(top: Path, *numbers: str, timeout: float = 600) -> dict[str, Any]:
    """Run ``faults.py`` in a folder with ``start`` and return its outcome."""
    script = str(ROOT / "tests" / "faults.py")
    done = subprocess.run(
        [sys.executable, script, str(top), str(top / "outcome.json"), *numbers],
        env=environment(top / "start"),
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    outcome: dict[str, Any] = json.loads((top / "outcome.json").read_text())
    return outcome
