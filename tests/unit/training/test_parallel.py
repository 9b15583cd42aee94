"""A training by two processes is that of one, and only the first process writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ekd.config import HIPNNConfig, TrainingConfig
from ekd.data import Dataset, fit_reference_energies
from ekd.training import train
from ekd.training.batches import LossWeights
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
# By atoms, a batch may hold a single configuration, of which one process then has nothing.
SETTINGS = {
    "by-count": {"batch_size": 7},
    "by-atoms": {"batch_atoms": 30, "schedule": "plateau", "plateau_patience": 0},
}

SCRIPT = """
import json, sys
from pathlib import Path
import numpy as np
from ekd.config import HIPNNConfig, TrainingConfig
from ekd.data import load_dataset
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
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "script.py", "arguments"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
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
            for key in set(expected) - {"seconds", "configs_per_second"}:
                assert found[key] == pytest.approx(
                    expected[key], rel=tolerance("processes").rtol
                ), key
        written = {path.name for path in (tmp_path / "two" / name).iterdir()}
        assert written == {"checkpoint.pt", "history.csv"}
