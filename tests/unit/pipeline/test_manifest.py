"""The manifest of an output folder: sessions, environments, inputs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from ekd.config import Config, load_config
from ekd.errors import DataError, EKDError
from ekd.pipeline import manifest as module
from ekd.pipeline.environment import describe_environment, environment_differences
from ekd.pipeline.manifest import (
    Manifest,
    command_line,
    described_config,
    input_files,
    seeds_of,
)

CONFIG = """
seed = 10
[data]
path = "train.h5"
energy = "e"
[test]
path = "test.h5"
energy = "e"
[pool]
structures = ["one.xyz", "two.xyz"]
[pool.calculator]
calculator = "mine:Calculator"
files = { parameters = "p.dat" }
[pretraining]
n_bases = 2
[teachers]
n_members = 3
[[teachers.overrides]]
seed = 99
[[labels.teachers]]
checkpoint = "other.pt"
[student]
n_members = 2
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "config.toml").write_text(CONFIG)
    for name in ("train.h5", "test.h5", "one.xyz", "two.xyz", "mine.py", "p.dat", "other.pt"):
        (tmp_path / name).write_text(name)
    return load_config(tmp_path / "config.toml")


def finished(folder: Path, config: Config, stage: str = "label") -> Manifest:
    manifest = Manifest.load(folder / "manifest.json")
    manifest.begin(stage, resumed=False, config=config)
    (folder / "labels.h5").write_bytes(b"labels")
    manifest.finish(stage, config)
    return Manifest.load(folder / "manifest.json")


def test_input_files_are_those_that_the_configuration_names(config: Config) -> None:
    found = {key: path.name for key, path in input_files(config).items()}
    assert found == {
        "data.path": "train.h5",
        "test.path": "test.h5",
        "pool.structures.0": "one.xyz",
        "pool.structures.1": "two.xyz",
        "pool.calculator.calculator": "mine.py",
        "pool.calculator.files.parameters": "p.dat",
        "labels.teachers.0.checkpoint": "other.pt",
    }


def test_settings_have_no_folders(config: Config, tmp_path: Path) -> None:
    described = described_config(config)
    assert "output" not in described
    assert described["pool"]["calculator"]["files"] == {"parameters": "p.dat"}
    assert "folder" not in described["pool"]["calculator"]
    assert tmp_path.name not in str(described)


def test_inputs_are_those_of_the_stage(config: Config, tmp_path: Path) -> None:
    manifest = finished(tmp_path, config)
    inputs = manifest.stages["label"]["inputs"]
    assert "labels.teachers.0.checkpoint" in inputs
    assert "test.path" not in inputs
    assert list(manifest.stages["label"]["results"]) == ["labels.h5"]


def test_seeds(config: Config) -> None:
    assert seeds_of(config) == {
        "seed": 10,
        "split": 0,
        "bases": [10, 11],
        "teachers": [99, 11, 12],
        "students": [13, 14],
    }


def test_sessions_in_other_environments_are_kept(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = describe_environment()
    manifest = finished(tmp_path, config)
    manifest.begin("label", resumed=True, config=config)
    assert len(manifest.stages["label"]["sessions"]) == 1, "the same once more"
    assert manifest.complete == []
    elsewhere = {**here, "instruction_set": "another"}
    monkeypatch.setattr(module, "describe_environment", lambda: elsewhere)
    manifest.begin("label", resumed=True, config=config)
    manifest.finish("label", config)
    manifest = Manifest.load(tmp_path / "manifest.json")
    assert manifest.environments_of("label") == [here, elsewhere]
    manifest.begin("label", resumed=False, config=config)
    assert manifest.environments == [elsewhere]
    manifest.forget("label")
    assert json.loads((tmp_path / "manifest.json").read_text())["environments"] == []


def test_environment_differences_are_named() -> None:
    here = describe_environment()
    assert environment_differences(here, here) == []
    packages = {**here["packages"], "numpy": "1.0", "torch": None}
    there = {**here, "packages": packages, "variables": {"EKD_SIMD": "avx2"}, "threads": 64}
    found = {name: (before, now) for name, before, now in environment_differences(there, here)}
    assert found["numpy"] == ("1.0", here["packages"]["numpy"])
    assert found["torch"] == ("none", here["packages"]["torch"])
    assert found["EKD_SIMD"][0] == "avx2"
    assert found["threads"] == ("64", str(here["threads"]))


def test_command_lines_have_no_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["/x/ekd/__main__.py", "run", "/home/someone/c.toml", "--output=/home/someone/run"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert command_line() == ["ekd", "run", "c.toml", "--output=run"]


@pytest.mark.parametrize("text", ["{", "[]", '{"stages": {}}', '{"format": 1, "other": 2}'])
def test_damaged_manifest_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(
        EKDError, match=r"manifest.json' is damaged .*remove it to continue.*EKD-RUN-014"
    ):
        Manifest.load(tmp_path / "manifest.json")


def test_manifest_of_the_future_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(EKDError, match=r"format 99, expected 1; use the version .*EKD-RUN-015"):
        Manifest.load(tmp_path / "manifest.json")


def test_missing_input_is_named(config: Config, tmp_path: Path) -> None:
    (tmp_path / "other.pt").unlink()
    with pytest.raises(DataError, match=r"other.pt' cannot be read: .*check the path"):
        finished(tmp_path, config)
