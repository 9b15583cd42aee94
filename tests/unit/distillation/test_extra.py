"""Extra configurations: displaced copies, structures of files, snapshots of MD."""

from __future__ import annotations

from pathlib import Path

import ase.build
import ase.io
import h5py
import numpy as np
import pytest
from ase import units
from ase.calculators.emt import EMT

import ekd
from ekd.data import Dataset
from ekd.distillation import extra, perturb, read_structures, sample_md
from ekd.errors import ConfigError, DataError
from ekd.training.predictions import Predictions
from structures import single_atoms
from systems import water_box
from untrained import ensemble


def test_perturbed_copies(small_dataset: Dataset) -> None:
    found = perturb(small_dataset, 0.1, n_copies=50, seed=3)
    assert len(found) == 50 * len(small_dataset)
    shifts = found.positions.reshape(50, -1, 3) - small_dataset.positions
    assert shifts.std() == pytest.approx(0.1, rel=0.02)
    assert abs(shifts.mean()) < 0.002
    np.testing.assert_array_equal(found.formulas[:43], small_dataset.formulas)
    np.testing.assert_array_equal(found.formulas[-43:], small_dataset.formulas)
    assert np.isnan(found.energies).all()
    assert found.forces is None
    assert perturb(small_dataset, 0.1, 50, seed=3).fingerprint == found.fingerprint
    assert perturb(small_dataset, 0.1, 50, seed=4).fingerprint != found.fingerprint


@pytest.mark.parametrize("settings", [(0.1, 0), (0.0, 1), (-0.1, 1), (float("nan"), 1)])
def test_perturbation_that_is_none(small_dataset: Dataset, settings: tuple[float, int]) -> None:
    with pytest.raises(ConfigError, match="at least 1 copy and a positive displacement"):
        perturb(small_dataset, *settings)


@pytest.mark.parametrize("suffix", ["extxyz", "traj", "xyz"])
def test_structures_of_a_file(tmp_path: Path, suffix: str) -> None:
    frames = [ase.build.molecule("H2O"), water_box(2), ase.build.molecule("CH4")]
    path = tmp_path / f"snapshots.{suffix}"
    ase.io.write(path, frames)
    found = read_structures(path)
    assert found.n_atoms_per_config.tolist() == [3, 24, 5]
    for index, frame in enumerate(frames):
        atoms = found.atoms(index)
        np.testing.assert_allclose(atoms.positions, frame.positions, atol=1e-7)
        np.testing.assert_array_equal(atoms.numbers, frame.numbers)
        assert atoms.pbc.tolist() == frame.pbc.tolist()
    assert np.isnan(found.energies).all()


def test_structures_of_a_prepared_file(tmp_path: Path) -> None:
    frames = [ase.build.molecule(name) for name in ("H2O", "CH4", "H2O")]
    for frame in frames:
        frame.calc = EMT()
        frame.get_forces()
    ase.io.write(tmp_path / "data.xyz", frames, format="extxyz")
    ekd.prepare_dataset(tmp_path / "data.xyz", tmp_path / "data.h5")
    found = read_structures(tmp_path / "data.h5")
    assert sorted(found.formulas) == sorted(frame.get_chemical_formula() for frame in frames)
    assert found.n_atoms == 11
    assert np.isnan(found.energies).all()
    assert found.forces is None


def test_structures_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"structure file '.*absent\.xyz' not found"):
        read_structures(tmp_path / "absent.xyz")
    with h5py.File(tmp_path / "other.h5", "w"):
        pass
    with pytest.raises(DataError, match="was not made by 'ekd prepare'"):
        read_structures(tmp_path / "other.h5")
    for name, content in (("broken.xyz", "three\n"), ("unknown.nonsense", "?")):
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match="cannot be read by ASE"):
            read_structures(tmp_path / name)
    ase.io.write(tmp_path / "empty.extxyz", ase.Atoms())
    with pytest.raises(DataError, match="has an empty structure"):
        read_structures(tmp_path / "empty.extxyz")


