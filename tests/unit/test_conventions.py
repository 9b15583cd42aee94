"""The conventions of docs/conventions.md: directions and signs, against independent results."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import ase.neighborlist
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.fd import calculate_numerical_stress

from ekd.calculator import EKDCalculator
from ekd.config import HIPNNConfig
from ekd.export import export_model
from ekd.inference import ExportedModel, Results
from ekd.models import HIPNN
from ekd.neighbor_list import neighbor_list
from ekd.training.ensemble import EnsemblePredictions
from ekd.training.predictions import Predictions
from models import random_committee
from systems import methanol, tiny_cell, triclinic_crystal, water_box
from tolerances import tolerance

CUTOFF = 4.0
ELEMENTS = [1, 6, 7, 8]


@pytest.mark.parametrize("build", [methanol, water_box, triclinic_crystal, tiny_cell])
def test_pairs_and_shifts_are_those_of_ase(build: Callable[[], Atoms]) -> None:
    atoms = build()
    found = neighbor_list(atoms.positions, CUTOFF, atoms.cell.array, atoms.pbc)
    expected = ase.neighborlist.primitive_neighbor_list(
        "ijSD", atoms.pbc, atoms.cell.array, atoms.positions, CUTOFF, self_interaction=False
    )

    def rows(*columns: np.ndarray) -> np.ndarray:
        table = np.column_stack(columns)
        return table[np.lexsort(table[:, 4::-1].T)]

    np.testing.assert_allclose(
        rows(*found.pairs, found.cell_shifts, found.pair_vectors),
        rows(*expected),
        **tolerance("kernel").bounds,
    )


def test_pair_vectors_point_from_centre_to_neighbour_across_cell_rows() -> None:
    atoms = triclinic_crystal()
    found = neighbor_list(atoms.positions, CUTOFF, atoms.cell.array, atoms.pbc)
    centres, neighbours = found.pairs
    assert (np.diff(centres) >= 0).all()
    assert found.cell_shifts.any()
    np.testing.assert_allclose(
        found.pair_vectors,
        atoms.positions[neighbours]
        - atoms.positions[centres]
        + found.cell_shifts @ atoms.cell.array,
        **tolerance("kernel").bounds,
    )


def exported(path: Path, reference_energies: list[float]) -> ExportedModel:
    """A small exported network with random, but always the same, weights."""
    torch.manual_seed(0)
    config = HIPNNConfig(cutoff=CUTOFF, soft_max=3.0, n_features=8, n_sensitivities=6)
    export_model(HIPNN(config, ELEMENTS, reference_energies).double(), path, config=config)
    return ExportedModel(path)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ExportedModel:
    """The network without reference energies, for full precision of small energies."""
    return exported(tmp_path_factory.mktemp("model") / "small.pt", [0.0] * len(ELEMENTS))


def evaluate(model: ExportedModel, atoms: Atoms) -> Results:
    """Energy, forces and virial of a structure."""
    return model.evaluate(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)


def slope(energy: Callable[[float], float], step: float = 1e-4) -> float:
    """Central difference at zero."""
    return (energy(step) - energy(-step)) / (2 * step)


@pytest.mark.parametrize("build", [methanol, triclinic_crystal, tiny_cell])
def test_forces_are_minus_the_gradient(model: ExportedModel, build: Callable[[], Atoms]) -> None:
    atoms = build()
    forces = evaluate(model, atoms).forces
    assert np.abs(forces).max() > 1e-2

    def energy(atom: int, axis: int, distance: float) -> float:
        moved = atoms.copy()
        moved.positions[atom, axis] += distance
        return evaluate(model, moved).energy

    for atom, axis in ((0, 0), (1, 1), (2, 2)):
        np.testing.assert_allclose(
            forces[atom, axis],
            -slope(partial(energy, atom, axis)),
            **tolerance("finite_difference").bounds,
        )


@pytest.mark.parametrize("build", [water_box, triclinic_crystal])
def test_virial_is_minus_the_derivative_by_strain(
    model: ExportedModel, build: Callable[[], Atoms]
) -> None:
    atoms = build()
    virial = evaluate(model, atoms).virial
    assert np.abs(virial).max() > 1e-2

    def energy(row: int, column: int, strain: float) -> float:
        deformation = np.eye(3)
        deformation[row, column] += strain
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
        return evaluate(model, strained).energy

    for row, column in np.ndindex(3, 3):
        np.testing.assert_allclose(
            virial[row, column],
            -slope(partial(energy, row, column), step=1e-5),
            **tolerance("finite_difference").bounds,
        )


def test_stress_has_the_sign_of_ase(model: ExportedModel) -> None:
    atoms = triclinic_crystal()
    atoms.calc = EKDCalculator(model.path)
    np.testing.assert_allclose(
        atoms.get_stress(voigt=False),
        -evaluate(model, atoms).virial / atoms.get_volume(),
        **tolerance("kernel").bounds,
    )
    np.testing.assert_allclose(
        atoms.get_stress(),
        calculate_numerical_stress(atoms, eps=1e-5),
        **tolerance("finite_difference").bounds,
    )


def test_energy_includes_the_reference_energies(model: ExportedModel, tmp_path: Path) -> None:
    references = [-13.6, -1030.1, -1485.3, -2042.6]
    atoms = methanol()
    whole = evaluate(exported(tmp_path / "whole.pt", references), atoms)
    expected = sum(references[ELEMENTS.index(number)] for number in atoms.numbers)
    bounds = tolerance("kernel").bounds
    np.testing.assert_allclose(whole.energy - evaluate(model, atoms).energy, expected, **bounds)
    np.testing.assert_allclose(whole.atomic_energies.sum(), whole.energy, **bounds)


def test_mean_and_spread_of_an_ensemble() -> None:
    """Two atoms and three members; only the first atom has a spread, of 3 along x."""
    forces = [np.array([[x, 1.0, 0.0], [5.0, 6.0, 7.0]]) for x in (-3.0, 0.0, 3.0)]
    energies = [np.array([x]) for x in (-1.0, 0.0, 4.0)]
    members = [Predictions(energies=e, forces=f) for e, f in zip(energies, forces, strict=True)]
    ensemble = EnsemblePredictions.of(members)
    bounds = tolerance("kernel").bounds
    np.testing.assert_allclose(ensemble.energies, [1.0], **bounds)
    np.testing.assert_allclose(ensemble.forces, [[0.0, 1.0, 0.0], [5.0, 6.0, 7.0]], **bounds)
    np.testing.assert_allclose(ensemble.energies_std, [np.sqrt(14 / 3)], **bounds)
    np.testing.assert_allclose(ensemble.forces_std, [np.sqrt((9 + 0 + 9) / 3 / 3), 0.0], **bounds)


def test_spread_of_a_committee_is_that_of_an_ensemble(tmp_path: Path) -> None:
    alone = random_committee(tmp_path / "committee.pt")
    atoms = water_box()
    members = [evaluate(ExportedModel(path), atoms) for path in alone]
    ensemble = EnsemblePredictions.of(
        [Predictions(energies=np.array([m.energy]), forces=m.forces) for m in members]
    )
    atoms.calc = EKDCalculator(tmp_path / "committee.pt")
    atoms.get_potential_energy()
    bounds = tolerance("kernel").bounds
    np.testing.assert_allclose(
        atoms.calc.error_estimates["forces_std"], ensemble.forces_std, **bounds
    )
    np.testing.assert_allclose(
        atoms.calc.error_estimates["energy_std"], ensemble.energies_std[0], **bounds
    )


def test_distance_equal_to_the_cutoff_is_outside() -> None:
    positions = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
    assert neighbor_list(positions, 2.0).pairs.shape == (2, 0)
    assert neighbor_list(positions, np.nextafter(2.0, 3.0)).pairs.tolist() == [[0, 1], [1, 0]]
