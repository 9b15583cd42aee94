"""The conventions of docs/conventions.md: directions and signs, each against an outside truth."""

from __future__ import annotations

from collections.abc import Callable

import ase.neighborlist
import numpy as np
import pytest
import torch
from ase import Atoms
from systems import methanol, tiny_cell, triclinic_crystal, water_box
from tolerances import tolerance

from ekd.config import HIPNNConfig
from ekd.models import HIPNN
from ekd.neighbor_list import neighbor_list

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


def network(reference_energies: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)) -> HIPNN:
    """A small network with random weights, always the same ones, in float64."""
    torch.manual_seed(0)
    config = HIPNNConfig(cutoff=CUTOFF, soft_max=3.0, n_features=8, n_sensitivities=6)
    return HIPNN(config, ELEMENTS, reference_energies).double()


def evaluate(model: HIPNN, atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy (eV), forces (eV/Å) and virial (eV) by the formulas of the conventions."""
    found = neighbor_list(atoms.positions, CUTOFF, atoms.cell.array, atoms.pbc)
    vectors = torch.tensor(found.pair_vectors, requires_grad=True)
    species = torch.tensor([ELEMENTS.index(number) for number in atoms.numbers])
    energy = model(species, torch.tensor(found.pairs), vectors, len(atoms)).sum()
    gradient = torch.autograd.grad(energy, vectors)[0].numpy()
    forces = np.zeros((len(atoms), 3))
    np.add.at(forces, found.pairs[0], gradient)  # moving a centre shortens its pair vectors
    np.subtract.at(forces, found.pairs[1], gradient)
    return energy.item(), forces, -found.pair_vectors.T @ gradient


@pytest.mark.parametrize("build", [methanol, triclinic_crystal, tiny_cell])
def test_forces_are_minus_the_gradient(build: Callable[[], Atoms]) -> None:
    model, atoms = network(), build()
    forces = evaluate(model, atoms)[1]
    assert np.abs(forces).max() > 1e-2
    step = 1e-4
    for atom, axis in ((0, 0), (1, 1), (2, 2)):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            energies.append(evaluate(model, moved)[0])
        derivative = (energies[0] - energies[1]) / (2 * step)
        np.testing.assert_allclose(
            forces[atom, axis], -derivative, **tolerance("finite_difference").bounds
        )


@pytest.mark.parametrize("build", [water_box, triclinic_crystal])
def test_virial_is_minus_the_derivative_by_strain(build: Callable[[], Atoms]) -> None:
    """ASE: stress = dE/dstrain / volume, so stress = -virial / volume."""
    model, atoms = network(), build()
    virial = evaluate(model, atoms)[2]
    assert np.abs(virial).max() > 1e-2
    step = 1e-5
    for row, column in np.ndindex(3, 3):
        energies = []
        for sign in (1, -1):
            deformation = np.eye(3)
            deformation[row, column] += sign * step
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
            energies.append(evaluate(model, strained)[0])
        derivative = (energies[0] - energies[1]) / (2 * step)
        np.testing.assert_allclose(
            virial[row, column], -derivative, **tolerance("finite_difference").bounds
        )


def test_energy_includes_the_reference_energies() -> None:
    references = (-13.6, -1030.1, -1485.3, -2042.6)
    atoms = methanol()
    difference = evaluate(network(references), atoms)[0] - evaluate(network(), atoms)[0]
    expected = sum(references[ELEMENTS.index(number)] for number in atoms.numbers)
    np.testing.assert_allclose(difference, expected, **tolerance("kernel").bounds)


def test_distance_equal_to_the_cutoff_is_outside() -> None:
    positions = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
    assert neighbor_list(positions, 2.0).pairs.shape == (2, 0)
    assert neighbor_list(positions, np.nextafter(2.0, 3.0)).pairs.tolist() == [[0, 1], [1, 0]]
