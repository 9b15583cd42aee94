"""The commands ``evaluate`` and ``stability``: input, output, files and errors."""

from __future__ import annotations

import json
from pathlib import Path

import ase.io
import pytest
from typer.testing import CliRunner

from ekd.cli import app
from models import random_model
from systems import water
from untrained import ensemble, teacher


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    monkeypatch.chdir(tmp_path)
    return CliRunner(env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})


@pytest.fixture
def run_folder(tmp_path: Path, test_file: Path) -> Path:
    """Output of a run: two teachers, a student, and the configuration with its test set."""
    for k, member in enumerate(ensemble(2).members):
        member.save(tmp_path / f"run/teachers/member-{k}/checkpoint.pt")
    teacher(5).save(tmp_path / "run/student/checkpoint.pt")
    (tmp_path / "run" / "config.resolved.toml").write_text(
        f'[data]\npath = "{test_file}"\nenergy = "ccsd(t)_ccpvdz.energy"\n'
        f'[test]\npath = "{test_file}"\nenergy = "ccsd(t)_ccpvdz.energy"\n'
    )
    return tmp_path / "run"


def test_evaluate_a_run_on_its_test_set(runner: CliRunner, run_folder: Path) -> None:
    random_model(Path("file.pt"))
    result = runner.invoke(app, ["evaluate", "run", "mine=file.pt", "--units", "kcal/mol", "-q"])
    assert result.exit_code == 0, result.output
    for words in ("single teacher", "ensemble", "student", "mine", "kcal/mol", "CCSD(T)/cc-pVDZ"):
        assert words in result.output
    assert "report: evaluation/report.html" in result.output
    summary = json.loads(Path("evaluation/summary.json").read_text())
    assert [model["name"] for model in summary["models"]] == ["ensemble", "student", "mine"]


def test_evaluate_a_run_on_its_far_set_too(
    runner: CliRunner, run_folder: Path, tiny_training_file: Path
) -> None:
    with (run_folder / "config.resolved.toml").open("a") as file:
        file.write(f'[far]\npath = "{tiny_training_file}"\nenergy = "ccsd(t)_ccpvdz.energy"\n')
    result = runner.invoke(app, ["evaluate", "run", "-q"])
    assert result.exit_code == 0, result.output
    sets = json.loads(Path("evaluation/summary.json").read_text())["datasets"]
    assert [(data["n_configs"], data["name"]) for data in sets] == [
        (93, "ccsdt_chno_test"),
        (38, "train"),
    ]


def test_data_files_are_told_from_models(
    runner: CliRunner, run_folder: Path, test_file: Path
) -> None:
    ase.io.write("w.xyz", [water(0), water(1)])
    frames = ase.io.read("w.xyz", ":")
    for k, frame in enumerate(frames):
        frame.info["e"] = -2000.0 + k
    ase.io.write("w.xyz", frames)
    command = ["evaluate", "run/student", str(test_file), "w.xyz", "-q", "--output", "out"]
    keys = ["--energy", "ccsd(t)_ccpvdz.energy", "--energy", "e"]
    result = runner.invoke(app, [*command, *keys])
    assert result.exit_code == 0, result.output
    sets = json.loads(Path("out/summary.json").read_text())["datasets"]
    assert [(data["name"], data["n_configs"]) for data in sets] == [(test_file.stem, 93), ("w", 2)]
    wrong = runner.invoke(app, [*command, *keys, "--energy", "third"])
    assert wrong.exit_code == 2
    assert "--energy is given 3 times for 2 files" in wrong.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "run/student"], "nothing to measure against: no data file is given"),
        (["evaluate", "w.xyz"], "there is no model to evaluate"),
        (["stability", "run", "-T", "300"], "there is no structure to start from"),
        (["stability", "w.xyz", "-T", "300"], "there is no model to run"),
        (["stability", "run", "w.xyz", "-T", "-5"], "expected positive numbers (K)"),
        (["stability", "gone", "w.xyz"], "model 'gone' not found"),
        (["evaluate", "missing.toml"], "configuration file 'missing.toml' not found"),
    ],
)
def test_what_is_missing(
    runner: CliRunner, run_folder: Path, arguments: list[str], words: str
) -> None:
    ase.io.write("w.xyz", water(0))
    result = runner.invoke(app, arguments)
    assert result.exit_code == 1
    assert words in result.output
    assert "Traceback" not in result.output


def test_options_beside_a_file_are_refused(runner: CliRunner) -> None:
    Path("all.toml").write_text("[[models]]\npath = 'run'\n")
    for command in (
        ["evaluate", "all.toml", "--energy", "e"],
        ["stability", "all.toml", "-T", "300"],
    ):
        assert runner.invoke(app, command).exit_code == 2


def test_stability_of_a_student(runner: CliRunner, run_folder: Path) -> None:
    ase.io.write("w.xyz", water(0))
    command = ["stability", "run/student", "w.xyz", "--molecule", "CH4", "-T", "100"]
    command += ["--seeds", "1", "--duration", "0.01", "--workers", "1", "-q"]
    result = runner.invoke(app, command)
    assert result.exit_code == 0, result.output
    for words in ("Survival of molecular dynamics", "all structures", "CH4", "median time"):
        assert words in result.output
    assert Path("stability/report.html").exists()
    again = runner.invoke(app, [*command, "--overwrite"])
    assert again.exit_code == 0


@pytest.mark.parametrize("verb", ["evaluate", "stability"])
def test_interruption(
    runner: CliRunner, run_folder: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ekd.evaluation.evaluate_models.predict_everything", interrupt)
    monkeypatch.setattr("ekd.dynamics.measure_stability.complete", interrupt)
    ase.io.write("w.xyz", water(0))
    result = runner.invoke(app, [verb, "run", *(["w.xyz"] if verb == "stability" else [])])
    assert result.exit_code == 130
    assert "interrupted; run the same command to continue" in result.output
