"""hippynn, the reference implementation of HIP-NN-TS, with the weights of one of our models."""

from __future__ import annotations

import warnings

import torch

from ekd.config import HIPNNConfig
from ekd.models import HIPNN

with warnings.catch_warnings():
    # Importing hippynn warns about slow kernels and torch's sparse tensors; neither matters here.
    warnings.simplefilter("ignore")
    import hippynn
    from hippynn.custom_kernels import env_pytorch
    from hippynn.layers.targets import HEnergy
    from hippynn.networks.hipnn import Hipnn, HipnnQuad, HipnnVec

hippynn.settings.WARN_LOW_DISTANCES = False
# Use plain torch: by default these kernels are compiled, which takes longer than the tests.
for name in ("envsum", "sensesum", "featsum"):
    setattr(hippynn.custom_kernels, name, getattr(env_pytorch, name))

__all__ = ["HEnergy", "copy_weights", "hippynn_twin"]


def hippynn_twin(model: HIPNN, config: HIPNNConfig) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Return a hippynn network and energy layer with the weights of ``model``."""
    kind = (Hipnn, HipnnVec, HipnnQuad)[config.l_max]
    network = kind(
        n_features=config.n_features,
        n_sensitivities=config.n_sensitivities,
        dist_soft_min=config.soft_min,
        dist_soft_max=config.soft_max,
        dist_hard_max=config.cutoff,
        n_atom_layers=config.n_atom_layers,
        n_interaction_layers=config.n_interactions,
        possible_species=[0, *model.elements],
        **({"cusp_reg": config.cusp} if config.l_max else {}),
    ).double()
    energy = HEnergy(network.feature_sizes).double()
    copy_weights(model, config, network, energy)
    return network, energy


def copy_weights(
    model: HIPNN, config: HIPNNConfig, network: torch.nn.Module, energy: torch.nn.Module
) -> None:
    """Copy the weights of ``model`` to a hippynn network and energy layer of the same shape."""
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
