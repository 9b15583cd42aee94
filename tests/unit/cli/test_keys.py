"""The option ``--key`` of commands that read data, and ``keys`` in configurations."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from ekd.cli import app
from ekd.config import load_config
from ekd.data import load_dataset
from ekd.evaluation.evaluation_settings import load_evaluation_config
from ekd.pipeline.runner import Pipeline
from untrained import teacher

KEYS = ["--key", "positions=xyz", "--key", "numbers=charges"]
AS_TOML = 'keys = { positions = "xyz", numbers = "charges" }'


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    """Run in a folder with a file that has other names for positions and atoms."""
    monkeypatch.chdir(tmp_path)
    with h5py.File("own.h5", "w") as file:
        file["m/charges"] = [8, 1, 1]
        file["m/xyz"] = np.random.default_rng(0).normal(size=(20, 3, 3)) * 2
        file["m/e"] = np.random.default_rng(1).normal(size=20)
    return CliRunner(env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})


def test_prepare(runner: CliRunner) -> None:
    command = ["prepare", "own.h5", "--energy", "e", "-o", "out.h5", "-q"]
    assert "has no group with 'coordinates'" in runner.invoke(app, command).output
    result = runner.invoke(app, [*command, *KEYS])
    assert result.exit_code == 0, result.output
    assert len(load_dataset("out.h5")) == 20


def test_evaluate(runner: CliRunner) -> None:
    teacher(0).save("student/checkpoint.pt")
    command = ["evaluate", "student", "own.h5", "--energy", "e", "-o", "out", "-q"]
    result = runner.invoke(app, [*command, *KEYS])
    assert result.exit_code == 0, result.output
    assert json.loads(Path("out/summary.json").read_text())["datasets"][0]["n_configs"] == 20
    Path("all.toml").write_text(
        "[[models]]\npath = 'student'\n[[sets]]\npath = 'own.h5'\n" + AS_TOML
    )
    assert dict(load_evaluation_config("all.toml").sets[0].keys)["positions"] == "xyz"
    assert runner.invoke(app, ["evaluate", "all.toml", *KEYS]).exit_code == 2


@pytest.mark.parametrize("wrong", ["positions", "=xyz", "positions="])
def test_what_is_no_key(runner: CliRunner, wrong: str) -> None:
    result = runner.invoke(app, ["prepare", "own.h5", "-o", "out.h5", "--key", wrong])
    assert result.exit_code == 2
    assert f"--key {wrong} is not WHAT=KEY" in result.output
    twice = runner.invoke(app, ["prepare", "own.h5", "-o", "out.h5", *KEYS, *KEYS])
    assert twice.exit_code == 2


def test_configuration(runner: CliRunner) -> None:
    data = f'path = "own.h5"\nenergy = "e"\n{AS_TOML}\n'
    Path("config.toml").write_text(f"[data]\n{data}[test]\n{data}")
    pipeline = Pipeline(load_config("config.toml"), progress=False)
    assert len(pipeline.work.data) == 20
    assert pipeline.work.test is not None
    assert pipeline.work.test.fingerprint == pipeline.work.data.fingerprint
    # The fingerprint identifies the data; names in the file do not change a result.
    assert not [key for key in pipeline.settings("train") if "keys" in key]
