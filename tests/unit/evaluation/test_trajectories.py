"""Drift of a known line, and molecules that are known to be intact."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import molecule

from ekd.evaluation import energy_drift
from ekd.evaluation.trajectories import intact_waters


def test_drift_is_the_slope_per_atom() -> None:
    time = np.linspace(0, 10, 501)
    drift = energy_drift(time, -4000.0 + 6e-6 * time, n_atoms=6)
    assert drift.slope == pytest.approx(1e-6, rel=1e-5)
    assert drift.max_deviation == pytest.approx(1e-5, rel=1e-5)


def test_fluctuation_is_no_drift() -> None:
    time = np.linspace(0, 10, 501)
    wave = 6e-3 * np.cos(2 * np.pi * time)  # symmetric about the middle, so it adds no slope
    drift = energy_drift(time, wave, n_atoms=6)
    assert drift.slope == pytest.approx(0, abs=1e-15)
    assert drift.max_deviation == pytest.approx(2e-3, rel=1e-3)


def test_one_sample_has_no_drift() -> None:
    with pytest.raises(ValueError, match="two or more"):
        energy_drift([0.0], [1.0], n_atoms=1)


def test_intact_waters() -> None:
    near, far = molecule("H2O"), molecule("H2O")
    far.translate([5, 0, 0])
    both = near + far
    assert intact_waters(both) == 1.0
    both.positions[4] += [3.0, 0, 0]  # one hydrogen leaves the second molecule
    assert intact_waters(both) == 0.5
