"""On-policy rounds of the pipeline: output files, and their use in later stages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ekd.config import load_config
from ekd.distillation import load_students
from ekd.pipeline.record import Existing
from ekd.pipeline.runner import Pipeline

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
n_members = 2
[teachers.training]
epochs = 2
[student]
n_members = {n_members}
[student.training]
epochs = 2
[student.uncertainty]
n_steps = 10
[student.on_policy]
n_rounds = 1
n_trajectories = 5
n_snapshots = 2
interval = 0.002
max_spread = 100.0
epochs = 1
"""


@pytest.mark.parametrize("n_members", [1, 2])
def test_rounds_of_the_pipeline(
    n_members: int,
    tiny_training_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(tiny_training_file, tmp_path)
    (tmp_path / "config.toml").write_text(CONFIG.format(n_members=n_members))
    config = load_config(tmp_path / "config.toml")
    Pipeline(config).run(["train", "label", "distill", "export"])
    assert "round 1: 5 trajectories" in capsys.readouterr().err
    folder = config.output / "student"
    students, first = load_students(folder).members, load_students(folder / "rounds" / "0").members
    assert len(students) == len(first) == n_members
    for before, after in zip(first, students, strict=True):
        assert after.provenance["start"] == before.sha256
        assert len(before.history) == 2
        assert len(after.history) == 1
    assert (folder / "rounds" / "1" / "labels.h5").exists()
    assert (config.output / "student.pt").exists()
    told = json.loads((folder / "summary.json").read_text())["members"][0]["on_policy"]
    assert [record["n_frames"] for record in told] == [10]
    # Without its record, the stage runs again with the existing files, and changes nothing.
    pipeline = Pipeline(config, Existing.RESUME, progress=False)
    pipeline.record.forget("distill")
    pipeline.run(["distill"])
    again = load_students(folder).members
    assert [model.sha256 for model in again] == [model.sha256 for model in students]
    assert [model.provenance for model in again] == [model.provenance for model in students]
