"""Output and exit codes of the command line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import trainings
from ekd.cli import app, quickstart, stages
from ekd.config import HIPNNConfig, TrainingConfig, load_config
from ekd.data import Dataset, load_dataset
from ekd.distillation import Labels, distill
from ekd.distillation.label_file import TeacherRecord
from ekd.errors import CheckpointError
from ekd.models import UncertaintyHead
from ekd.pipeline.order import STAGES
from ekd.training import Ensemble, TrainedModel, train_ensemble
from models import random_model, without_weights

VERBS = ["run", *STAGES]
VERBS += ["stability", "committee", "inspect", "check", "quickstart", "prepare", "import-hippynn"]

MINIMAL = '[data]\npath = "data.h5"\nenergy = "energy"\n'


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    """Run commands in a separate folder, on a terminal that is wide enough for all messages."""
    monkeypatch.chdir(tmp_path)
    return CliRunner(env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(runner: CliRunner, verb: str) -> None:
    result = runner.invoke(app, [verb, "--help"])
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 8
    assert f"  {verb} " in runner.invoke(app, ["--help"]).output.replace("│", " ")


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import sys\nfrom ekd.cli import app\n"
        "try:\n    app(['--help'])\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'torch', 'ase', 'h5py', 'matplotlib', 'numpy'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_version(runner: CliRunner) -> None:
    result = runner.invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith("ekd 0.")


def test_missing_configuration(runner: CliRunner) -> None:
    result = runner.invoke(app, ["run", "absent.toml"])
    assert result.exit_code == 1
    assert "error: configuration file 'absent.toml' not found" in result.output
    assert "Traceback" not in result.output


def test_unknown_key_names_the_nearest(runner: CliRunner) -> None:
    Path("config.toml").write_text(MINIMAL + "[model]\nn_featurs = 3\n")
    result = runner.invoke(app, ["train", "config.toml"])
    assert result.exit_code == 1
    assert "did you mean 'n_features'" in result.output


def test_missing_data_file(runner: CliRunner) -> None:
    Path("config.toml").write_text(MINIMAL)
    result = runner.invoke(app, ["train", "config.toml"])
    assert result.exit_code == 1
    assert "data.h5" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["fly"],
        ["run", "config.toml", "--fast"],
        ["run", "config.toml", "--resume", "--overwrite"],
        ["run", "config.toml", "--from", "middle"],
    ],
)
def test_wrong_command_line(runner: CliRunner, arguments: list[str]) -> None:
    assert runner.invoke(app, arguments).exit_code == 2


def test_bug_leaves_its_traceback_in_a_file(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(stages, "load", fail)
    result = runner.invoke(app, ["run", "config.toml"])
    assert result.exit_code == 1
    assert "ZeroDivisionError: a bug" in result.output
    assert "this is a bug in ekd" in result.output
    assert "Traceback" not in result.output
    assert "Traceback (most recent call last)" in Path("error.log").read_text()


def test_a_reader_that_has_seen_enough_is_no_bug(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "ekd", "stability", "--help"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        command, cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, text=True, env=environment
    )
    os.close(write)
    assert done.stderr == ""
    assert done.returncode in (1, 141)  # 1: rich was the first to notice
    assert not (tmp_path / "error.log").exists()


def test_interruption_names_the_way_on(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "load", interrupt)
    result = runner.invoke(app, ["run", "config.toml"])
    assert result.exit_code == 130
    assert "--resume continues" in result.output


def test_errors_name_options_of_the_command_line(
    runner: CliRunner, small_dataset: Dataset, tmp_path: Path
) -> None:
    """Messages name function arguments in Python, and options on the command line."""

    def stop(record: dict[str, object]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainings.run(small_dataset, directory=tmp_path, report=stop)
    path = str(tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="finish it with resume=True"):
        TrainedModel.load(path)
    result = runner.invoke(app, ["committee", path, "-o", "committee.pt"])
    assert result.exit_code == 1
    assert "stopped after epoch 1 of 4; finish it with --resume" in result.output
    assert "resume=" not in result.output


def test_other_settings_are_not_resumed(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise CheckpointError("restore these settings, or train with resume=False")

    monkeypatch.setattr(stages, "load", refuse)
    assert "or train with --overwrite" in runner.invoke(app, ["train", "a.toml"]).output


def test_prepare(runner: CliRunner, test_file: Path) -> None:
    command = ["prepare", str(test_file), "--energy", "ccsd(t)_ccpvdz.energy", "-o", "test.h5"]
    result = runner.invoke(app, [*command, "--forces", "ccsd(t)_ccpvdz.forces"])
    assert result.exit_code == 0, result.output
    assert "93 of 14 formulas" in result.output
    assert "picture: test.png" in result.output
    assert load_dataset("test.h5").forces is not None
    assert runner.invoke(app, [*command, "--forces", "ccsd(t)_ccpvdz.forces"]).exit_code == 0

    result = runner.invoke(app, command)
    assert result.exit_code == 1
    assert "'test.h5' exists and has other inputs or options" in result.output
    result = runner.invoke(app, [*command, "--overwrite", "--drop-outliers", "--min-distance", "1"])
    assert result.exit_code == 0, result.output
    assert "dropped" in result.output
    assert len(load_dataset("test.h5")) < 93
    result = runner.invoke(app, [*command, "--overwrite", "--min-distance", "3"])
    assert "look: 0 energies and 93 contacts are far from all others" in result.output


def test_prepare_two_files_with_two_keys(runner: CliRunner, test_file: Path) -> None:
    np.savez("x.npz", R=np.arange(12.0).reshape(2, 2, 3), z=[1, 1], E=[-31.0, -30.0], e_unit="eV")
    command = ["prepare", str(test_file), "x.npz", "-o", "both.h5", "--quiet"]
    command += ["--energy", "ccsd(t)_ccpvdz.energy", "--energy", "E", "--level-of-theory", "mixed"]
    result = runner.invoke(app, command)
    assert result.exit_code == 0, result.output
    assert len(load_dataset("both.h5")) == 95


def test_prepare_interrupted(
    runner: CliRunner, test_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ekd.preparation.prepare_dataset", interrupt)
    result = runner.invoke(app, ["prepare", str(test_file), "-o", "x.h5"])
    assert result.exit_code == 130
    assert "interrupted; run the same command to continue" in result.output


def test_inspect_and_check(runner: CliRunner, tmp_path: Path) -> None:
    path = random_model(tmp_path / "student.pt")
    shown = runner.invoke(app, ["inspect", str(path)])
    assert shown.exit_code == 0
    assert "H, C, N, O" in shown.output
    assert '"cutoff": 4.0' in runner.invoke(app, ["inspect", str(path), "--json"]).output
    checked = runner.invoke(app, ["check", str(path)])
    assert checked.exit_code == 0
    assert "PASS" in checked.output


def test_inspect_shows_the_distances_of_the_data(runner: CliRunner, tmp_path: Path) -> None:
    path = random_model(tmp_path / "student.pt", closest={"H-O": 0.9123, "C-H": 1.0})
    shown = runner.invoke(app, ["inspect", str(path)])
    assert shown.exit_code == 0
    rows = re.findall(r"(\w+-\w+) +\S +(none|[\d.]+) +\S +(\d+)", shown.output)
    assert ("H-O", "0.9123", "10") in rows
    assert ("H-C", "1.0000", "10") in rows
    assert ("O-O", "none", "0") in rows
    assert len(rows) == 10
    assert "closest_pairs" not in shown.output
    assert "closest_pairs" in runner.invoke(app, ["inspect", str(path), "--json"]).output
    silent = random_model(tmp_path / "silent.pt")
    assert "H-O" not in runner.invoke(app, ["inspect", str(silent)]).output


def test_upgrade(runner: CliRunner, tmp_path: Path) -> None:
    from ekd.inference import has_weights

    path = without_weights(random_model(tmp_path / "model.pt"), tmp_path / "student.pt")
    done = runner.invoke(app, ["upgrade", str(path), "-o", str(tmp_path / "new.pt")])
    assert done.exit_code == 0, done.output
    assert has_weights(tmp_path / "new.pt")
    assert not has_weights(path)
    again = runner.invoke(app, ["upgrade", str(tmp_path / "new.pt")])
    assert "holds its weights already" in again.output.replace("\n", "")
    in_vain = runner.invoke(app, ["upgrade", str(tmp_path / "new.pt"), "-o", "x.pt"])
    assert in_vain.exit_code == 1
    two = runner.invoke(app, ["upgrade", str(path), str(path), "-o", "x.pt"])
    assert two.exit_code == 1
    assert "--output names one file, but there are 2 models" in two.output.replace("\n", " ")


def test_check_fails_where_the_model_predicts_something_else(
    runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ekd import inference

    path = random_model(tmp_path / "student.pt")
    different = inference.SelfTestReport(
        energy=1e-3, forces=0.0, virial=0.0, uncertainty=None, tolerance=1e-9
    )
    monkeypatch.setattr(inference, "run_self_test", lambda model: different)
    result = runner.invoke(app, ["check", str(path)])
    assert result.exit_code == 1
    assert "1.0e-03" in result.output
    assert "FAIL" in result.output


def test_committee_of_several_runs(runner: CliRunner, small_dataset: Dataset) -> None:
    labels = Labels(
        energies=small_dataset.energies,
        energies_std=np.zeros(len(small_dataset)),
        member_energies=small_dataset.energies[:, None],
        forces=np.zeros_like(small_dataset.positions),
        forces_std=np.zeros(small_dataset.n_atoms),
        data_fingerprint=small_dataset.fingerprint,
        teachers=(TeacherRecord("a", "a" * 64, True),),
    )
    model = HIPNNConfig(n_features=4, n_sensitivities=4, cutoff=4.0, soft_max=3.0)
    for seed in (0, 1):
        distill(
            small_dataset,
            labels,
            model,
            TrainingConfig(epochs=1),
            seed=seed,
            directory=f"run-{seed}/student",
            progress=False,
        )
    command = ["committee", "run-0", "run-1", "--output", "committee.pt", "--dtype", "float32"]
    result = runner.invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "done: committee.pt, 2 students" in result.output
    assert "n_members" in runner.invoke(app, ["inspect", "committee.pt"]).output
    shown = runner.invoke(app, ["inspect", "committee.pt", "--json"]).output
    assert '"n_members": 2' in shown
    assert '"dtype": "float32"' in shown
    checked = runner.invoke(app, ["check", "committee.pt"])
    assert checked.exit_code == 0
    assert "PASS" in checked.output
    refused = runner.invoke(app, command)
    assert refused.exit_code == 1
    assert "'committee.pt' already exists; add --overwrite" in refused.output
    assert runner.invoke(app, [*command, "--overwrite"]).exit_code == 0
    assert "note:" not in result.output
    head = TrainedModel.load("run-1/student/checkpoint.pt")
    head.model.set_uncertainty_head(UncertaintyHead(head.model.feature_widths[1:], 4))
    head.save("headed.pt")
    mixed = runner.invoke(app, ["committee", "run-0", "headed.pt", "--output", "mixed.pt"])
    assert "note: only 1 of them have an uncertainty output" in mixed.output
    Ensemble([head]).export("alone.pt")
    assert "uncertainty" in runner.invoke(app, ["check", "alone.pt"]).output
    assert "uncertainty" not in checked.output
    lost = runner.invoke(app, ["committee", "run-0", "run-2", "--output", "other.pt"])
    assert lost.exit_code == 1
    assert "no student in 'run-2'" in lost.output


@pytest.mark.parametrize("verb", ["inspect", "check"])
def test_file_that_is_no_model(runner: CliRunner, verb: str) -> None:
    Path("text.pt").write_text("not a model")
    result = runner.invoke(app, [verb, "text.pt"])
    assert result.exit_code == 1
    assert "'text.pt' is not an exported model" in result.output


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, training_file: Path) -> Path:
    """The package with its quickstart files, whether ekd is installed or not."""
    package = tmp_path / "package"
    (package / "quickstart" / "data").mkdir(parents=True)
    examples = training_file.parents[1]
    (package / "quickstart" / "quickstart.toml").symlink_to(examples / "quickstart.toml")
    for file in examples.glob("data/*.h5"):
        (package / "quickstart" / "data" / file.name).symlink_to(file)
    monkeypatch.setattr(quickstart.resources, "files", lambda name: package)
    return package


def test_quickstart_copies_what_it_runs(
    runner: CliRunner, shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(stages, "execute", lambda *arguments: seen.append(arguments))
    result = runner.invoke(app, ["quickstart", "--output", "demo", "--quiet"])
    assert result.exit_code == 0, result.output
    ((config, *_),) = seen
    assert config.output == Path("demo").resolve()
    assert config.data.path == Path("demo/data/ccsdt_chno.h5").resolve()
    for section in filter(None, (config.data, config.test, config.far)):
        assert section.path.is_file()
    refused = runner.invoke(app, ["quickstart", "--output", "demo"])
    assert refused.exit_code == 1
    assert "folder 'demo' is not empty; add --resume" in refused.output
    assert runner.invoke(app, ["quickstart", "--output", "demo", "--resume"]).exit_code == 0


def test_quickstart_without_its_files(runner: CliRunner, shipped: Path) -> None:
    (shipped / "quickstart" / "quickstart.toml").unlink()
    result = runner.invoke(app, ["quickstart"])
    assert result.exit_code == 1
    assert "install ekd again" in result.output


def test_shipped_configuration_is_valid(training_file: Path) -> None:
    config = load_config(training_file.parents[1] / "quickstart.toml")
    assert config.teachers.n_members >= 4
    assert config.data.path == training_file
    assert config.test is not None
    assert config.test.path.is_file()


def test_doubtful_reference_energies_are_named(
    runner: CliRunner, training_dataset: Dataset
) -> None:
    """Shown during training, in the record of the model, and by ``ekd inspect``."""
    water = training_dataset.subset(np.flatnonzero(training_dataset.formulas == "H2O")[:20])
    model = HIPNNConfig(n_features=4, n_sensitivities=4, cutoff=4.0, soft_max=3.0)
    training = TrainingConfig(epochs=1)
    trained = train_ensemble(water, model, 1, training=training, progress=False).members[0]
    (warning,) = trained.provenance["reference_warnings"]
    assert "do not determine the reference energies of H, O" in warning
    trained.export("water.pt")
    shown = runner.invoke(app, ["inspect", "water.pt"]).output
    assert f"look: {warning}" in shown
    assert shown.count("in [data] of the configuration") == 2  # brackets are no markup
    network = trained.model
    network.reference_energies.copy_(network.reference_energies.new_tensor([870.0, -2041.8]))
    TrainedModel(network, model, training, {}, []).export("bent.pt")
    shown = runner.invoke(app, ["inspect", "bent.pt"]).output
    assert "look: impossible reference energies, in eV: H 870.0 (expected -4" in shown
    given = replace(water, reference_energies={1: -13.6, 8: -2041.8})
    trained = train_ensemble(given, model, 1, training=training, progress=False).members[0]
    assert trained.provenance["reference_energies"] == {"H": -13.6, "O": -2041.8}
    trained.export("given.pt")
    assert "look:" not in runner.invoke(app, ["inspect", "given.pt"]).output
