"""Runs in ASE: physics of springs, and failing copies that do not affect others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from calculators import Springs
from ekd.dynamics import StabilityConfig, StructureConfig
from ekd.dynamics.forces import CalculatorCopies, CopiesCalculator, FileCopies
from ekd.dynamics.relaxation import relaxed
from ekd.dynamics.replicas import Flock, run_drift, run_survival
from ekd.errors import StructureError
from ekd.evaluation import ModelConfig
from ekd.inference import ExportedModel
from models import random_committee
from systems import methanol, tiny_cell, water_box
from tolerances import tolerance

WATER = molecule("H2O")


def config(**settings: object) -> StabilityConfig:
    defaults: dict[str, object] = {
        "models": [ModelConfig(path=Path("x"))],
        "structures": [StructureConfig(molecule="H2O")],
        "duration": 0.1,
    }
    return StabilityConfig(**{**defaults, **settings})


class Rest:
    """Copies of water with springs to the initial positions: no bond breaks."""

    def __init__(self, k: float = 20.0) -> None:
        self.k = k

    def evaluate(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shifts = positions - WATER.positions
        return 0.5 * self.k * (shifts**2).sum(axis=(1, 2)), -self.k * shifts


class Slippery(Rest):
    """Fails when the first hydrogen has moved by 0.06 Å to the right."""

    def evaluate(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if (positions[:, 1, 0] - WATER.positions[1, 0] > 0.06).any():
            raise RuntimeError("off the map")
        return super().evaluate(positions)


class Never(Rest):
    """Fails immediately."""

    def evaluate(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raise RuntimeError("never")


def ignore(_: float) -> None:
    pass


def test_runs_that_survive() -> None:
    told: list[float] = []
    found = run_survival(WATER, Rest(), 300.0, [3, 4], config(), told.append)
    assert [(o.seed, o.failure) for o in found] == [(3, None), (4, None)]
    assert [o.time for o in found] == pytest.approx([0.1, 0.1])
    assert sum(told) == pytest.approx(0.1)


def test_thermostat_holds_the_temperature() -> None:
    settings = config(duration=1.0)
    flock = Flock(WATER, Rest(), range(8), 300.0)
    integrator = flock.langevin(settings.timestep, 300.0, 20.0)
    kinetic = []
    for check in range(60):
        integrator.run(10)
        if check >= 20:
            kinetic.append(flock.kinetic_energies())
    # 9 degrees of freedom: half of 9 k T each; an error of the mean of 10 %
    assert np.mean(kinetic) == pytest.approx(4.5 * 8.617e-5 * 300, rel=0.25)


def test_a_copy_does_not_depend_on_the_others() -> None:
    copies = Slippery(k=5.0)
    all_, one = (
        run_survival(WATER, copies, 300.0, seeds, config(), ignore) for seeds in ([0, 1, 2, 3], [2])
    )
    assert {o.failure for o in all_} >= {"engine"}
    assert all_[2] == one[0]


def test_broken_bonds_end_a_run() -> None:
    """Springs with negative constants push water apart, with high friction."""
    copies = CalculatorCopies(Springs(k=-3.0), WATER)
    found = run_survival(WATER, copies, 300.0, [0, 1], config(friction=300.0), ignore)
    assert {o.failure for o in found} == {"bond"}
    assert all(0 < o.time < 0.1 for o in found)


def test_drift_of_a_spring_falls_with_the_square_of_the_time_step() -> None:
    steps = (1e-3, 0.5e-3)
    settings = config(drift={"timesteps": list(steps), "duration": 0.5, "equilibration": 0.05})
    copies = Rest()
    coarse, fine = (
        run_drift(WATER, copies, timestep, [0], settings, ignore)[0] for timestep in steps
    )
    assert coarse.failure is None
    assert fine.failure is None
    assert coarse.fluctuation is not None
    assert fine.fluctuation is not None
    assert coarse.fluctuation / fine.fluctuation == pytest.approx(4, rel=0.1)
    assert coarse.slope is not None
    assert abs(coarse.slope) < 1e-3


def test_drift_of_a_run_that_fails() -> None:
    copies = CalculatorCopies(Springs(k=-3.0), WATER)
    settings = config(drift={"timesteps": [0.5e-3]})
    found = run_drift(WATER, copies, 0.5e-3, [0], settings, ignore)
    assert found[0].slope is None
    assert found[0].failure is not None


def test_copies_in_one_call_are_single_ones(tmp_path: Path) -> None:
    random_committee(tmp_path / "student.pt", n_members=2)
    alone = ExportedModel(tmp_path / "student.pt")
    for atoms in (methanol(), water_box(2), tiny_cell()):
        positions = np.stack([atoms.positions, atoms.positions + 0.01 * np.sin(atoms.positions)])
        energies, forces = FileCopies(tmp_path / "student.pt", atoms).evaluate(positions)
        for k in range(2):
            expected = alone.evaluate(atoms.numbers, positions[k], atoms.cell.array, atoms.pbc)
            close = tolerance("runtime").bounds
            np.testing.assert_allclose(energies[k], expected.energy, **close)
            np.testing.assert_allclose(forces[k], expected.forces, **close)


@pytest.mark.parametrize(
    ("value", "kind"), [(np.nan, "numbers"), (1e9, "numbers"), (0.0, "engine")]
)
def test_a_lost_copy_leaves_the_others(tmp_path: Path, value: float, kind: str) -> None:
    """NaN, far away, or all atoms at the same position."""
    random_committee(tmp_path / "student.pt", n_members=1)
    atoms = methanol()
    copies = FileCopies(tmp_path / "student.pt", atoms)
    calculator = CopiesCalculator(copies, atoms.positions, 3)
    positions = np.stack([atoms.positions] * 3)
    positions[1] = value
    moving = Atoms(numbers=np.tile(atoms.numbers, 3), positions=positions.reshape(-1, 3))
    calculator.calculate(moving)
    assert calculator.lost == [None, kind, None]
    forces = calculator.results["forces"].reshape(3, -1, 3)
    np.testing.assert_array_equal(forces[1], 0)
    np.testing.assert_allclose(forces[0], forces[2], atol=1e-12)
    assert np.abs(forces[0]).max() > 0


def test_a_start_that_cannot_be_evaluated_is_an_error() -> None:
    with pytest.raises(StructureError, match="H2O cannot be evaluated at the start of its runs"):
        Flock(WATER, Never(), [0], 300.0)


def test_relaxation_finds_the_minimum() -> None:
    strained = WATER.copy()
    strained.rattle(0.2, seed=1)
    before = strained.positions.copy()
    found = relaxed(strained, Rest())
    np.testing.assert_array_equal(strained.positions, before)
    assert np.abs(found.positions - WATER.positions).max() < 0.05 / Rest().k  # Å: force over k
    assert found.calc is None


def test_relaxation_of_what_cannot_be_evaluated_changes_nothing() -> None:
    np.testing.assert_array_equal(relaxed(WATER, Never()).positions, WATER.positions)
