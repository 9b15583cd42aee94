"""After kill -9 at random times, the same command continues, with the same result."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

N_KILLS = 5

CONFIG = """
output = "run"
[data]
path = "train.h5"
energy = "ccsd(t)_ccpvdz.energy"
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
epochs = 6
batch_size = 16
checkpoint_minutes = 1e-9   # after every step
schedule = "plateau"
keep = "best"
[labels]
chunk_size = 6
n_workers = 1
[labels.perturbed]
n_copies = 1
[student.training]
epochs = 6
batch_size = 32
checkpoint_minutes = 1e-9
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, tiny_training_file: Path) -> tuple[Path, Any]:
    """Folder of all results, and how often each stage was killed."""
    folder = tmp_path_factory.mktemp("kills")
    shutil.copy(tiny_training_file, folder)
    (folder / "config.toml").write_text(CONFIG)
    script = Path(__file__).parents[1] / "kills.py"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), "config.toml", "20261125", str(N_KILLS), "outcome.json"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads((folder / "outcome.json").read_text())


def same_training(whole: Path, killed: Path) -> None:
    one, other = (torch.load(path, weights_only=True) for path in (whole, killed))
    assert one["state"] is None
    assert other["state"] is None
    times = ("seconds", "configs_per_second")
    for name in ("history", "model"):
        assert len(one[name]) == len(other[name])
    for key, tensor in one["model"].items():
        assert torch.equal(tensor, other["model"][key]), key
    for first, second in zip(one["history"], other["history"], strict=True):
        assert [v for k, v in first.items() if k not in times] == [
            v for k, v in second.items() if k not in times
        ]


@pytest.mark.parametrize("stage", ["train", "label", "distill"])
def test_kill_leaves_no_trace(results: tuple[Path, Any], stage: str) -> None:
    folder, outcome = results
    assert outcome[stage]["timer"] + outcome[stage]["file"] >= 5
    assert min(outcome[stage]["timer"], outcome[stage]["file"]) >= 2
    whole, killed = folder / f"{stage}-whole", folder / f"{stage}-killed"
    if stage == "label":
        assert (killed / "labels.h5").read_bytes() == (whole / "labels.h5").read_bytes()
    models = {"train": ["teachers/member-0", "teachers/member-1"], "distill": ["student"]}
    for name in models.get(stage, []):
        same_training(whole / name / "checkpoint.pt", killed / name / "checkpoint.pt")
        assert not list((killed / name).glob(".*"))
    record = json.loads((killed / "stages.json").read_text())
    assert record[stage]["complete"]
    # In other folders, a killed process may leave a temporary file, whose name begins with a dot.
    names = {path.relative_to(killed) for path in killed.rglob("*") if path.name[0] != "."}
    assert names == {path.relative_to(whole) for path in whole.rglob("*")}
