"""The head for the uncertainty of the forces: its output, and no effect on energies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from scipy.spatial.transform import Rotation

from ekd.export.eager import evaluate
from ekd.models import UncertaintyHead
from ekd.neighbor_list import neighbor_list
from models import ELEMENTS, random_network
from systems import methanol, triclinic_crystal, water_box
from tolerances import tolerance


def uncertainty(atoms: Atoms, **settings: object) -> np.ndarray:
    network, _ = random_network(n_hidden=7, **settings)
    species = np.array([ELEMENTS.index(z) for z in atoms.numbers], dtype=np.int64)
    pairs = neighbor_list(atoms.positions, 4.0, atoms.cell.array, atoms.pbc)
    found = evaluate(network, species, pairs).uncertainty
    assert found is not None
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_is_positive_whatever_the_features(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    head = UncertaintyHead([4, 4], 8).to(dtype)
    features = [300.0 * torch.randn(5000, 4, dtype=dtype) for _ in range(2)]
    found = head(features)
    assert found.dtype == torch.float64
    assert (found > 0).all()
    assert found.min() < 1e-6  # it covers several orders of magnitude
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("n_interactions", [1, 2])
def test_energies_and_forces_are_bitwise_the_same(n_interactions: int) -> None:
    atoms = water_box(2)
    species = np.array([ELEMENTS.index(z) for z in atoms.numbers], dtype=np.int64)
    pairs = neighbor_list(atoms.positions, 4.0, atoms.cell.array, atoms.pbc)
    without, with_head = (
        evaluate(random_network(n_hidden=n, n_interactions=n_interactions)[0], species, pairs)
        for n in (None, 7)
    )
    assert without.uncertainty is None
    assert with_head.uncertainty is not None
    assert np.ptp(with_head.uncertainty) > 1e-4
    np.testing.assert_array_equal(with_head.atomic_energies, without.atomic_energies)
    np.testing.assert_array_equal(with_head.forces, without.forces)
    np.testing.assert_array_equal(with_head.virial, without.virial)


def test_no_gradient_leads_to_the_features() -> None:
    network, _ = random_network(n_hidden=7)
    features = torch.randn(3, 8, dtype=torch.float64, requires_grad=True)
    found = network.uncertainty([features])
    with pytest.raises(RuntimeError, match="not have been used"):
        torch.autograd.grad(found.sum(), features)
    assert torch.autograd.grad(found.sum(), network.uncertainty_head.readout.bias)[0] > 0  # type: ignore[union-attr]


@pytest.mark.parametrize("structure", [methanol, triclinic_crystal])
@pytest.mark.parametrize("l_max", [0, 2])
def test_invariances(structure: object, l_max: int) -> None:
    """Uncertainties are invariant to rotation, translation and permutation of atoms."""
    settings = {"l_max": l_max, "n_interactions": 2}
    atoms: Atoms = structure()  # type: ignore[operator]
    expected = uncertainty(atoms, **settings)
    rng = np.random.default_rng(1)
    rotation = Rotation.random(random_state=2).as_matrix()
    order = rng.permutation(len(atoms))
    moved = atoms[order]
    moved.set_cell(atoms.cell.array @ rotation.T)
    moved.positions = atoms.positions[order] @ rotation.T + rng.normal(size=3)
    bounds = tolerance("symmetry").bounds
    np.testing.assert_allclose(uncertainty(moved, **settings), expected[order], **bounds)


def test_a_network_without_a_head_says_nothing() -> None:
    network, _ = random_network()
    assert network.uncertainty([torch.randn(3, 8)]).shape == (0,)
    network, _ = random_network(n_hidden=7)
    network.set_uncertainty_head(None)
    assert not network.has_uncertainty
    assert not any(name.startswith("uncertainty") for name in network.state_dict())