def harmonic(monkeypatch: pytest.MonkeyPatch, k: float, hole: float | None = None) -> None:
    """Replace the networks by springs of all atoms to the origin, much stronger beyond a wall."""

    def evaluate(models: object, data: Dataset) -> list[Predictions]:
        forces = -k * data.positions
        if hole is not None:
            forces = np.where(np.abs(data.positions) > hole, 1e3 * forces, forces)
        return [Predictions(np.zeros(len(data)), forces)]

    monkeypatch.setattr(extra, "evaluate_models", evaluate)


def md(data: Dataset, **settings: object) -> Dataset:
    defaults = {"n_workers": 1, "progress": False, "interval": 0.01, "timestep": 1e-3}
    return sample_md(ensemble(1), data, **(defaults | settings))  # type: ignore[arg-type]


def test_dynamics_sample_the_boltzmann_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variance of a coordinate on a spring is kT/k."""
    k, temperature = 2.0, 400.0
    harmonic(monkeypatch, k)
    found = md(
        single_atoms(2000),
        temperature=temperature,
        n_snapshots=5,
        interval=0.05,
        friction=40.0,
        chunk_size=1000,
    )
    late = found.positions.reshape(2, 5, 1000, 3)[:, 2:]  # 0.1 ps: four times the relaxation
    expected = units.kB * temperature / k
    assert np.mean(late**2) == pytest.approx(expected, rel=0.04)


def test_trajectory_that_falls_into_a_hole_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    harmonic(monkeypatch, 2.0, hole=0.25)
    start = single_atoms(200)
    found = md(start, temperature=400.0, n_snapshots=6, interval=0.02, friction=40.0)
    assert len(found) < 1200
    assert np.abs(found.positions).max() <= 0.25
    harmonic(monkeypatch, 1e4, hole=1e-3)
    with pytest.raises(DataError, match="every trajectory of the ensemble ended before its first"):
        md(start)


def test_atoms_that_come_too_close_end_a_trajectory(monkeypatch: pytest.MonkeyPatch) -> None:
    harmonic(monkeypatch, 0.5)
    start = single_atoms(2)
    pair = Dataset(
        **{
            **vars(start),
            "positions": np.array([[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0]]),
            "offsets": np.array([0, 2]),
            "energies": np.zeros(1),
            "groups": np.array(["H2"]),
        }
    )
    found = md(pair, temperature=1.0, n_snapshots=40, interval=1e-3, friction=1e-3)
    distances = np.linalg.norm(found.positions[::2] - found.positions[1::2], axis=1)
    assert 2 < len(found) < 40
    assert 0.4 < distances.min() < 0.6


def test_snapshots_of_networks(small_dataset: Dataset, tmp_path: Path) -> None:
    """Chunks, workers and interruptions do not change the snapshots."""
    data = small_dataset.subset(np.arange(7))
    settings = {"n_snapshots": 2, "interval": 2e-3, "timestep": 1e-3, "chunk_size": 3, "seed": 5}
    alone = md(data, **settings)
    assert 0 < len(alone) <= 14
    assert np.isfinite(alone.positions).all()
    assert md(data, **settings, n_workers=2, directory=tmp_path).fingerprint == alone.fingerprint
    (tmp_path / "part-000001.npz").unlink()
    again = md(data, **settings, directory=tmp_path, resume=True)
    assert again.fingerprint == alone.fingerprint
    assert md(data, **(settings | {"seed": 6})).fingerprint != alone.fingerprint
    with pytest.raises(DataError, match="other settings or data:\n  seed: 5 there, 6 now"):
        md(data, **(settings | {"seed": 6}), directory=tmp_path, resume=True)


@pytest.mark.parametrize("name", ["temperature", "timestep", "n_snapshots", "chunk_size"])
def test_settings_of_dynamics(small_dataset: Dataset, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name} = 0; expected a positive number"):
        md(small_dataset, **{name: 0})
