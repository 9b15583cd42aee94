"""Properties of every potential: invariances, smoothness, and forces that are derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ekd.config import HIPNNConfig
from ekd.models import HIPNN
from ekd.training.predictions import forces_from_gradient
from structures import pair_vectors, random_structure
from tolerances import tolerance

ELEMENTS = [1, 6, 8]
CUTOFF = 3.2


@pytest.fixture(params=[(l_max, k) for l_max in (0, 1, 2) for k in (1, 2)], ids=str)
def model(request: pytest.FixtureRequest) -> HIPNN:
    """Models of every tensor order, with one and two interactions, and with repulsion."""
    torch.manual_seed(3)
    l_max, n_interactions = request.param
    config = HIPNNConfig(
        l_max=l_max,
        n_interactions=n_interactions,
        n_features=8,
        n_sensitivities=6,
        cutoff=CUTOFF,
        soft_max=3.0,
        zbl=True,
    )
    return HIPNN(config, ELEMENTS, [-13.0, -1030.0, -2040.0]).double()


def structure(n_atoms: int = 7, seed: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Species and positions."""
    species = torch.arange(n_atoms) % len(ELEMENTS)
    return species, torch.tensor(random_structure(n_atoms, seed))


CELL = torch.tensor([[3.9, 0.0, 0.0], [0.7, 4.1, 0.0], [-0.5, 0.4, 4.4]], dtype=torch.float64)


def evaluate(
    model: HIPNN, species: torch.Tensor, positions: torch.Tensor, cell: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Atomic energies, forces and virial, obtained in the same way as in every engine."""
    pairs, vectors = pair_vectors(positions.detach(), CUTOFF, cell)
    vectors.requires_grad_()
    energies = model(species, pairs, vectors, len(species))
    (gradient,) = torch.autograd.grad(energies.sum(), vectors)
    virial = -vectors.detach().T @ gradient
    return energies.detach(), forces_from_gradient(gradient, pairs, len(species)), virial


def assert_same(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, **tolerance("symmetry", torch.float64).bounds)


def test_translation(model: HIPNN) -> None:
    species, positions = structure()
    shift = torch.tensor([1.3, -20.0, 5.5], dtype=torch.float64)
    for ours, theirs in zip(
        evaluate(model, species, positions),
        evaluate(model, species, positions + shift),
        strict=True,
    ):
        assert_same(theirs, ours)


def test_rotation_and_reflection(model: HIPNN) -> None:
    species, positions = structure()
    random = np.random.default_rng(0).normal(size=(3, 3))
    rotation = torch.tensor(np.linalg.qr(random)[0])
    energies, forces, virial = evaluate(model, species, positions, CELL)
    for matrix in (rotation, -rotation):
        turned = evaluate(model, species, positions @ matrix.T, CELL @ matrix.T)
        assert_same(turned[0], energies)
        assert_same(turned[1], forces @ matrix.T)
        assert_same(turned[2], matrix @ virial @ matrix.T)


def test_permutation(model: HIPNN) -> None:
    species, positions = structure()
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    energies, forces, _ = evaluate(model, species, positions)
    permuted = evaluate(model, species[order], positions[order])
    assert_same(permuted[0], energies[order])
    assert_same(permuted[1], forces[order])


def test_wrapping_into_the_cell(model: HIPNN) -> None:
    species, positions = structure()
    images = torch.tensor(np.random.default_rng(1).integers(-2, 3, (len(species), 3))).double()
    for ours, theirs in zip(
        evaluate(model, species, positions, CELL),
        evaluate(model, species, positions + images @ CELL, CELL),
        strict=True,
    ):
        assert_same(theirs, ours)


def test_no_net_force_and_torque(model: HIPNN) -> None:
    species, positions = structure()
    _, forces, virial = evaluate(model, species, positions)
    assert_same(forces.sum(0), torch.zeros(3, dtype=torch.float64))
    torque = torch.linalg.cross(positions, forces).sum(0)
    assert_same(torque, torch.zeros(3, dtype=torch.float64))
    assert_same(virial, virial.T)


def test_forces_are_derivatives(model: HIPNN) -> None:
    species, positions = structure()
    _, forces, _ = evaluate(model, species, positions, CELL)
    step = 1e-4
    for atom, axis in [(0, 0), (3, 1), (6, 2)]:
        shift = torch.zeros_like(positions)
        shift[atom, axis] = step
        up = evaluate(model, species, positions + shift, CELL)[0].sum()
        down = evaluate(model, species, positions - shift, CELL)[0].sum()
        expected = -(up - down) / (2 * step)
        torch.testing.assert_close(
            forces[atom, axis], expected, **tolerance("finite_difference", torch.float64).bounds
        )


def test_virial_is_the_strain_derivative(model: HIPNN) -> None:
    species, positions = structure()
    _, _, virial = evaluate(model, species, positions, CELL)
    step = 1e-4
    for a, b in [(0, 0), (1, 2), (2, 1)]:
        energies = []
        for sign in (1, -1):
            deform = torch.eye(3, dtype=torch.float64)
            deform[a, b] += sign * step
            energies.append(evaluate(model, species, positions @ deform, CELL @ deform)[0].sum())
        expected = -(energies[0] - energies[1]) / (2 * step)
        torch.testing.assert_close(
            virial[a, b], expected, **tolerance("finite_difference", torch.float64).bounds
        )


def test_smooth_as_a_neighbour_leaves(model: HIPNN) -> None:
    """Energy and force do not jump when a pair leaves the pair list."""
    species, positions = structure(4)
    results = []
    for gap in (-1e-7, 1e-7):
        moved = positions.clone()
        moved[3] = moved[0] + torch.tensor([0.0, 0.0, CUTOFF + gap], dtype=torch.float64)
        results.append(evaluate(model, species, moved))
    # Over 2e-7 Å, a force changes by this distance times its slope of about 10 eV/Å².
    torch.testing.assert_close(results[0][0], results[1][0], rtol=0, atol=1e-9)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=0, atol=1e-5)
