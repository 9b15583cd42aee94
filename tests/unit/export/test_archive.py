"""An exported file does not contain folders of the machine that wrote it."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
import torch

import ekd
from ekd.config import TrainingConfig
from ekd.data import load_dataset
from ekd.export.archive import without_folders
from ekd.inference import ExportedModel, read_metadata, run_self_test
from trainings import run


@pytest.mark.parametrize("portable", [False, True])
def test_no_record_holds_a_path(tiny_training_file: Path, tmp_path: Path, portable: bool) -> None:
    shutil.copy(tiny_training_file, tmp_path / "private.h5")
    data = load_dataset(tmp_path / "private.h5", energy="ccsd(t)_ccpvdz.energy")
    trained = run(data, training=TrainingConfig(epochs=1))
    assert trained.provenance["data"]["path"] == str(tmp_path / "private.h5")
    trained.export(tmp_path / "student.pt", portable=portable)
    folders = [tmp_path, Path(ekd.__file__).parent, Path(torch.__file__).parent, Path.home()]
    with zipfile.ZipFile(tmp_path / "student.pt") as archive:
        for name in archive.namelist():
            content = archive.read(name)
            assert [f for f in folders if f"{f}/".encode() in content] == [], name
    metadata = read_metadata(tmp_path / "student.pt")
    assert metadata.provenance[0]["data"]["path"] == "private.h5"
    assert metadata.provenance[0]["data"]["sha256"] == data.provenance.sha256
    assert run_self_test(ExportedModel(tmp_path / "student.pt")).passed


def test_file_names_stay() -> None:
    found = {
        "data": {"path": "../elsewhere/train.h5", "level_of_theory": "CCSD(T)/cc-pVDZ"},
        "files": ["/home/someone/model.pt", "relative/model.pt"],
        "seed": 1,
        "labels_sha256": None,
    }
    assert without_folders(found) == {
        "data": {"path": "train.h5", "level_of_theory": "CCSD(T)/cc-pVDZ"},
        "files": ["model.pt", "relative/model.pt"],
        "seed": 1,
        "labels_sha256": None,
    }
