"""Conversion of the weights of a hippynn model, and comparison of both models."""

from __future__ import annotations

import copy
import importlib.metadata
import math
from typing import Any

import numpy as np
import torch

from ekd.config import HIPNNConfig
from ekd.errors import ConfigError, HippynnError
from ekd.interop.hippynn_graph import EnergyTerm
from ekd.models import HIPNN
from ekd.neighbor_list import neighbor_list
from ekd.training.predictions import forces_from_gradient

TOLERANCE = 1e-9
"""Largest difference of energies and forces of the two models, relative to the largest value."""


def config_of(network: Any, term: EnergyTerm) -> tuple[HIPNNConfig, torch.dtype]:
    """Return the architecture and precision of a network.

    Raises:
        HippynnError: ekd cannot represent them.
    """
    parameters = [*network.parameters(), *term.module.parameters()]
    dtypes = {parameter.dtype for parameter in parameters}
    if len(dtypes) != 1 or not dtypes <= {torch.float32, torch.float64}:
        raise HippynnError(
            f"the weights are {', '.join(sorted(map(str, dtypes)))}; ekd can represent float32 or "
            "float64, one for all",
            code="EKD-HIPPYNN-007",
        )
    l_max = ("Hipnn", "HipnnVec", "HipnnQuad").index(type(network).__name__)
    settings: dict[str, Any] = {"l_max": l_max}
    if l_max > 0:
        settings["cusp"] = float(network.interaction_layers[0].cusp_reg)
    try:
        config = HIPNNConfig(
            n_interactions=int(network.ni),
            n_atom_layers=int(network.n_layers_per_block),
            n_features=int(network.feature_sizes[1]),
            n_sensitivities=int(network.n_sensitivities),
            cutoff=float(network.dist_hard_max),
            soft_min=float(network.dist_soft_min),
            soft_max=float(network.dist_soft_max),
            **settings,
        )
    except ConfigError as error:
        raise HippynnError(
            f"ekd cannot represent the settings of the network: {error}", code="EKD-HIPPYNN-007"
        ) from None
    return config, dtypes.pop()


@torch.no_grad()
def convert(network: Any, term: EnergyTerm, config: HIPNNConfig, elements: list[int]) -> HIPNN:
    """Copy the weights, in hippynn's energy unit and in float64."""
    with torch.random.fork_rng(devices=[]):  # random initial weights are replaced below
        model = HIPNN(config, elements, [0.0] * len(elements)).double()
    blocks: Any = model.blocks
    for block, layers, level in zip(blocks, network.blocks, term.levels, strict=True):
        base, ours = layers[0].base_layer, block.interaction
        # [sensitivity, out, in] -> [out, (sensitivity, in)]
        ours.neighbors.weight.copy_(base.int_weights.transpose(0, 1).flatten(1))
        _copy(base.selfint, ours.center)
        ours.sensitivities.mu.copy_(base.sensitivity.mu.squeeze(0))
        ours.sensitivities.sigma.copy_(base.sensitivity.sigma.squeeze(0))
        scales = [getattr(base, name) for name in ("vecscales", "quadscales")[: config.l_max]]
        for rank, values in enumerate(scales):
            ours.tensor_scales[rank].copy_(values)
        _copy(layers[0].res_layer, block.outer)
        if layers[0].needs_size_adjust:
            _copy(layers[0].adjust_layer, block.skip)
        for layer, wrapped in zip(block.atom_layers, layers[1:], strict=True):
            _copy(wrapped.base_layer, layer.inner)
            _copy(wrapped.res_layer, layer.outer)
        _copy(level, block.energy)
    model.reference_energies.copy_(_reference_energies(model, term))
    return model


def _copy(source: torch.nn.Linear, target: Any) -> None:
    target.weight.copy_(source.weight)
    if target.bias is not None:
        target.bias.copy_(torch.zeros(()) if source.bias is None else source.bias)


def _reference_energies(model: HIPNN, term: EnergyTerm) -> torch.Tensor:
    """Energies that hippynn computes from the species, or that make isolated atoms zero."""
    n = len(model.elements)
    if term.counts_from_atoms:
        species, pairs = torch.arange(n), torch.empty((2, 0), dtype=torch.int64)
        vectors = torch.empty((0, 3), dtype=torch.float64)
        alone: torch.Tensor = model(species, pairs, vectors, n)
        return -alone  # the reference energies are still zero
    layer = term.self_energies
    if layer is None:
        return torch.zeros(n, dtype=torch.float64)
    energies = layer.weight[0].double()
    return energies if layer.bias is None else energies + layer.bias.double()


def verify(model: HIPNN, network: Any, term: EnergyTerm) -> None:
    """Compare both models in float64 on a cluster of all elements."""
    n_elements = len(model.elements)
    n_atoms = max(12, 2 * n_elements)
    grid = np.stack(np.unravel_index(np.arange(n_atoms), [math.ceil(n_atoms ** (1 / 3))] * 3), 1)
    positions = 1.5 * grid + np.random.default_rng(0).normal(scale=0.2, size=grid.shape)
    found = neighbor_list(positions, model.cutoff)
    species = torch.from_numpy(np.arange(n_atoms) % n_elements)
    pairs = torch.from_numpy(found.pairs)
    vectors = torch.from_numpy(found.pair_vectors).requires_grad_()
    ours = model(species, pairs, vectors, n_atoms).sum()
    theirs = _hippynn_energy(network, term, species, n_elements, pairs, vectors, model.l_max)
    gradients = [torch.autograd.grad(energy, vectors)[0] for energy in (ours, theirs)]
    mine, reference = (forces_from_gradient(gradient, pairs, n_atoms) for gradient in gradients)
    for name, values, expected in (("energies", ours, theirs), ("forces", mine, reference)):
        error = float((values - expected).detach().abs().max())
        scale = max(1.0, float(expected.detach().abs().max()))
        if not error <= TOLERANCE * scale:
            raise HippynnError(
                f"the {name} of the converted model differ from those of hippynn by {error:.1e} "
                f"(values up to {scale:.1e}): this hippynn "
                f"({importlib.metadata.version('hippynn')}) or this model computes something that "
                "ekd does not support; please report it",
                code="EKD-HIPPYNN-009",
            )


def _hippynn_energy(
    network: Any,
    term: EnergyTerm,
    species: torch.Tensor,
    n_elements: int,
    pairs: torch.Tensor,
    pair_vectors: torch.Tensor,
    l_max: int,
) -> torch.Tensor:
    """Compute the total energy with hippynn."""
    network, module = copy.deepcopy(network).double(), copy.deepcopy(term.module).double()
    one_hot = torch.eye(n_elements, dtype=torch.float64)

    def features(encoding: torch.Tensor, pairs: torch.Tensor, vectors: torch.Tensor) -> Any:
        geometry = [vectors.norm(dim=1)] + ([vectors] if l_max else [])
        return network(encoding, *pairs, *geometry)

    arguments = [features(one_hot[species], pairs, pair_vectors)]
    if term.counts_from_atoms:
        alone = features(one_hot, pairs[:, :0], pair_vectors[:0])
        arguments += [alone, one_hot[species]]
    molecule = torch.zeros(len(species), dtype=torch.int64)
    energy: torch.Tensor = module(*arguments, molecule, 1)[0].sum()
    return energy
