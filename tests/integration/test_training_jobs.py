"""Teachers that are trained one by one, as in jobs of an array, and the following stages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from ekd.cli import app
from ekd.config import load_config
from ekd.errors import CheckpointError, ConfigError, EKDError
from ekd.pipeline.record import Existing, Record
from ekd.pipeline.runner import Pipeline
from ekd.training import TrainedModel, tensorboard

CONFIG = """
output = "run"
[data]
path = "train.h5"
energy = "ccsd(t)_ccpvdz.energy"
[model]
n_features = 4
n_sensitivities = 4
n_atom_layers = 1
cutoff = 4.0
soft_max = 3.5
[teachers]
n_members = 3
n_workers = 1
splits = "k-fold"
[teachers.training]
epochs = 2
batch_atoms = 100
[[teachers.overrides]]
[[teachers.overrides]]
seed = 11
model = {n_features = 5}
[student.training]
epochs = 2
"""


@pytest.fixture
def folder(tmp_path: Path, tiny_training_file: Path) -> Path:
    shutil.copy(tiny_training_file, tmp_path)
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path


def pipeline(folder: Path, existing: Existing = Existing.RESUME) -> Pipeline:
    return Pipeline(load_config(folder / "config.toml"), existing, progress=False)


def test_members_one_by_one(folder: Path) -> None:
    """Each member is trained in a separate job; the next stage requires all of them."""
    runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})
    command = ["train", str(folder / "config.toml"), "--quiet"]
    for member in ("2", "0"):
        result = runner.invoke(app, [*command, "--member", member])
        assert result.exit_code == 0, result.output
    assert not (folder / "run" / "stages.json").exists()
    with pytest.raises(EKDError, match=r"'label' needs all 3 teachers.*1 are missing: member 1"):
        pipeline(folder).run(["label"])
    refused = runner.invoke(app, [*command, "--member", "2"])
    assert refused.exit_code == 1
    assert "member-2' already exists; add --resume" in refused.output.replace("\n", "")
    checkpoint = folder / "run" / "teachers" / "member-2" / "checkpoint.pt"
    finished = checkpoint.read_bytes()
    golden = Path(__file__).parents[1] / "golden" / "checkpoint-5-broken-off.pt"
    state = torch.load(golden, weights_only=True)["state"]
    torch.save(torch.load(checkpoint, weights_only=True) | {"state": state}, checkpoint)
    with pytest.raises(EKDError, match=r"member 1 \(not started\), member 2 \(not finished\)"):
        pipeline(folder).run(["label"])
    checkpoint.write_bytes(finished)
    pipeline(folder).run_part("train", 1)
    pipeline(folder).run(["label", "distill"])
    assert json.loads((folder / "run" / "stages.json").read_text())["train"]["complete"]
    assert (folder / "run" / "teachers" / "learning_curves.png").exists()
    config = load_config(folder / "config.toml")
    together = Pipeline(config.model_copy(update={"output": folder / "together"}), progress=False)
    together.run(["train"])
    for k in range(3):
        path = Path("teachers") / f"member-{k}" / "checkpoint.pt"
        ours, theirs = (TrainedModel.load(folder / at / path) for at in ("run", "together"))
        assert ours.sha256 == theirs.sha256
    assert theirs.provenance["seed"] == 2
    described = json.loads((folder / "run" / "teachers" / "summary.json").read_text())["members"]
    assert [member["seed"] for member in described] == [0, 11, 2]
    assert described[1]["sha256"] != described[0]["sha256"]


def test_members_of_other_settings_are_not_adopted(folder: Path) -> None:
    for member in range(3):
        pipeline(folder).run_part("train", member)
    path = folder / "config.toml"
    path.write_text(CONFIG.replace("epochs = 2\nbatch_atoms = 100", "epochs = 2\nbatch_atoms = 90"))
    with pytest.raises(CheckpointError, match="batch_atoms: 100 in the checkpoint, 90 now"):
        pipeline(folder).run(["label"])


def test_there_is_no_such_member(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"no member 3: teachers\.n_members = 3, .* are 0 to 2"):
        pipeline(folder).run_part("train", 3)


def test_overwriting_a_member_leaves_the_others(folder: Path) -> None:
    for member in range(2):
        pipeline(folder).run_part("train", member)
    paths = [folder / "run/teachers" / f"member-{k}" / "checkpoint.pt" for k in range(2)]
    before = [path.stat().st_mtime_ns for path in paths]
    pipeline(folder, Existing.OVERWRITE).run_part("train", 1)
    after = [path.stat().st_mtime_ns for path in paths]
    assert [a == b for a, b in zip(after, before, strict=True)] == [True, False]


def test_records_of_an_older_version(folder: Path) -> None:
    """Settings that did not exist then had the values that are now their defaults."""
    current = pipeline(folder).settings("train")
    unknown = ("teachers.training.keep", "teachers.training.batch_atoms")
    record = Record(folder / "stages.json")
    record.adopt("train", {k: v for k, v in current.items() if k not in unknown}, 1.0)
    defaults = {"teachers.training.keep": "last", "teachers.training.batch_atoms": None}
    found = record.differences("train", current, defaults)
    assert found == ["teachers.training.batch_atoms = None there, 100 now"]


def test_tensorboard(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboard.backend.event_processing import event_accumulator as events

    path = folder / "config.toml"
    path.write_text("tensorboard = true\n" + CONFIG)
    pipeline(folder).run_part("train", 1)
    member = folder / "run" / "teachers" / "member-1"
    history = TrainedModel.load(member / "checkpoint.pt").history
    log = events.EventAccumulator(str(member / "tensorboard"))
    log.Reload()
    found = [(event.step, event.value) for event in log.Scalars("energy_rmse/validation")]
    expected = [(record["epoch"], record["validation_energy_rmse"]) for record in history]
    assert found == [(step, pytest.approx(value, rel=1e-6)) for step, value in expected]
    assert "force_rmse/training" not in log.Tags()["scalars"]
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match="tensorboard = true, but the package does not load"):
        pipeline(folder).run(["train"])
    with pytest.raises(ConfigError, match="pip install tensorboard"):
        tensorboard.require_tensorboard()
