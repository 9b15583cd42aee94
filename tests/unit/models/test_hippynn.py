"""The reference implementation of HIP-NN-TS is hippynn: same weights, same energies and forces."""

from __future__ import annotations

import hippynn
import pytest
import torch
from hippynn.layers.targets import HEnergy
from hippynn.networks.hipnn import Hipnn, HipnnQuad, HipnnVec
from structures import pair_vectors, random_structure
from tolerances import tolerance

from ekd.config import HIPNNConfig
from ekd.models import HIPNN

ELEMENTS = [1, 6, 7, 8]


def hippynn_twin(model: HIPNN, config: HIPNNConfig) -> tuple[torch.nn.Module, torch.nn.Module]:
    """A hippynn network and energy layer that hold the weights of ``model``."""
    kind = (Hipnn, HipnnVec, HipnnQuad)[config.l_max]
    network = kind(
        n_features=config.n_features,
        n_sensitivities=config.n_sensitivities,
        dist_soft_min=config.soft_min,
        dist_soft_max=config.soft_max,
        dist_hard_max=config.cutoff,
        n_atom_layers=config.n_atom_layers,
        n_interaction_layers=config.n_interactions,
        possible_species=[0, *ELEMENTS],
        **({"cusp_reg": config.cusp} if config.l_max else {}),
    ).double()
    energy = HEnergy(network.feature_sizes).double()
    with torch.no_grad():
        energy.layers[0].weight.copy_(model.reference_energies)
        for block, theirs, layer in zip(
            model.blocks, network.blocks, energy.layers[1:], strict=True
        ):
            ours, base = block.interaction, theirs[0].base_layer
            n_out, n_in = config.n_features, ours.center.in_features
            weight = ours.neighbors.weight.reshape(n_out, config.n_sensitivities, n_in)
            base.int_weights.copy_(weight.transpose(0, 1))
            base.selfint.load_state_dict(ours.center.state_dict())
            base.sensitivity.mu.copy_(ours.sensitivities.mu)
            base.sensitivity.sigma.copy_(ours.sensitivities.sigma)
            if config.l_max >= 1:
                base.vecscales.copy_(ours.tensor_scales[0])
            if config.l_max >= 2:
                base.quadscales.copy_(ours.tensor_scales[1])
            theirs[0].res_layer.load_state_dict(block.outer.state_dict())
            if n_in != n_out:
                theirs[0].adjust_layer.load_state_dict(block.skip.state_dict())
            for atom_layer, wrapped in zip(block.atom_layers, theirs[1:], strict=True):
                wrapped.base_layer.load_state_dict(atom_layer.inner.state_dict())
                wrapped.res_layer.load_state_dict(atom_layer.outer.state_dict())
            layer.load_state_dict(block.energy.state_dict())
    return network, energy


@pytest.mark.parametrize("n_interactions", [1, 2, 3])
@pytest.mark.parametrize("l_max", [0, 1, 2])
def test_energies_and_forces_equal_hippynn(l_max: int, n_interactions: int) -> None:
    hippynn.settings.WARN_LOW_DISTANCES = False
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
