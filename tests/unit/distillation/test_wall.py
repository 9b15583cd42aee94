"""The disagreement penalty (wall): its forces are its gradient, and it has the right onset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ekd.config import WallConfig
from ekd.data import Dataset
from ekd.distillation import Labels, MemberTeacher, label, perturb, sample_md
from ekd.distillation.wall import wall_of_spread
from ekd.errors import ConfigError, DataError
from tolerances import tolerance
from untrained import ensemble, teacher

WALL = WallConfig(strength=3.0, onset=0.02)


def spread_over_onset(data: Dataset, wall: WallConfig) -> np.ndarray:
    spread = ensemble().predict(data).energies_std
    return spread / (wall.onset * np.sqrt(data.n_atoms_per_config))


@pytest.fixture
def extra(small_dataset: Dataset) -> Dataset:
    return perturb(small_dataset.subset([0, 5, 9, 14]), 0.1)


def labelled(
    data: Dataset, extra: Dataset | None, wall: WallConfig | None, **settings: Any
) -> Labels:
    defaults = {"n_workers": 1, "progress": False, "chunk_size": 10}
    return label(ensemble(), data, extra=extra, wall=wall, **(defaults | settings))


def energies_with_wall(data: Dataset, positions: np.ndarray, wall: WallConfig) -> np.ndarray:
    """Independent implementation of the formula."""
    members = ensemble().predict(replace(data, positions=positions)).members
    energies = np.stack([member.energies for member in members])
    spread, onset = energies.std(0), wall.onset * np.sqrt(data.n_atoms_per_config)
    rises = np.where(spread > onset, (spread - onset) ** 2 / spread, 0.0)
    return energies.mean(0) + wall.strength * rises


def test_forces_are_the_negative_slope(small_dataset: Dataset, extra: Dataset) -> None:
    onset = 0.5 * float(np.median(spread_over_onset(extra, WallConfig(onset=1.0))))
    wall, step = WallConfig(strength=3.0, onset=onset), 1e-4
    found = labelled(small_dataset, extra, wall).forces[small_dataset.n_atoms :]
    plain = labelled(small_dataset, extra, None).forces[small_dataset.n_atoms :]
    assert np.abs(found - plain).max() > 0.01
    for atom in (0, 1):
        moved = extra.offsets[:-1] + atom
        for axis in range(3):
            shift = np.zeros_like(extra.positions)
            shift[moved, axis] = step
            up, down = (
                energies_with_wall(extra, extra.positions + sign * shift, wall) for sign in (1, -1)
            )
            slope = (up - down) / (2 * step)
            bounds = tolerance("finite_difference").bounds
            np.testing.assert_allclose(found[moved, axis], -slope, **bounds)


def test_wall_begins_at_its_onset_without_a_kink() -> None:
    """One atom, two teachers that disagree by 2 s: value and slope vanish at the onset."""

    def wall(spread: float) -> tuple[float, float]:
        energies = np.array([[1 - spread], [1 + spread]])
        forces = np.array([[[1.0, 0, 0]], [[-1.0, 0, 0]]])  # the spread grows with x
        energy, force = wall_of_spread(energies, forces, np.array([1]), WALL)
        return float(energy[0]), float(force[0, 0])

    assert wall(0.0) == wall(0.999 * WALL.onset) == (0.0, 0.0)
    energy, force = wall(WALL.onset * (1 + 1e-6))
    assert 0 < energy < 1e-10
    assert -1e-4 < force < 0
    energy, force = wall(100 * WALL.onset)
    assert force == pytest.approx(-WALL.strength * (1 - 1e-4))
    assert energy == pytest.approx(WALL.strength * 99**2 / 100 * WALL.onset)


def test_data_stay_as_they_are(small_dataset: Dataset, extra: Dataset, tmp_path: Path) -> None:
    plain = labelled(small_dataset, extra, None)
    found = labelled(small_dataset, extra, WALL, path=tmp_path / "labels.h5")
    n, atoms = len(small_dataset), small_dataset.n_atoms
    assert plain.energies is not None
    assert found.energies is not None
    np.testing.assert_array_equal(found.energies[:n], plain.energies[:n])
    np.testing.assert_array_equal(found.forces[:atoms], plain.forces[:atoms])
    for name in ("member_energies", "energies_std", "forces_std"):  # results of the teachers
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))
    rises = found.energies[n:] - plain.energies[n:]
    np.testing.assert_array_equal(rises > 0, spread_over_onset(extra, WALL) > 1)
    assert (rises > 0).any()
    # The file stores the wall, and so does a copy of the file.
    loaded = Labels.load(tmp_path / "labels.h5", small_dataset)
    assert loaded.wall == WALL
    loaded.save(tmp_path / "copy.h5", small_dataset)
    assert (tmp_path / "copy.h5").read_bytes() == (tmp_path / "labels.h5").read_bytes()
    # There is no wall without extra configurations, or with zero strength.
    assert labelled(small_dataset, None, WALL).wall is None
    assert labelled(small_dataset, extra, WallConfig()).wall is None


def test_another_wall_is_refused(small_dataset: Dataset, extra: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "labels.h5"
    labelled(small_dataset, extra, WALL, path=path)
    with pytest.raises(DataError, match="wall"):
        labelled(small_dataset, extra, None, path=path, resume=True)


def test_wall_needs_two_energies(small_dataset: Dataset, extra: Dataset) -> None:
    foreign = [MemberTeacher(teacher(seed), use_energies=seed == 0) for seed in range(3)]
    with pytest.raises(ConfigError, match=r"energies of 1 of 3 teachers are used.*use_energies"):
        label(foreign, small_dataset, extra=extra, wall=WALL, n_workers=1, progress=False)


def test_dynamics_keep_away_from_what_is_not_known(small_dataset: Dataset) -> None:
    """A strong penalty reduces the spread; zero strength changes nothing."""

    def spread(wall: WallConfig | None) -> tuple[str, float]:
        found = sample_md(
            ensemble(),
            small_dataset.subset(range(10)),
            n_snapshots=4,
            interval=0.02,
            n_workers=1,
            progress=False,
            wall=wall,
        )
        return found.fingerprint, float(ensemble().predict(found).energies_std.mean())

    (plain, before), (walled, after) = spread(None), spread(WallConfig(strength=100.0, onset=1e-3))
    assert walled != plain
    assert after < 0.8 * before
    assert spread(WallConfig())[0] == plain
