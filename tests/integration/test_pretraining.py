"""Runs with a pool and with bases: starting points, resuming and errors."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ekd.cli import app
from ekd.config import load_config
from ekd.distillation import Labels, load_students
from ekd.errors import CheckpointError, ConfigError, DataError, EKDError
from ekd.pipeline.order import STAGES
from ekd.pipeline.record import Existing, Record
from ekd.pipeline.runner import Pipeline
from ekd.pool import Pool, pool_plot
from ekd.training import TrainedModel, load_ensemble

MODELS = ("pool", "pretrain", "train", "label", "distill")

WITHOUT = """
[data]
path = "train.h5"
energy = "ccsd(t)_ccpvdz.energy"
[model]
n_features = 6
n_sensitivities = 5
n_atom_layers = 1
cutoff = 4.0
soft_max = 3.0
[teachers]
n_members = 3
n_workers = 1
[teachers.training]
epochs = 2
[labels]
n_workers = 1
[student.training]
epochs = 2
[student.uncertainty]
n_steps = 10
"""

POOL = """
[pool]
molecules = ["H2O", "NH3", "CH3OH"]
n_from_data = 5
n_rattled = 3
n_stretched = 2
n_clusters = 4
temperatures = [300.0]
n_snapshots = 2
interval = 0.004
n_workers = 1
[pool.calculator]
calculator = "pool_springs:Mine"
"""

BASES = """
[pretraining]
n_bases = 1
validation_fraction = 0.2
[pretraining.training]
epochs = 2
batch_size = 8
"""

DATA = """
[pretraining.data]
path = "cheap.h5"
energy = "ccsd(t)_ccpvdz.energy"
forces = "ccsd(t)_ccpvdz.forces"
"""

TWO_BASES = BASES.replace("n_bases = 1", "n_bases = 2")


def fill(folder: Path, training_file: Path, test_file: Path, text: str) -> Path:
    """Write the files used in configurations, and a configuration, to a folder."""
    shutil.copy(training_file, folder / "train.h5")
    shutil.copy(test_file, folder / "cheap.h5")
    (folder / "pool_springs.py").write_text("from pool_calculators import PairSprings as Mine\n")
    (folder / "config.toml").write_text(text)
    return folder


@pytest.fixture
def folder(tmp_path: Path, tiny_training_file: Path, test_file: Path) -> Path:
    return fill(tmp_path, tiny_training_file, test_file, WITHOUT)


def pipeline(folder: Path, text: str | None = None) -> Pipeline:
    """Pipeline of a configuration, which may be a new one; existing results are kept."""
    if text is not None:
        (folder / "config.toml").write_text(text)
    return Pipeline(load_config(folder / "config.toml"), Existing.RESUME, progress=False)


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, tiny_training_file: Path, test_file: Path
) -> Path:
    """Folder of a run with a pool, two bases and three teachers, continued after each stage."""
    folder = tmp_path_factory.mktemp("pretraining")
    fill(folder, tiny_training_file, test_file, WITHOUT + POOL + TWO_BASES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool_plot, "draw", lambda *arguments: arguments[-1].write_bytes(b"none"))
        for n in range(1, len(MODELS) + 1):
            pipeline(folder).run(MODELS[:n])
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of that run, to change."""
    return shutil.copytree(finished, tmp_path / "copy")


ANEW = ("config.resolved.toml", "manifest.json", "stages.json")


def change_times(folder: Path) -> dict[Path, int]:
    """Times of result files; settings and record are rewritten by every command."""
    results = set((folder / "run").rglob("*.*"))
    results -= {folder / "run" / name for name in ANEW}
    return {path: path.stat().st_mtime_ns for path in results}


def test_each_starts_from_a_base(finished: Path) -> None:
    run = finished / "run"
    bases = load_ensemble(run / "bases").members
    assert len(bases) == 2
    assert bases[0].sha256 != bases[1].sha256
    pool = Pool.load(run / "pool.h5").data
    assert bases[0].provenance["data"]["fingerprint"] == pool.fingerprint
    assert bases[0].history[-1]["force_rmse"] > 0
    teachers = load_ensemble(run / "teachers").members
    starts = [model.provenance["start"] for model in teachers]
    assert starts == [bases[k].sha256 for k in (0, 1, 0)]
    (student,) = load_students(run).members
    assert student.provenance["start"] == bases[0].sha256
    assert (run / "bases" / "learning_curves.png").exists()


