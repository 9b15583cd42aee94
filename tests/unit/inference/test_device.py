"""The device kernels, emulated on the host, against those of the CPU."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from ekd.errors import EKDError
from ekd.inference import ExportedModel
from models import pairs_of, random_committee, random_model
from systems import STRUCTURES
from tolerances import tolerance


def assert_same(path: Path, structure: str, dtype: str, **settings: object) -> None:
    """All results for a structure, on both devices."""
    atoms = STRUCTURES[structure]()
    expected = ExportedModel(path).evaluate_pairs(*pairs_of(atoms))
    found = ExportedModel(path, device="emulated", **settings).evaluate_pairs(*pairs_of(atoms))
    bounds = tolerance("runtime", dtype).bounds
    for field in fields(expected):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        assert (one is None) == (other is None), field.name
        if other is not None:
            np.testing.assert_allclose(one, other, **bounds, err_msg=field.name)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("n_interactions", [1, 2, 3])
@pytest.mark.parametrize("l_max", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_equals_the_cpu(
    tmp_path: Path, dtype: str, l_max: int, n_interactions: int, structure: str
) -> None:
    path = random_model(
        tmp_path / "model.pt", dtype=dtype, n_hidden=6, l_max=l_max, n_interactions=n_interactions
    )
    assert_same(path, structure, dtype)


@pytest.mark.parametrize("n_features", [1, 8, 20, 33, 64, 150])
def test_every_width(tmp_path: Path, n_features: int) -> None:
    # Widths that are no multiples of four, and more features than one slice has.
    path = random_model(
        tmp_path / "model.pt",
        l_max=2,
        n_interactions=3,
        n_features=n_features,
        n_sensitivities=19 if n_features < 100 else 5,
        n_atom_layers=1,
        zbl=True,
        n_hidden=9,
    )
    assert_same(path, "liquid", "float64")


def test_committee(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    random_committee(path, n_interactions=2, l_max=2, n_hidden=6, zbl=True)
    assert_same(path, "crystal", "float64")


def test_batch(tmp_path: Path) -> None:
    path = random_model(tmp_path / "model.pt", n_interactions=2, l_max=2)
    structures = [make() for make in STRUCTURES.values()]
    expected = ExportedModel(path).evaluate_batch(structures)
    found = ExportedModel(path, device="emulated").evaluate_batch(structures)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(
            one.forces, other.forces, **tolerance("runtime", "float64").bounds
        )


@pytest.mark.parametrize("tile", ["4x4", "16x24", "16x256"])
def test_any_tile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tile: str) -> None:
    path = random_model(tmp_path / "model.pt", l_max=2, n_interactions=2)
    monkeypatch.setenv("EKD_TILE", tile)
    assert_same(path, "liquid", "float64")


@pytest.mark.parametrize("tile", ["16", "7x64", "16x8", "8x512", "8x64x2", "99999999999x16"])
def test_a_tile_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tile: str) -> None:
    path = random_model(tmp_path / "model.pt")
    monkeypatch.setenv("EKD_TILE", tile)
    with pytest.raises(EKDError, match=f"EKD_TILE is '{tile}', expected centers x threads"):
        ExportedModel(path, device="emulated")


def test_a_tile_that_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = random_model(tmp_path / "model.pt", l_max=2)
    monkeypatch.setenv("EKD_TILE", "128x256")
    with pytest.raises(EKDError, match=r"EKD_TILE: such blocks need \d+ bytes of shared memory"):
        ExportedModel(path, device="emulated")
