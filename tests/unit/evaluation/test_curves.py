"""Scans: coordinates, zeros, and known errors."""

from __future__ import annotations

from pathlib import Path

import ase.io
import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from ekd.data import Dataset, load_dataset
from ekd.errors import ConfigError, DataError
from ekd.evaluation import CurveConfig
from ekd.evaluation.curves import compare_curves, coordinates
from ekd.evaluation.models import ModelPredictions


def config(coordinate: str, **settings: object) -> CurveConfig:
    return CurveConfig(path=Path("x"), coordinate=coordinate, **settings)  # type: ignore[arg-type]


@pytest.fixture
def dimer(tmp_path: Path) -> Dataset:
    """Two hydrogen molecules 4, 2 and 3 Å apart, in this order, with energies 0, -1, -3 eV."""
    frames = []
    for distance, energy in ((4.0, 0.0), (2.0, -1.0), (3.0, -3.0)):
        h2 = molecule("H2")
        frame = h2.copy()
        h2.translate([distance, 0, 0])
        frame += h2
        frame.info.update(my_energy=energy, place=10 * distance)
        frames.append(frame)
    ase.io.write(tmp_path / "dimer.xyz", frames)
    return load_dataset(tmp_path / "dimer.xyz", energy="my_energy")


def test_coordinates(dimer: Dataset) -> None:
    for text, label in (("separation 2", "separation (Å)"), ("distance 0 2", "distance (Å)")):
        x, found = coordinates(dimer, config(text))
        np.testing.assert_allclose(x, [4, 2, 3], atol=1e-6)
        assert found == label
    np.testing.assert_array_equal(coordinates(dimer, config("index"))[0], [0, 1, 2])
    np.testing.assert_allclose(coordinates(dimer, config("place"))[0], [40, 20, 30])
    np.testing.assert_allclose(coordinates(dimer, config("angle 1 0 2"))[0], 90, atol=1e-6)


def test_a_torsion_is_one_piece(tmp_path: Path) -> None:
    peroxide = Atoms("HOOH", [[1, 0, 0], [0, 0, 0], [0, 0, 1.4], [1, 0, 1.4]])
    frames = []
    for angle in (350, 340, 0, 10, 20):
        frame = peroxide.copy()
        frame.set_dihedral(0, 1, 2, 3, angle, indices=[3])
        frame.info["my_energy"] = 0.0
        frames.append(frame)
    ase.io.write(tmp_path / "scan.xyz", frames)
    data = load_dataset(tmp_path / "scan.xyz", energy="my_energy")
    x, label = coordinates(data, config("dihedral 0 1 2 3"))
    assert label == "dihedral (°)"
    np.testing.assert_allclose(x, [-10, -20, 0, 10, 20], atol=1e-3)


def test_curve_by_hand(dimer: Dataset) -> None:
    members = np.array([[100.0, 98.0, 96.0], [100.0, 100.0, 98.0]])  # as in the file: 4, 2, 3 Å
    found = ModelPredictions(
        members.mean(0), np.zeros((12, 3)), members.std(0), None, member_energies=members
    )
    (curve,) = compare_curves("scan", dimer, config("separation 2", zero="end"), {"m": found})
    np.testing.assert_allclose(curve.x, [2, 3, 4], atol=1e-6)
    np.testing.assert_allclose(curve.reference, [-1, -3, 0])
    model = curve.models["m"]
    np.testing.assert_allclose(model.energies, [-1, -3, 0])
    np.testing.assert_allclose(model.std, [1, 1, 0])  # zero where both are zero by definition
    assert (model.mae, model.rmse, model.range_error, model.minimum_shift) == (0, 0, 0, 0)
    shifted = ModelPredictions(np.array([0.0, -5.0, -3.0]), np.zeros((12, 3)))
    (curve,) = compare_curves("scan", dimer, config("separation 2"), {"m": shifted})
    model = curve.models["m"]
    np.testing.assert_allclose(curve.reference, [2, 0, 3])  # zero at the minimum
    np.testing.assert_allclose(model.energies, [-2, 0, 3])
    assert model.max == pytest.approx(4.0)
    assert model.mae == pytest.approx(4 / 3)
    assert model.range_error == pytest.approx(2.0)
    assert model.minimum_shift == pytest.approx(-1.0, abs=1e-6)


def test_groups_of_hdf5_are_curves(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "scans.h5", "w") as file:
        for k, name in enumerate(("one", "two")):
            group = file.create_group(name)
            group["atomic_numbers"] = np.array([1, 1])
            z = np.array([1.0, 0.5, 2.0]) + 0.01 * k
            group["coordinates"] = np.array([[[0, 0, 0], [0, 0, one]] for one in z])
            group["energy"] = np.array([1.0, 3.0, 2.0]) + k
            group["phi"] = np.array([5.0, 4.0, 6.0])
    data = load_dataset(tmp_path / "scans.h5", energy="energy", energy_unit="eV")
    found = ModelPredictions(data.energies, np.zeros((12, 3)))
    curves = compare_curves("scans", data, config("phi"), {"m": found})
    assert [curve.name for curve in curves] == ["one", "two"]
    for curve in curves:
        np.testing.assert_allclose(curve.x, [4, 5, 6])
        np.testing.assert_allclose(curve.reference, [2, 0, 1])


@pytest.mark.parametrize(
    "coordinate", ["distance 0", "distance 0 a", "wave length", "dihedral 0 1 2", "index 3"]
)
def test_coordinate_that_is_not_understood(dimer: Dataset, coordinate: str) -> None:
    with pytest.raises(ConfigError, match="is not understood; write 'distance i j'"):
        coordinates(dimer, config(coordinate))


def test_coordinate_that_does_not_fit(dimer: Dataset) -> None:
    with pytest.raises(ConfigError, match="structure has 4 atoms; atoms are numbered from 0"):
        coordinates(dimer, config("distance 0 4"))
    with pytest.raises(DataError, match=r"has no key 'phi'.*place"):
        coordinates(dimer, config("phi"))


def test_single_points_are_no_scan(dimer: Dataset) -> None:
    one = dimer.subset([0])
    found = ModelPredictions(one.energies, np.zeros((4, 3)))
    with pytest.raises(DataError, match="has no group with two structures"):
        compare_curves("scan", one, config("index"), {"m": found})
