"""Boxes of water that a minimizer can start from."""

from __future__ import annotations

import numpy as np
import pytest

from ekd.errors import ConfigError
from ekd.lammps.structures import molecule, sheared, water_box


@pytest.mark.parametrize("n_molecules", [1, 8, 33, 54, 64])
def test_water_box_has_the_density_and_no_overlap(n_molecules: int) -> None:
    box = water_box(n_molecules, density=0.997, seed=3)
    assert box.symbols.formula.count() == {"O": n_molecules, "H": 2 * n_molecules}
    grams = box.get_masses().sum() / 6.02214076e23
    assert grams / (box.get_volume() * 1e-24) == pytest.approx(0.997, rel=1e-8)
    distances = box.get_all_distances(mic=True)
    molecules = np.arange(len(box)) // 3
    other = molecules[:, None] != molecules
    assert distances[other].min(initial=np.inf) > 1.7  # a hydrogen bond is 1.8 Å long


def test_seed_decides_the_orientations() -> None:
    first, again, other = (water_box(8, 1.0, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.positions, again.positions)
    assert np.abs(first.positions - other.positions).max() > 0.1


def test_shear_keeps_volume_and_fractions() -> None:
    box = water_box(8, 1.0)
    leaning = sheared(box)
    assert leaning.get_volume() == pytest.approx(box.get_volume())
    np.testing.assert_allclose(
        leaning.get_scaled_positions(), box.get_scaled_positions(), rtol=0, atol=1e-12
    )


def test_unknown_molecule_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'water' is not a molecule in ase.build.molecule"):
        molecule("water")
