"""Training with two processes equals that with one, and only the first process writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from ekd.config import HIPNNConfig, TrainingConfig, load_config
from ekd.data import Dataset, fit_reference_energies
from ekd.errors import EKDError, TrainingError
from ekd.pipeline.runner import Pipeline
from ekd.training import TrainedModel, train
from ekd.training.batches import LossWeights
from ekd.training.parallel import Group, launched_group
from tolerances import tolerance

MODEL = HIPNNConfig(
    n_features=5, n_sensitivities=5, n_atom_layers=1, n_interactions=2, cutoff=4.0, soft_max=3.0
)
COMMON = {
    "epochs": 3,
    "dtype": "float64",
    "hierarchicality_weight": 0.1,
    "l2_weight": 1e-4,
    "force_weight": 2.0,
}
# If atoms limit a batch, it may contain one configuration, so one process has no data.
SETTINGS = {
    "by-count": {"batch_size": 7},
    "by-atoms": {"batch_atoms": 30, "schedule": "plateau", "plateau_patience": 0},
}

SCRIPT = """
import json, sys
from pathlib import Path
import numpy as np
from ekd.config import HIPNNConfig, TrainingConfig, load_config
from ekd.data import load_dataset
from ekd.pipeline.runner import Pipeline
from ekd.training import train
from ekd.training.batches import LossWeights
from ekd.training.parallel import launched_group

arguments = json.loads(Path(sys.argv[1]).read_text())
data = load_dataset(arguments["path"], energy="ccsd(t)_ccpvdz.energy")
data = data.subset(np.arange(0, len(data), 80))
arrays = np.load(sys.argv[1] + ".npz")
with launched_group("cpu") as group:
    for name, settings in arguments["settings"].items():
        trained = train(
            data,
            model=HIPNNConfig(**arguments["model"]),
            training=TrainingConfig(**settings),
            train_indices=np.arange(0, len(data) - 5),
            validation_indices=np.arange(len(data) - 5, len(data)),
            reference_energies={int(z): e for z, e in arguments["reference_energies"].items()},
            seed=1,
            labels=arrays["labels"],
            weights=LossWeights(arrays["energies"], arrays["forces"]),
            directory=Path(arguments["directory"]) / name,
            group=group,
        )
        own = Path(arguments["directory"]) / f"{name}-{group.rank}.json"
        own.write_text(json.dumps({"history": trained.history, "sha256": trained.sha256}))
    Pipeline(load_config("config.toml"), group=group).run(["train"])
"""

CONFIG = """
[data]
path = "train.h5"
energy = "ccsd(t)_ccpvdz.energy"
[model]
n_features = 4
n_sensitivities = 4
cutoff = 4.0
soft_max = 3.5
[teachers]
n_members = 2
n_workers = 1
[teachers.training]
epochs = 2
dtype = "float64"
"""


@pytest.fixture(scope="module")
def lesson(small_dataset: Dataset) -> dict[str, np.ndarray]:
    """Forces of the right shape, and weights that differ, some of them zero."""
    generator = np.random.default_rng(0)
    n_configs, n_atoms = len(small_dataset), small_dataset.n_atoms
    energies = generator.random(n_configs)
    energies[::4] = 0.0
    return {
        "labels": generator.normal(size=(n_atoms, 3)),
        "energies": energies,
        "forces": generator.random(n_atoms),
    }


def same_record(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for key in set(expected) - {"seconds", "configs_per_second"}:
        value = expected[key]
        if value is not None:
            value = pytest.approx(value, rel=tolerance("processes").rtol)
        assert found[key] == value, key


def copy_first(source: Path, target: Path, n: int) -> None:
    """Copy a dataset with the first ``n`` configurations of each system."""
    with h5py.File(source) as old, h5py.File(target, "w") as new:
        new.attrs.update(old.attrs)
        for name, group in old.items():
            for key, values in group.items():
                new[f"{name}/{key}"] = values[:n] if key != "atomic_numbers" else values[:]


def test_two_processes_train_as_one(
    small_dataset: Dataset, training_file: Path, lesson: dict[str, np.ndarray], tmp_path: Path
) -> None:
    references = fit_reference_energies(small_dataset)
    settings = {name: COMMON | changes for name, changes in SETTINGS.items()}
    arguments = {
        "path": str(training_file),
        "model": MODEL.model_dump(),
        "settings": settings,
        "reference_energies": references,
        "directory": str(tmp_path / "two"),
    }
    (tmp_path / "arguments").write_text(json.dumps(arguments))
    np.savez(tmp_path / "arguments.npz", **lesson)
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "two").mkdir()
    copy_first(training_file, tmp_path / "train.h5", 2)
    (tmp_path / "config.toml").write_text(CONFIG)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "script.py", "arguments"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    environment["GLOO_SOCKET_IFNAME"] = "lo"  # independent of the host name of this machine
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    n = len(small_dataset)
    for name, values in settings.items():
        alone = train(
            small_dataset,
            model=MODEL,
            training=TrainingConfig(**values),
            train_indices=np.arange(0, n - 5),
            validation_indices=np.arange(n - 5, n),
            reference_energies=references,
            seed=1,
            labels=lesson["labels"],
            weights=LossWeights(lesson["energies"], lesson["forces"]),
        )
        ranks = [json.loads((tmp_path / "two" / f"{name}-{r}.json").read_text()) for r in (0, 1)]
        assert ranks[0]["sha256"] == ranks[1]["sha256"]
        for found, expected in zip(ranks[0]["history"], alone.history, strict=True):
            same_record(found, expected)
        written = {path.name for path in (tmp_path / "two" / name).iterdir()}
        assert written == {"checkpoint.pt", "history.csv"}
    # The whole stage, as the command line runs it.
    folder = tmp_path / "run"
    assert done.stderr.count("teacher 1: epoch 2/2") == 1  # only one of the two shows progress
    assert json.loads((folder / "stages.json").read_text())["train"]["complete"]
    config = load_config(tmp_path / "config.toml")
    alone = Pipeline(config.model_copy(update={"output": tmp_path / "alone"}), progress=False)
    alone.run(["train"])
    for k in range(2):
        member = Path("teachers") / f"member-{k}" / "checkpoint.pt"
        found, expected = (TrainedModel.load(at / member) for at in (folder, alone.folder))
        for ours, theirs in zip(found.history, expected.history, strict=True):
            same_record(ours, theirs)


def test_other_stages_work_in_one_process(tmp_path: Path, training_file: Path) -> None:
    copy_first(training_file, tmp_path / "train.h5", 2)
    (tmp_path / "config.toml").write_text(CONFIG)

    class Two(Group):
        n_ranks = 2

    with pytest.raises(EKDError, match="torchrun started 2 processes of 'label', which uses one"):
        Pipeline(load_config(tmp_path / "config.toml"), progress=False, group=Two()).run(["label"])


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    message = "process 1 of this machine has no GPU of its own .*--nproc-per-node 1"
    with pytest.raises(TrainingError, match=message), launched_group("cuda"):
        pass