def test_the_pool_is_labelled(finished: Path) -> None:
    """Configurations that are also in the data are excluded, because they are labeled there."""
    pool = Pool.load(finished / "run" / "pool.h5").data
    labels = Labels.load(finished / "run" / "labels.h5")
    assert labels.extra is not None
    new = pool.subset(pool.groups != "data")
    assert 0 < len(new) < len(pool)
    np.testing.assert_array_equal(labels.extra.positions, new.positions)
    assert np.isnan(labels.extra.energies).all()
    (student,) = load_students(finished / "run").members
    assert student.provenance["n_extra"] == len(new)


def test_complete_stages_are_kept(finished: Path) -> None:
    before = change_times(finished)
    pipeline(finished).run(MODELS)
    assert change_times(finished) == before


def test_another_pool_is_another_run(copied: Path) -> None:
    text = (copied / "config.toml").read_text().replace("n_rattled = 3", "n_rattled = 4")
    for stage in MODELS:
        with pytest.raises(EKDError, match=r"'pool' in .*:\n  pool\.n_rattled = 3 there, 4 now\n"):
            pipeline(copied, text).run([stage])
    text = text.replace("n_rattled = 4", "n_rattled = 3\nchunk_size = 7").replace(
        "n_workers = 1\n[pool.calculator]", "n_workers = 2\n[pool.calculator]"
    )
    pipeline(copied, text).run(MODELS)


def test_other_bases_need_no_other_pool(copied: Path) -> None:
    text = (copied / "config.toml").read_text().replace("n_bases = 2", "n_bases = 1")
    pipeline(copied, text).run(["pool"])
    with pytest.raises(EKDError, match=r"'pretrain' .*\n  pretraining\.n_bases = 2 there, 1 now"):
        pipeline(copied, text).run(["train"])


def test_a_teacher_alone_needs_bases(copied: Path) -> None:
    """The teacher is trained as a job of a job array."""
    shutil.rmtree(copied / "run" / "teachers" / "member-1")
    pipeline(copied).run_part("train", 1)
    bases = load_ensemble(copied / "run" / "bases").members
    again = load_ensemble(copied / "run" / "teachers").members[1]
    assert again.provenance["start"] == bases[1].sha256
    changed = (copied / "config.toml").read_text().replace("n_bases = 2", "n_bases = 1")
    with pytest.raises(EKDError, match="n_bases = 2 there, 1 now"):
        pipeline(copied, changed).run_part("train", 1)
    shutil.rmtree(copied / "run")
    with pytest.raises(EKDError, match=r"'train' needs the results of 'pool'.*run 'ekd pool'"):
        pipeline(copied).run_part("train", 1)


@pytest.mark.parametrize(("stage", "section"), [("pool", "pool"), ("pretrain", "pretraining")])
def test_stages_without_their_section(folder: Path, stage: str, section: str) -> None:
    runner = CliRunner(env={"COLUMNS": "300", "TERM": "dumb", "NO_COLOR": "1"})
    result = runner.invoke(app, [stage, str(folder / "config.toml")])
    assert result.exit_code == 1
    assert f"'{stage}' needs a section [{section}], which the configuration lacks" in result.output
    assert not (folder / "run").exists()


