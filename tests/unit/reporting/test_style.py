"""Plots on disk: PNG, and PDF and SVG on request."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ekd.reporting.style import save_all, styled_axes


def cloud(n: int) -> Figure:
    with styled_axes(1, 1, (3, 3)) as (figure, (axis,)):
        axis.scatter(*np.random.default_rng(0).random((2, n)))
    return figure


def test_earlier_plots_are_removed(tmp_path: Path) -> None:
    written = save_all({"a": cloud(10), "b": cloud(10)}, tmp_path, vector=True)
    assert written == {"a": tmp_path / "a.png", "b": tmp_path / "b.png"}
    names = {f"{name}.{suffix}" for name in "ab" for suffix in ("png", "pdf", "svg")}
    assert {path.name for path in tmp_path.iterdir()} == names
    (tmp_path / "notes.txt").touch()
    save_all({"a": cloud(10)}, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "notes.txt"}


def test_vector_files_are_repeated_bit_by_bit_and_stay_small(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        save_all({"few": cloud(50), "many": cloud(100_000)}, tmp_path / folder, vector=True)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name
    assert "<image" not in (tmp_path / "one" / "few.svg").read_text()
    assert "<image" in (tmp_path / "one" / "many.svg").read_text()
    for suffix in ("svg", "pdf"):
        assert (tmp_path / "one" / f"many.{suffix}").stat().st_size < 500_000
    assert (tmp_path / "one" / "few.pdf").read_bytes().startswith(b"%PDF-")
