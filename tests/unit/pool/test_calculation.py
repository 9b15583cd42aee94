from __future__ import annotations

import numpy as np
from ase.build import molecule

from ekd.data.combine import concatenate
from ekd.pool.calculation import calculate, explain
from ekd.pool.recipe import copies
from pool_calculators import PairSprings, Uncertain

DATA = concatenate(
    copies("a", molecule("CH4"), 2),
    copies("b", molecule("H2O"), 2),
    copies("c", molecule("C2H6"), 1),
)


def test_a_new_calculator_for_each_remembers_nothing() -> None:
    found = calculate(DATA, lambda: PairSprings(memory=1.0), reuse=False)
    assert found.energies[0] == found.energies[1]
    assert found.forces.shape == (DATA.n_atoms, 3)
    assert not any(found.messages)
    # ASE calculators recognize a structure that is repeated.
    kept = calculate(DATA, lambda: PairSprings(memory=1.0), reuse=True)
    np.testing.assert_allclose(kept.energies[2:], found.energies[2:] + np.array([1.0, 1.0, 2.0]))


def test_failures_end_no_more_than_their_geometry() -> None:
    found = calculate(DATA, lambda: PairSprings(fails_beyond=5), reuse=True)
    assert np.isfinite(found.energies).tolist() == [True] * 4 + [False]
    assert found.messages[-1] == "CalculationFailed: SCF not converged in 250 cycles"
    assert np.isnan(found.forces[-8:]).all()
    assert np.isfinite(found.forces[:-8]).all()


def test_what_is_not_finite_has_failed() -> None:
    found = calculate(DATA, Uncertain, reuse=False)
    assert np.isfinite(found.energies).tolist() == [True, True, False, False, True]
    assert found.messages[2] == "ValueError: energy or forces are not finite"


def test_long_messages_are_cut() -> None:
    assert len(explain(ValueError("x" * 5000))) == 200
