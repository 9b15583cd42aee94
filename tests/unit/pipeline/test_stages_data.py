"""Use of the section [data] in the pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ekd.config import validate_config
from ekd.errors import DataError
from ekd.pipeline.runner import Pipeline
from ekd.preparation import prepare_dataset


def pipeline(folder: Path, **data: Any) -> Pipeline:
    """A pipeline that has run nothing."""
    return Pipeline(validate_config({"output": "run", "data": data}, base=folder), progress=False)


def test_prepared_data_need_no_keys(training_file: Path, tmp_path: Path) -> None:
    key = "ccsd(t)_ccpvdz.energy"
    prepare_dataset(training_file, tmp_path / "data.h5", key, progress=False)
    raw = pipeline(tmp_path, path=str(training_file), energy=key)
    read = pipeline(tmp_path, path="data.h5")
    streamed = pipeline(tmp_path, path="data.h5", stream=True)
    assert not read.work.data.is_mapped
    assert streamed.work.data.is_mapped
    assert raw.work.data.fingerprint == read.work.data.fingerprint == streamed.work.data.fingerprint
    # Models do not depend on whether the arrays are in memory or on disk.
    assert read.settings("train") == streamed.settings("train")


def test_reference_energies_are_settings(training_file: Path, tmp_path: Path) -> None:
    """Given energies are used for the data, and results made with others are not kept."""
    section = {"path": str(training_file), "energy": "ccsd(t)_ccpvdz.energy"}
    atoms = {"H": -13.6, "C": -1029.8, "N": -1485.3, "O": -2041.8}
    fitted = pipeline(tmp_path, **section)
    given = pipeline(tmp_path, **section, reference_energies=atoms)
    assert given.work.data.reference_energies == {1: -13.6, 6: -1029.8, 7: -1485.3, 8: -2041.8}
    changed = given.settings("train").items() ^ fitted.settings("train").items()
    assert {key for key, _ in changed} == {f"data.reference_energies.{name}" for name in atoms}
    with pytest.raises(DataError, match="energies of H, and none of C, N, O"):
        pipeline(tmp_path, **section, reference_energies={"H": -13.6}).work.data  # noqa: B018
