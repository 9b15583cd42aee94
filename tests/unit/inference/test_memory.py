"""Evaluations that run out of memory: smaller blocks, a warning, or one clear error."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ekd.errors import find_code
from models import random_model

# Evaluates a box of carbon atoms in a process that may allocate only a given number of MiB more.
# Before that, a few atoms are evaluated, so that libraries are loaded and threads exist.
SCRIPT = """
import json, resource, sys, warnings
import numpy as np
from ekd.inference import ExportedModel

path, device, n, more, what = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:5]), sys.argv[5]
HARD = resource.getrlimit(resource.RLIMIT_AS)[1]
model = ExportedModel(path, device=device)
grid = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1).reshape(-1, 3)
positions = 2.4 * grid + 0.1 * np.random.default_rng(0).random(grid.shape)
numbers = np.full(len(grid), 6)

def evaluate():
    if what == "batch":
        parts = np.array_split(np.arange(len(grid)), 20)
        found = model.evaluate_batch([(numbers[p], positions[p]) for p in parts], max_atoms=10**6)
        return float(found.energies.sum()), np.asarray(found.forces)
    found = model.evaluate(numbers, positions)
    return found.energy, np.asarray(found.forces)

model.evaluate(numbers[:8], positions[:8])
if more:
    pages = int(open("/proc/self/statm").read().split()[0])
    limit = pages * resource.getpagesize() + (more << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, HARD))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    try:
        energy, forces = evaluate()
        if more:
            evaluate()  # says nothing more
    except Exception as error:
        result = {"error": type(error).__name__, "message": str(error)}
    else:
        result = {"energy": energy, "largest": float(np.abs(forces).max())}
resource.setrlimit(resource.RLIMIT_AS, (HARD, HARD))
print(json.dumps(result | {"warnings": [str(w.message) for w in caught]}))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its later interaction has wide rows for each atom, which are computed in blocks."""
    return random_model(
        tmp_path_factory.mktemp("models") / "wide.pt",
        n_interactions=2,
        l_max=0,
        n_features=64,
        n_sensitivities=20,
        n_atom_layers=1,
    )


def run(model: Path, device: str, n: int, more: int, what: str, **settings: str) -> dict[str, Any]:
    path = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(model), device, str(n), str(more), what],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **settings},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("what", ["one structure", "batch"])
def test_smaller_blocks(model: Path, what: str) -> None:
    free = run(model, "cpu", 20, 0, what)
    assert free["warnings"] == []
    found = run(model, "cpu", 20, 70, what)
    assert len(found["warnings"]) >= 1, found
    assert f"memory has run out in an evaluation of '{model}'" in found["warnings"][0]
    assert re.search(r"use (block|max_atoms)=\d+", found["warnings"][-1])
    assert found["energy"] == pytest.approx(free["energy"], rel=1e-12)
    assert found["largest"] == pytest.approx(free["largest"], rel=1e-9)


def test_not_even_the_smallest(model: Path) -> None:
    found = run(model, "cpu", 20, 10, "one structure")
    assert found["error"] == "MemoryError"
    assert "there is not enough memory for" in found["message"]
    assert find_code(found["message"]) == "EKD-DEVICE-018"


def test_memory_of_a_device(model: Path) -> None:
    """The memory of the emulated device can be set."""
    free = run(model, "emulated", 8, 0, "batch")
    found = run(model, "emulated", 8, 0, "batch", EKD_EMULATED_MEMORY=str(6 << 20))
    assert any("use max_atoms=" in text for text in found["warnings"]), found
    assert found["energy"] == pytest.approx(free["energy"], rel=1e-6)
    small = run(model, "emulated", 8, 0, "one structure", EKD_EMULATED_MEMORY=str(4 << 20))
    assert small["error"] == "EKDError"
    assert "has no memory for" in small["message"]
