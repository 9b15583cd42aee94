"""The files of the quickstart that are installed with ekd."""

from __future__ import annotations

from pathlib import Path

import pytest

import ekd
from ekd.config import load_config
from ekd.pipeline.manifest import input_files

INSTALLED = Path(ekd.__file__).parent / "quickstart"


@pytest.mark.skipif(not INSTALLED.exists(), reason="ekd is not installed: this is its source")
def test_data_of_the_configuration_are_installed_and_no_others() -> None:
    config = load_config(INSTALLED / "quickstart.toml")
    needed = {path.name for path in input_files(config).values() if path.suffix == ".h5"}
    assert needed == {path.name for path in (INSTALLED / "data").iterdir()}
