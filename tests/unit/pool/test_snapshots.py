from __future__ import annotations

from typing import Any

import numpy as np
from ase.build import molecule
from ase.calculators.calculator import Calculator

from ekd.config import PoolConfig
from ekd.pool.snapshots import snapshots
from pool_calculators import PairSprings


class Harmonic(PairSprings):
    """Every atom on its own spring, 5 eV/Å²."""

    def calculate(self, *arguments: Any, **kwargs: Any) -> None:
        Calculator.calculate(self, *arguments, **kwargs)
        shifts = self.atoms.positions - molecule("CH4").positions
        self.results = {"energy": 2.5 * (shifts**2).sum(), "forces": -5.0 * shifts}


def test_snapshots_depend_on_the_seed_alone() -> None:
    config = PoolConfig(n_snapshots=3, interval=0.005)
    runs = [
        snapshots(molecule("CH4"), PairSprings(), 300.0, config, np.random.default_rng(seed))
        for seed in (1, 1, 2)
    ]
    positions = [run[0] for run in runs]
    assert positions[0].shape == (3, 5, 3)
    assert not any(reason for _, reason in runs)
    np.testing.assert_array_equal(positions[0], positions[1])
    assert np.abs(positions[0] - positions[2]).max() > 0.01
    assert np.abs(positions[0][1] - positions[0][0]).max() > 0.01


def test_the_temperature_is_kept() -> None:
    """In a harmonic potential, the mean of k x² is kT for every component."""
    config = PoolConfig(n_snapshots=200, interval=0.03, timestep=1e-3)
    positions, reason = snapshots(
        molecule("CH4"), Harmonic(), 500.0, config, np.random.default_rng(0)
    )
    assert not reason
    thermal = 5.0 * np.square(positions - molecule("CH4").positions).mean()
    assert abs(thermal / (8.617e-5 * 500.0) - 1.0) < 0.2  # other seeds: 0.90 to 1.06


def test_a_run_that_fails_keeps_its_first_snapshots() -> None:
    class Tired(PairSprings):
        def calculate(self, *arguments: Any, **kwargs: Any) -> None:
            super().calculate(*arguments, **kwargs)
            if self.n_calls > 8:
                raise RuntimeError("enough")

    config = PoolConfig(n_snapshots=3, interval=0.005)
    positions, reason = snapshots(molecule("CH4"), Tired(), 300.0, config, np.random.default_rng(0))
    assert reason == "RuntimeError: enough"
    assert np.isfinite(positions[0]).all()
    assert np.isnan(positions[1:]).all()


def test_a_run_ends_where_forces_are_too_large() -> None:
    config = PoolConfig(n_snapshots=3, interval=0.005, max_force=1e-3)
    positions, reason = snapshots(
        molecule("CH4"), PairSprings(), 300.0, config, np.random.default_rng(0)
    )
    assert reason == "a force exceeds 0.001 eV/Å in the MD"
    assert np.isnan(positions).all()
