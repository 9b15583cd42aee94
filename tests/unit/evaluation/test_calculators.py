"""ASE calculators for ensembles of any kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ekd
from ekd.distillation import ASETeacher
from ekd.errors import ConfigError
from ekd.evaluation import ModelConfig
from ekd.evaluation.calculators import make_calculator
from ekd.evaluation.sources import open_models
from systems import methanol
from tolerances import tolerance
from untrained import ensemble, teacher


def test_ensemble_is_mean_and_spread() -> None:
    atoms, several = methanol(), ensemble(3)
    each = []
    for member in several.members:
        atoms.calc = ekd.as_calculator(member)
        each.append((atoms.get_potential_energy(), atoms.get_forces()))
    atoms.calc = ekd.as_calculator(several)
    forces = np.stack([one[1] for one in each])
    close = tolerance("runtime").bounds
    np.testing.assert_allclose(atoms.get_potential_energy(), np.mean([e for e, _ in each]), **close)
    np.testing.assert_allclose(atoms.get_forces(), forces.mean(0), **close)
    spread = np.sqrt(forces.var(0).mean(-1))
    np.testing.assert_allclose(atoms.calc.error_estimates["forces_std"], spread, **close)
    np.testing.assert_allclose(
        atoms.calc.error_estimates["energy_std"], np.std([e for e, _ in each]), rtol=1e-6
    )


def test_mixed_ensemble(tmp_path: Path) -> None:
    """Networks with two cutoffs and a calculator: mean forces, and energies of the networks."""
    atoms = methanol()
    networks = [teacher(0), teacher(1, cutoff=3.5)]
    for k, network in enumerate(networks):
        network.save(tmp_path / f"{k}.pt")
    configs = [ModelConfig(path=tmp_path / f"{k}.pt", ensemble="all") for k in range(2)]
    configs.append(ModelConfig(calculator="calculators:Springs", ensemble="all"))
    (model,) = open_models(configs)
    mixed = make_calculator(model, tmp_path)
    energies, forces = [], []
    for one in (*networks, ASETeacher("calculators:Springs")):
        atoms.calc = ekd.as_calculator(one)
        energies.append(atoms.get_potential_energy())
        forces.append(atoms.get_forces())
    atoms.calc = mixed
    np.testing.assert_allclose(atoms.get_potential_energy(), np.mean(energies[:2]), rtol=1e-12)
    np.testing.assert_allclose(atoms.get_forces(), np.mean(forces, axis=0), atol=1e-10)
    assert mixed.error_estimates["energy_std"] == pytest.approx(np.std(energies[:2]))


def test_several_models_are_no_calculator() -> None:
    with pytest.raises(ConfigError, match="these are several models"):
        ekd.as_calculator([teacher(0), ASETeacher("calculators:Springs")])  # type: ignore[arg-type]
