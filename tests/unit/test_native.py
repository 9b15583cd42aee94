"""ekd's libraries are built for one torch version; others are refused before they can crash."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import ekd
from ekd import _native
from ekd.errors import BuildError


def test_local_versions_are_the_same_torch() -> None:
    built_for = _native.build_info().TORCH_VERSION
    assert _native.torch_library(f"{built_for}+cpu") == _native.torch_library(built_for)


def test_another_torch_is_refused_with_the_mend() -> None:
    with pytest.raises(BuildError) as caught:
        _native.torch_library("2.12.1+cu130")
    built_for = _native.build_info().TORCH_VERSION
    for part in ("2.12.1", "ekd torch build", f"pip install torch=={built_for}"):
        assert part in str(caught.value)


def test_another_torch_takes_the_library_that_was_built_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_native, "LIBRARY_DIRECTORY", tmp_path)
    library = _native.library_for_torch("2.12.1")
    library.parent.mkdir()
    library.touch()
    assert _native.torch_library("2.12.1+cu130") == library


def test_missing_build_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("ekd._build", raising=False)
    monkeypatch.setitem(sys.modules, "ekd._build", None)
    with pytest.raises(BuildError, match="pip install"):
        _native.build_info()


def test_version_comes_from_the_build() -> None:
    assert ekd.__version__ == _native.build_info().EKD_VERSION


def test_import_is_light() -> None:
    """`import ekd` and the entry point called by LAMMPS at every start do not import torch."""
    code = (
        "import sys, ekd, ekd.lammps.plugin; ekd.lammps.plugin.directory(); "
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_public_names_exist() -> None:
    for name in ekd.__all__:
        assert getattr(ekd, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ekd.nothing
