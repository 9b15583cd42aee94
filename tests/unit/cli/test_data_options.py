"""``--where`` and ``--states``, and warnings about data on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from ekd.cli import app
from ekd.data import load_dataset
from ekd.evaluation.evaluation_settings import load_evaluation_config
from untrained import teacher

N = 20


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    """Run in a folder with a file of two methods and two charges."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    with h5py.File("x.h5", "w") as file:
        file["m/atomic_numbers"] = [8, 1, 1]
        water = [[0.0, 0.0, 0.117], [0.0, 0.757, -0.471], [0.0, -0.757, -0.471]]
        file["m/coordinates"] = water + generator.normal(scale=0.03, size=(N, 3, 3))
        file["m/e"] = -76.4 + generator.normal(scale=0.01, size=N)
        file["m/method"] = [b"MP2", b"HF"] * (N // 2)
        file["m/charge"] = [0] * (N - 4) + [1] * 4
    return CliRunner(env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})


def test_prepare(runner: CliRunner) -> None:
    command = ["prepare", "x.h5", "--energy", "e", "-o", "out.h5", "-q"]
    output = runner.invoke(app, command).output
    assert "has 2 values of 'method': 'HF' (10), 'MP2' (10)" in output
    assert '(--where "method=HF")' in output
    output = runner.invoke(app, [*command, "--where", "method=MP2"]).output
    assert "2 of 10 configurations" in output
    assert "with --states neutral, or keep them on purpose with --states all" in output
    result = runner.invoke(app, [*command, "--where", "method=MP2", "--states", "neutral"])
    assert result.exit_code == 0, result.output
    assert "not selected 10, other charge or spin 2" in result.output
    assert len(load_dataset("out.h5")) == 8


@pytest.mark.parametrize("wrong", ["method", "=HF", "method="])
def test_what_is_no_selection(runner: CliRunner, wrong: str) -> None:
    result = runner.invoke(app, ["prepare", "x.h5", "-o", "out.h5", "--where", wrong])
    assert result.exit_code == 2
    assert f"--where {wrong} is not KEY=VALUE" in result.output


@pytest.mark.filterwarnings("always::ekd.errors.DataWarning")
def test_evaluate(runner: CliRunner) -> None:
    """Both values are given, so both are read; warnings are shown in one line."""
    with h5py.File("x.h5", "a") as file:
        file["m/e"][:] = file["m/e"][:].astype(np.float32)
    teacher(0).save("student/checkpoint.pt")
    command = ["evaluate", "student", "x.h5", "--energy", "e", "-o", "out", "-q"]
    options = ["--where", "method=MP2", "--where", "method=HF", "--states", "all"]
    result = runner.invoke(app, [*command, *options])
    assert result.exit_code == 0, result.output
    assert json.loads(Path("out/summary.json").read_text())["datasets"][0]["n_configs"] == N
    assert "look: energies in 'x.h5' are in single precision" in result.output
    Path("all.toml").write_text(
        "[[models]]\npath = 'student'\n[[sets]]\npath = 'x.h5'\nstates = 'neutral'\n"
        "where = { method = ['MP2', 'HF'], temperature = 300 }\n"
    )
    section = load_evaluation_config("all.toml").sets[0]
    assert section.where == {"method": ["MP2", "HF"], "temperature": 300}
    assert runner.invoke(app, ["evaluate", "all.toml", *options]).exit_code == 2
