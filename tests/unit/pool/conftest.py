"""A small, cheap pool: molecules of C, H and O, and springs as the calculator."""

from __future__ import annotations

from typing import Any

import pytest

from ekd.config import PoolConfig
from ekd.pool import pool_plot


@pytest.fixture
def small() -> dict[str, Any]:
    """Settings of a pool with about sixty geometries."""
    return {
        "calculator": {"calculator": "pool_calculators:PairSprings"},
        "molecules": ["H2O", "CH3OH", "C2H4"],
        "n_from_data": 3,
        "n_rattled": 4,
        "temperatures": [300.0, 900.0],
        "n_snapshots": 2,
        "interval": 0.004,
        "n_stretched": 3,
        "n_clusters": 8,
        "chunk_size": 7,
        "n_workers": 1,
    }


@pytest.fixture
def config(small: dict[str, Any]) -> PoolConfig:
    return PoolConfig(**small)


@pytest.fixture
def with_picture() -> None:
    """Requested by tests that need the picture."""


@pytest.fixture(autouse=True)
def no_picture(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip drawing, which takes longer than the rest of a test."""
    if "with_picture" not in request.fixturenames:
        monkeypatch.setattr(
            pool_plot, "draw", lambda *arguments: arguments[-1].write_bytes(b"none")
        )
