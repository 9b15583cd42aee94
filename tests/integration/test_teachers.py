"""A run from a configuration file with all kinds of teachers and extra configurations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ase.io
import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from ekd.cli import app
from ekd.config import load_config
from ekd.data import Dataset
from ekd.distillation import Labels, labelling
from ekd.errors import DataError, EKDError, TeacherError
from ekd.pipeline.record import Existing
from ekd.pipeline.runner import Pipeline
from untrained import teacher

CONFIG = """
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
[teachers]
n_members = 2
[teachers.training]
epochs = 2
[labels]
chunk_size = 30
n_workers = 1
structures = ["snapshots.xyz"]
[labels.perturbed]
n_copies = 1
[labels.md]
n_trajectories = 3
n_snapshots = 2
interval = 1e-3
[[labels.teachers]]
calculator = "my_springs:Mine"
arguments = {k = 0.4}
files = {path = "factor"}
[[labels.teachers]]
checkpoint = "network.pt"
name = "older network"
[student]
n_members = 2
n_workers = 1
[student.spread]
limit = 1.0
[student.training]
epochs = 2
"""

ALONE = """
[labels]
chunk_size = 30
n_workers = 1
[[labels.teachers]]
calculator = "my_springs:Mine"
arguments = {k = 0.4}
files = {path = "factor"}
"""


@pytest.fixture
def folder(tmp_path: Path, training_file: Path, test_file: Path, test_dataset: Dataset) -> Path:
    """All files that the configuration names."""
    for source, target, n in ((training_file, "train.h5", 4), (test_file, "test.h5", 1)):
        with h5py.File(source) as old, h5py.File(tmp_path / target, "w") as new:
            for name, group in old.items():
                for key, values in group.items():
                    new[f"{name}/{key}"] = values[:n] if key != "atomic_numbers" else values[:]
    (tmp_path / "my_springs.py").write_text("from calculators import Springs as Mine\n")
    (tmp_path / "factor").write_text("2.0")
    ase.io.write(tmp_path / "snapshots.xyz", [test_dataset.atoms(i) for i in range(5)])
    teacher(9).save(tmp_path / "network.pt")
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path


def run(folder: Path, *stages: str, existing: Existing = Existing.RESUME) -> Pipeline:
    pipeline = Pipeline(load_config(folder / "config.toml"), existing, progress=False)
    pipeline.run(stages)
    return pipeline


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_mixed_teachers_and_extra_configurations(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run for all checks, because training takes most of the time."""
    # Labeling is interrupted after the MD and one chunk.
    evaluate, calls = labelling._evaluate, []

    def stop(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return evaluate(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(labelling, "_evaluate", stop)
        with pytest.raises(KeyboardInterrupt):
            run(folder, "train", "label")
    assert {path.name for path in (folder / "run").glob("*.parts")} == {
        "labels.h5.parts",
        "snapshots.parts",
    }
    with pytest.raises(EKDError, match=r"labels.h5.parts' already exists; add --resume"):
        run(folder, "label", existing=Existing.REFUSE)
    pipeline = run(folder, "train", "label", "distill", "evaluate", "report")
    assert not list((folder / "run").glob("*.parts"))

    labels = Labels.load(folder / "run" / "labels.h5", pipeline.work.data)
    names = ["teacher 0", "teacher 1", "my_springs:Mine k=0.4 path=", "older network"]
    for record, name in zip(labels.teachers, names, strict=True):
        assert record.name.startswith(name)
    assert [record.use_energies for record in labels.teachers] == [True, True, False, True]
    assert labels.extra is not None
    n_training = len(pipeline.work.trained_on)
    assert len(labels.extra) == 5 + n_training + 6
    np.testing.assert_allclose(
        labels.extra.positions[:3], pipeline.work.truth.positions[:3], atol=1e-7
    )
    assert len(pipeline.work.students) == 2
    for student in pipeline.work.students.members:
        assert student.provenance["n_extra"] == len(labels.extra)
        assert "n_above_limit" in student.provenance

    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert summary["teacher_names"] == [record.name for record in labels.teachers]
    assert summary["teachers"]["energy_rmse"][2] is None
    assert all(summary["teachers"]["force_rmse"])
    assert "older network" in (folder / "run" / "report.html").read_text()

    # Labeling without interruption gives the same file.
    before = (folder / "run" / "labels.h5").read_bytes()
    run(folder, "label", existing=Existing.OVERWRITE)
    assert (folder / "run" / "labels.h5").read_bytes() == before

    # A damaged chunk is labeled again before it is used for training.
    with h5py.File(folder / "run" / "labels.h5", "r+") as file:
        file["forces"][-1] = 0.0
    with pytest.raises(DataError, match=r"1 of \d chunks .* damaged"):
        run(folder, "distill", existing=Existing.OVERWRITE)
    run(folder, "label")
    assert (folder / "run" / "labels.h5").read_bytes() == before

    # The content of a file matters, not its path.
    (folder / "factor").rename(folder / "elsewhere")
    edit(folder / "config.toml", '"factor"', '"elsewhere"')
    edit(folder / "config.toml", "n_workers = 1", "n_workers = 2")
    run(folder, "label")
    (folder / "elsewhere").write_text("2.5")
    with pytest.raises(EKDError, match=r"were made with other settings:\n  labels\.teachers"):
        run(folder, "label")
    (folder / "elsewhere").unlink()
    with pytest.raises(TeacherError, match=r"elsewhere', given in \[labels\], cannot be read"):
        run(folder, "label")


def test_calculator_alone(folder: Path) -> None:
    """Without networks, forces are from the calculator, and energies from the data."""
    text = CONFIG.replace("n_members = 2", "n_members = 0")
    begin, end = text.index("[labels]"), text.index("[student.spread]")
    (folder / "config.toml").write_text(text[:begin] + ALONE + text[end:])
    pipeline = run(folder, "train", "label", "distill", "evaluate", "report")
    labels = Labels.load(folder / "run" / "labels.h5", pipeline.work.data)
    assert labels.energies is None
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert summary["mean_teacher"]["energy_rmse"] is None
    assert summary["student"]["energy_rmse"] > 0
    assert summary["ensemble"]["force_rmse"] == summary["teachers"]["force_rmse"][0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("my_springs:Mine", "no_such_module:Mine", "'no_such_module' .* cannot be imported"),
        ("my_springs:Mine", "my_springs:Yours", "has no class or function 'Yours'"),
        ("{k = 0.4}", "{k = '0.4'}", "cannot be made with the arguments .*TypeError"),
        ('files = {path = "factor"}', 'elements = ["H"]', "data contain C, N, O, but my_springs"),
        ('"network.pt"', '"absent.pt"', r"checkpoint '.*absent\.pt' not found"),
        ('"snapshots.xyz"', '"absent.xyz"', r"structure file '.*absent\.xyz' not found"),
    ],
)
def test_teachers_are_looked_at_before_anything_is_trained(
    folder: Path, old: str, new: str, message: str
) -> None:
    edit(folder / "config.toml", old, new)
    with pytest.raises(EKDError, match=message):
        run(folder, "train", "label")
    assert not (folder / "run" / "teachers").exists()


def test_extra_structures_of_an_unknown_element(folder: Path) -> None:
    ase.io.write(folder / "snapshots.xyz", ase.Atoms("NaCl", [[0, 0, 0], [0, 0, 2.4]]))
    with pytest.raises(
        DataError, match=r"snapshots\.xyz' has Na, Cl, which the training set lacks"
    ):
        run(folder, "train", "label")


def test_command_line_says_what_is_wrong(folder: Path) -> None:
    edit(folder / "config.toml", "my_springs:Mine", "my_springs.Mine")
    runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})
    result = runner.invoke(app, ["run", str(folder / "config.toml"), "--quiet"])
    assert result.exit_code == 1
    assert "names no calculator; write 'module:Class'" in result.output