def test_records_from_before_there_were_pools(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such runs lack the sections, whose defaults describe the old behavior."""
    now = pipeline(folder)
    now.run(["train"])
    record = json.loads((folder / "run" / "stages.json").read_text())
    assert set(record) == {"train"}
    new = ("pool", "pretraining", "far", "labels.pool", "student.from_base")
    removed = [key for key in record["train"]["settings"] if key in new]
    assert removed == ["pretraining"]
    for key in removed:
        record["train"]["settings"].pop(key)
    (folder / "run" / "stages.json").write_text(json.dumps(record))
    pipeline(folder).run(["train"])
    before = change_times(folder)
    old = Record.load(folder / "run" / "stages.json")
    for stage in STAGES[STAGES.index("label") :]:
        settings = now.settings(stage)
        assert {"pool", "pretraining"} <= set(settings)
        old.adopt(stage, {k: v for k, v in settings.items() if k not in new}, 1.0)
    for stage in STAGES[STAGES.index("label") :]:
        assert pipeline(folder).setting_differences(stage) == []
    # A pool changes the labels, but teachers are kept.
    with_pool = pipeline(folder, WITHOUT + POOL)
    with_pool.run(["train"])
    assert change_times(folder) == before
    with pytest.raises(EKDError, match=r"'label' needs the results of 'pool'.*run 'ekd pool'"):
        with_pool.run(["label"])
    monkeypatch.setattr(pool_plot, "draw", lambda *arguments: arguments[-1].write_bytes(b"none"))
    with_pool.run(["pool", "label"])
    assert change_times(folder).items() > before.items()
    labels = Labels.load(folder / "run" / "labels.h5")
    assert labels.extra is not None
    assert set(labels.extra.groups) == {"molecule", "rattled", "stretched", "cluster", "md"}


def test_a_data_set_instead_of_a_pool(folder: Path) -> None:
    pipeline(folder, WITHOUT + BASES + DATA).run(["pretrain", "train"])
    (base,) = load_ensemble(folder / "run" / "bases").members
    assert base.provenance["data"]["path"] == str(folder / "cheap.h5")
    teachers = load_ensemble(folder / "run" / "teachers").members
    assert {model.provenance["start"] for model in teachers} == {base.sha256}
    # The content of the file matters, not its path.
    (folder / "cheap.h5").rename(folder / "elsewhere.h5")
    text = WITHOUT + BASES + DATA.replace("cheap", "elsewhere")
    pipeline(folder, text).run(["pretrain", "train"])
    with h5py.File(folder / "elsewhere.h5", "r+") as file:
        file["H2O/ccsd(t)_ccpvdz.energy"][0] += 1.0
    with pytest.raises(EKDError, match=r"other settings:\n  pretraining\.data\.fingerprint = "):
        pipeline(folder, text).run(["train"])


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            "".join(line for line in DATA.splitlines(keepends=True) if "forces" not in line),
            r"cheap\.h5' has no forces to pretrain on; name their key in \[pretraining\.data\]",
        ),
        (
            DATA.replace("cheap", "water"),
            r"the training set has C, N, which the data set of \[pretraining\.data\] lacks",
        ),
    ],
)
def test_data_sets_that_cannot_be_pretrained_on(folder: Path, section: str, message: str) -> None:
    with h5py.File(folder / "cheap.h5") as old, h5py.File(folder / "water.h5", "w") as new:
        old.copy("H2O", new)
    with pytest.raises(DataError, match=message):
        pipeline(folder, WITHOUT + BASES + section).run(MODELS)
    assert not (folder / "run").exists()


def test_pool_that_lacks_an_element(folder: Path) -> None:
    """The error occurs when the pool exists, before any training on it."""
    text = WITHOUT + POOL.replace("n_from_data = 5", "n_from_data = 0") + BASES
    text = re.sub(r"molecules = .*", 'molecules = ["H2O"]', text)
    with pytest.raises(DataError, match=r"the training set has C, N, which the pool lacks"):
        pipeline(folder, text).run(MODELS)
    assert not (folder / "run" / "bases").exists()


def test_a_finished_network_instead_of_a_pool(folder: Path, finished: Path) -> None:
    source = finished / "run" / "student" / "checkpoint.pt"
    shutil.copy(source, folder / "finished.pt")
    text = WITHOUT + '[pretraining]\ncheckpoint = "finished.pt"\n'
    pipeline(folder, text).run(["pretrain", "train"])
    expected = TrainedModel.load(source).sha256
    teachers = load_ensemble(folder / "run" / "teachers").members
    assert {model.provenance["start"] for model in teachers} == {expected}
    before = change_times(folder)
    (folder / "finished.pt").rename(folder / "moved.pt")
    pipeline(folder, text.replace("finished.pt", "moved.pt")).run(["pretrain", "train"])
    assert change_times(folder) == before
    shutil.rmtree(folder / "run")
    with pytest.raises(CheckpointError, match=r"finished\.pt' not found"):
        pipeline(folder, text).run(["pretrain"])
    other = text.replace("n_features = 6", "n_features = 7").replace("finished.pt", "moved.pt")
    with pytest.raises(ConfigError, match=r"n_features = 7, not 6; give both the same \[model\]"):
        pipeline(folder, other).run(["pretrain"])
    assert not (folder / "run").exists()


def test_bases_that_start_from_a_finished_network(folder: Path, finished: Path) -> None:
    source = finished / "run" / "student" / "checkpoint.pt"
    shutil.copy(source, folder / "finished.pt")
    both = TWO_BASES.replace("n_bases", 'checkpoint = "finished.pt"\nn_bases') + DATA
    pipeline(folder, WITHOUT + both).run(["pretrain", "train"])
    expected = TrainedModel.load(source).sha256
    bases = load_ensemble(folder / "run" / "bases").members
    assert [model.provenance["start"] for model in bases] == [expected] * 2
    assert len({expected, *(model.sha256 for model in bases)}) == 3
    teachers = load_ensemble(folder / "run" / "teachers").members
    assert {model.provenance["start"] for model in teachers} == {m.sha256 for m in bases}


def test_bases_learn_the_pool_and_then_a_data_set(folder: Path) -> None:
    text = WITHOUT + POOL + TWO_BASES + "[pretraining.second_step]\nepochs = 3\n" + DATA
    pipeline(folder, text).run(["pool", "pretrain", "train"])
    first = load_ensemble(folder / "run" / "bases" / "pool").members
    second = load_ensemble(folder / "run" / "bases").members
    assert [len(model.history) for model in (*first, *second)] == [2, 2, 3, 3]
    for place in ("bases", "bases/pool"):
        assert (folder / "run" / place / "learning_curves.png").stat().st_size > 10_000
    assert [model.provenance["start"] for model in second] == [model.sha256 for model in first]
    teachers = load_ensemble(folder / "run" / "teachers").members
    assert {model.provenance["start"] for model in teachers} == {m.sha256 for m in second}
    before = change_times(folder)
    pipeline(folder, text).run(["pool", "pretrain", "train"])
    assert change_times(folder) == before
    # Without the first step, the pool is only labeled.
    text = text.replace("n_bases = 2", "n_bases = 2\npool = false")
    shutil.rmtree(folder / "run")
    pipeline(folder, text).run(["pretrain"])
    assert not (folder / "run" / "bases" / "pool").exists()
    (alone, _) = load_ensemble(folder / "run" / "bases").members
    assert alone.provenance.get("start") is None
    assert len(alone.history) == 2


def test_pool_that_lacks_an_element_of_the_data_set(folder: Path) -> None:
    pool = POOL.replace("n_from_data = 5", "n_from_data = 0")
    pool = re.sub(r"molecules = .*", 'molecules = ["H2O", "CH3OH"]', pool)
    with h5py.File(folder / "train.h5") as old, h5py.File(folder / "few.h5", "w") as new:
        for system in old:
            if "N" not in system:
                old.copy(system, new)
    text = WITHOUT.replace("train.h5", "few.h5") + pool + BASES + DATA
    message = r"the data set of \[pretraining\.data\] has N, which the pool lacks"
    with pytest.raises(DataError, match=message):
        pipeline(folder, text).run(["pool", "pretrain"])
    assert not (folder / "run" / "bases").exists()


def test_kill_leaves_no_trace(folder: Path) -> None:
    """After a kill at any time, the same command continues, with the same resulting bases."""
    each_step = "epochs = 6\ncheckpoint_minutes = 1e-9"
    (folder / "config.toml").write_text(
        WITHOUT + BASES.replace("epochs = 2", each_step) + DATA.replace("cheap", "few")
    )
    with h5py.File(folder / "cheap.h5") as old, h5py.File(folder / "few.h5", "w") as new:
        for system in ("H2CO", "HCN", "CH3OH"):
            old.copy(system, new)
    script = Path(__file__).parents[1] / "kills.py"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), "config.toml", "20261125", "4", "outcome.json"]
    done = subprocess.run(
        [*command, "pretrain"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    outcome = json.loads((folder / "outcome.json").read_text())["pretrain"]
    assert outcome["timer"] + outcome["file"] == 4
    names = {}
    for way in ("whole", "killed"):
        root = folder / f"pretrain-{way}"
        assert json.loads((root / "stages.json").read_text())["pretrain"]["complete"]
        names[way] = {p.relative_to(root) for p in root.rglob("*") if p.name[0] != "."}
    assert names["whole"] == names["killed"]
    whole, killed = (
        torch.load(
            folder / f"pretrain-{way}" / "bases" / "member-0" / "checkpoint.pt", weights_only=True
        )
        for way in ("whole", "killed")
    )
    for name, tensor in whole["model"].items():
        assert torch.equal(tensor, killed["model"][name]), name
    assert [r["loss"] for r in whole["history"]] == [r["loss"] for r in killed["history"]]
