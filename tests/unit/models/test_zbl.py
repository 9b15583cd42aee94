"""The screened nuclear repulsion against an independent evaluation, and its edges."""

from __future__ import annotations

import math

import pytest
import torch
from ase import units

from ekd.models.zbl import COULOMB, ZBL
from tolerances import tolerance

BOUNDS = tolerance("kernel", torch.float64).bounds


def dimer(distance: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
    vector = torch.tensor([0.0, distance, 0.0], dtype=torch.float64)
    vectors = torch.stack([vector, -vector]).requires_grad_()
    return torch.tensor([0, 1]), torch.tensor([[0, 1], [1, 0]]), vectors, 2


def test_value_of_a_dimer() -> None:
    """O-C at 0.7 Å; the sum of their covalent radii is 0.66 + 0.76 Å."""
    r, z1, z2 = 0.7, 8, 6
    x = r * (z1**0.23 + z2**0.23) / 0.46850
    terms = ((0.18175, 3.1998), (0.50986, 0.94229), (0.28022, 0.4029), (0.02817, 0.20162))
    screening = sum(c * math.exp(-d * x) for c, d in terms)
    y = r / (0.66 + 0.76)
    envelope = 1 - 28 * y**6 + 48 * y**7 - 21 * y**8
    coulomb = units._e / (4 * math.pi * units._eps0) * 1e10
    expected = coulomb * z1 * z2 / r * screening * envelope
    energies = ZBL([8, 6], cutoff=5.0)(*dimer(r))
    assert energies.sum().item() == pytest.approx(expected, rel=1e-6)  # other CODATA constants
    assert energies[0] == energies[1]


def test_coulomb_constant() -> None:
    coulomb = units._e / (4 * math.pi * units._eps0) * 1e10
    assert pytest.approx(coulomb, rel=1e-7) == COULOMB


def test_smooth_to_the_end() -> None:
    """Value, slope and curvature vanish at the sum of the radii, 0.31 + 0.66 Å, and beyond."""
    zbl = ZBL([1, 8], cutoff=5.0)
    for distance in (0.97 - 1e-7, 0.97, 0.97 + 1e-7, 3.0):
        species, pairs, vectors, n = dimer(distance)
        energy = zbl(species, pairs, vectors, n).sum()
        (slope,) = torch.autograd.grad(energy, vectors, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), vectors)
        for derivative in (energy, slope, curvature):
            assert derivative.abs().max() < 1e-4  # eV, eV/Å, eV/Å²; third derivatives are 1e3


def test_repels_ever_more_towards_contact() -> None:
    zbl = ZBL([1, 8], cutoff=5.0)
    energies = [zbl(*dimer(r)).sum().item() for r in (0.9, 0.7, 0.5, 0.3, 0.1, 0.01)]
    assert energies == sorted(energies)
    assert energies[-1] > 1e4


def test_ends_at_a_short_cutoff() -> None:
    zbl = ZBL([8, 6], cutoff=0.8)
    torch.testing.assert_close(zbl(*dimer(0.8)), torch.zeros(2, dtype=torch.float64), **BOUNDS)
