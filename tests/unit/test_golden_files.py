"""Files of all previous formats can be read: prepared data, and a run with all stages.

They are in tests/golden, with their scripts. Checkpoints and exported files have other tests.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ekd import load_dataset
from ekd.config import load_config
from ekd.data import prepared
from ekd.distillation import Labels, label_file
from ekd.errors import EKDError
from ekd.pipeline import manifest as manifest_file
from ekd.pipeline.manifest import Manifest
from ekd.pipeline.record import Existing
from ekd.pipeline.runner import Pipeline
from ekd.pool import Pool

GOLDEN = Path(__file__).parents[1] / "golden"
EXPECTED = json.loads((GOLDEN / "files.json").read_text())
MADE = ["pool", "pretrain", "train", "label", "distill"]
"""Stages whose results are in the golden run; the record has two more."""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A copy of the golden run, including the module of its calculator."""
    shutil.copytree(GOLDEN / "run-1", tmp_path / "run-1")
    shutil.copy(GOLDEN.parent / "pool_calculators.py", tmp_path / "run-1")
    return tmp_path / "run-1"


def test_every_format_has_a_file() -> None:
    """A change of a format needs a golden file of the new one."""
    assert prepared.FORMAT == 2
    assert label_file.FORMAT == 2
    assert manifest_file.FORMAT == 1


@pytest.mark.parametrize("version", [1, 2])
def test_prepared_files(version: int) -> None:
    path = GOLDEN / f"prepared-{version}.h5"
    expected = EXPECTED[path.name]
    assert prepared.read_header(path).unpacked == (version == 2)
    data = load_dataset(path)
    assert data.fingerprint == expected["fingerprint"]
    assert len(data) == expected["n_configs"]
    found = data.reference_energies and {str(z): e for z, e in data.reference_energies.items()}
    assert found == expected["reference_energies"]
    assert data.forces is not None
    np.testing.assert_array_equal(data.forces[:3], expected["forces"])


def test_labels() -> None:
    path, expected = GOLDEN / "run-1" / "run" / "labels.h5", EXPECTED["labels.h5"]
    labels = Labels.load(path, load_dataset(GOLDEN / "run-1" / "train.h5"))
    assert labels.energies is not None
    assert labels.extra is not None
    assert labels.wall is not None
    np.testing.assert_array_equal(labels.energies[:3], expected["energies"])
    np.testing.assert_array_equal(labels.forces[:3], expected["forces"])
    assert len(labels.extra) == expected["n_extra"]
    assert [list(teacher.identity) for teacher in labels.teachers] == expected["teachers"]


def test_pool() -> None:
    pool, expected = Pool.load(GOLDEN / "run-1" / "run" / "pool.h5"), EXPECTED["pool.h5"]
    assert pool.summary.fingerprint == expected["fingerprint"]
    assert pool.data.fingerprint == expected["fingerprint"]
    assert len(pool.data) == expected["n_configs"] == pool.summary.n_configs
    assert pool.data.forces is not None
    np.testing.assert_array_equal(pool.data.forces[:3], expected["forces"])


def test_finished_stages_of_a_run_are_kept(run: Path) -> None:
    """Settings that were added since have their defaults."""
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    pipeline = Pipeline(load_config(run / "config.toml"), Existing.RESUME, progress=False)
    for stage in [*MADE, "evaluate", "export"]:
        assert pipeline.record.is_complete(stage)
        assert pipeline.setting_differences(stage) == [], stage
    pipeline.run(MADE)
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert {path.name for path in after if after[path] != before.get(path)} == {
        "config.resolved.toml"
    }
    assert len(pipeline.work.members) == 2
    assert pipeline.work.students.members[0].model.uncertainty_head is not None


def test_default_that_has_changed_is_named(run: Path) -> None:
    """The run has one base, which was the default until version 0.1.0."""
    config = run / "config.toml"
    config.write_text(config.read_text().replace("n_bases = 1\n", ""))
    pipeline = Pipeline(load_config(config), Existing.RESUME, progress=False)
    with pytest.raises(EKDError, match=r"pretraining\.n_bases = 1 there, 2 now"):
        pipeline.run(MADE)


def test_manifest_of_a_run(run: Path) -> None:
    manifest = Manifest.load(run / "run" / "manifest.json")
    assert manifest.complete == [*MADE, "evaluate", "export"]
    assert set(manifest.inputs) == {"data.path", "test.path", "pool.calculator.calculator"}
    assert manifest.seeds["teachers"] == [0, 1]
    (environment,) = manifest.environments_of("train")
    assert {"ekd", "python", "packages", "processor", "threads"} <= set(environment)
