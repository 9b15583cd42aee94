"""The reference implementation of HIP-NN-TS is hippynn: same weights, same energies and forces."""

from __future__ import annotations

import pytest
import torch

from ekd.config import HIPNNConfig
from ekd.models import HIPNN
from hippynn_twin import hippynn_twin
from structures import pair_vectors, random_structure
from tolerances import tolerance

ELEMENTS = [1, 6, 7, 8]


@pytest.mark.parametrize("n_interactions", [1, 2, 3])
@pytest.mark.parametrize("l_max", [0, 1, 2])
def test_energies_and_forces_equal_hippynn(l_max: int, n_interactions: int) -> None:
    torch.manual_seed(10 * l_max + n_interactions)
    config = HIPNNConfig(
        l_max=l_max,
        n_interactions=n_interactions,
        n_features=7 if n_interactions < 3 else len(ELEMENTS),  # also without a skip matrix
        n_sensitivities=9,
        cutoff=4.0,
        soft_max=3.5,
    )
    model = HIPNN(config, ELEMENTS, [-0.4, 0.3, 1.1, -0.9]).double()
    network, energy = hippynn_twin(model, config)
    for seed in range(3):
        positions = torch.tensor(random_structure(9, seed), requires_grad=True)
        species = torch.randint(len(ELEMENTS), (9,))
        pairs, vectors = pair_vectors(positions, config.cutoff)

        ours = model(species, pairs, vectors, 9)
        features = torch.nn.functional.one_hot(species, len(ELEMENTS))
        geometry = [vectors.norm(dim=1)] + ([vectors] if l_max else [])
        outputs = network(features, *pairs, *geometry)
        theirs = energy(outputs, torch.zeros(9, dtype=torch.int64), 1)
        bounds = tolerance("hippynn").bounds
        torch.testing.assert_close(ours, theirs[1].squeeze(1), **bounds)
        torch.testing.assert_close(
            torch.autograd.grad(ours.sum(), positions, retain_graph=True)[0],
            torch.autograd.grad(theirs[0].sum(), positions)[0],
            **bounds,
        )
