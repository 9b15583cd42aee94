"""A clock that is set back has no effect, because only monotonic clocks are used."""

from __future__ import annotations

import ast
import itertools
import time
from pathlib import Path

import numpy as np
import pytest

import ekd
from ekd.config import HIPNNConfig, TrainingConfig
from ekd.data import Dataset
from ekd.training import train_ensemble

WALL_CLOCKS = {"time", "time_ns", "localtime", "gmtime", "ctime"}


def test_nobody_asks_the_wall_clock() -> None:
    package = Path(ekd.__file__).parent
    found = []
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "time"
                and node.attr in WALL_CLOCKS
            ):
                found.append((path.name, node.attr))
    assert found == []  # strftime and datetime are used only for display


def test_training_while_the_clock_goes_back(
    small_dataset: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    backwards = itertools.count(time.time(), -3600.0)
    monkeypatch.setattr(time, "time", lambda: next(backwards))
    ensemble = train_ensemble(
        small_dataset,
        HIPNNConfig(n_features=4, n_sensitivities=4, n_atom_layers=1, cutoff=4.0, soft_max=3.5),
        n_members=1,
        training=TrainingConfig(epochs=3),
        n_workers=1,
    )
    history = ensemble.members[0].history
    assert all(record["seconds"] > 0 for record in history)
    assert all(record["configs_per_second"] > 0 for record in history)
    lines = [line for line in capsys.readouterr().err.splitlines() if " s left" in line]
    assert len(lines) == 3
    left = [float(line.rpartition(", ")[2].split()[0]) for line in lines]
    assert np.all(np.array(left) >= 0)
    assert left[-1] == 0
