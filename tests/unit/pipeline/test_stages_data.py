"""What the pipeline makes of the section [data]."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ekd.config import validate_config
from ekd.pipeline.stages import Pipeline
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
    assert not read.data.is_mapped
    assert streamed.data.is_mapped
    assert raw.data.fingerprint == read.data.fingerprint == streamed.data.fingerprint
    # Where the arrays are does not matter to what was trained on them.
    assert read.settings("train") == streamed.settings("train")
