"""Models and a structure for the tests of the C interface."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models import (
    ELEMENTS,
    random_committee,
    random_model,
)
from structures import random_structure


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def local(folder: Path) -> Path:
    """A model with one interaction and all optional parts of a file."""
    return random_model(folder / "local.pt", n_interactions=1, n_hidden=4, zbl=True)


@pytest.fixture(scope="module")
def several(folder: Path) -> Path:
    """A model with two interactions and no optional parts."""
    return random_model(folder / "several.pt", n_interactions=2)


@pytest.fixture(scope="module")
def committee(folder: Path) -> Path:
    random_committee(folder / "committee.pt", n_interactions=2, n_hidden=4)
    return folder / "committee.pt"


@pytest.fixture(scope="module")
def crystal() -> tuple[np.ndarray, np.ndarray]:
    """Atomic numbers and positions of 14 atoms in a periodic cell."""
    positions = random_structure(14, seed=5, size=5.5)
    return np.resize(ELEMENTS, 14), positions
