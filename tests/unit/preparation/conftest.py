"""Skips the picture, which is slow to draw and which most tests do not use."""

from __future__ import annotations

from pathlib import Path

import pytest

from ekd.preparation import data_plot


@pytest.fixture
def drawn() -> None:
    """Requested by tests that need the picture."""


@pytest.fixture(autouse=True)
def _not_drawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "drawn" not in request.fixturenames:

        def draw(analysis: object, min_distance: float, title: str, path: Path) -> None:
            path.write_bytes(b"no picture")

        monkeypatch.setattr(data_plot, "draw", draw)
