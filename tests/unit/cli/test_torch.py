"""`ekd torch build`: its options, and the path of the library."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ekd import _native, compilation
from ekd.cli import app


def test_the_library_goes_where_it_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def build(output: Path, definitions: list[str], jobs: int = 0, tell: object = None) -> None:
        told.extend(definitions)
        library = output / "ekd" / "lib" / "libekd_torch.so"
        library.parent.mkdir(parents=True)
        library.write_text("for 2.99.1")

    monkeypatch.setattr(compilation, "build_with_cmake", build)
    (tmp_path / "lib").mkdir()
    monkeypatch.setattr(_native, "LIBRARY_DIRECTORY", tmp_path / "lib")
    monkeypatch.setattr(_native, "load_ops", lambda: None)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.99.1+cu130")
    done = CliRunner().invoke(app, ["torch", "build"])
    assert done.exit_code == 0, done.output
    assert "built for torch 2.99.1" in done.output
    assert _native.library_for_torch("2.99.1").read_text() == "for 2.99.1"
    assert {"EKD_BUILD_TORCH=ON", "EKD_BUILD_PYTHON=OFF"} <= set(told)


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    done = CliRunner().invoke(app, ["torch", "build"])
    assert done.exit_code == 1
    assert "torch is not installed; install it with 'pip install torch'" in done.output
