"""The parts of a hippynn model that ekd can represent: network, energy, elements."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ekd.elements import symbol
from ekd.errors import DataError, HippynnError


def parts_of(source: Any, energy: str | None) -> tuple[Any, EnergyTerm, list[int]]:
    """Return the network, the energy term and the elements, in the order of one-hot features."""
    from hippynn.graphs import GraphModule, Predictor
    from hippynn.graphs.nodes.tags import Encoder, PairIndexer
    from hippynn.graphs.nodes.targets import AtomizationEnergyNode, HEnergyNode

    kinds = (HEnergyNode, AtomizationEnergyNode)
    if isinstance(source, (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)):
        source = source.module
    if isinstance(source, Predictor):
        source = source.graph
    if isinstance(source, GraphModule):
        node = _energy_node(list(source.forward_output_list), kinds, energy)
        module_of = source.get_module
    elif isinstance(source, kinds):
        node, module_of = source, operator.attrgetter("torch_module")
    else:
        raise HippynnError(
            f"a {type(source).__name__} is not a hippynn model that ekd can read; give the folder "
            "of a training, a GraphModule, a Predictor, an HEnergyNode or an AtomizationEnergyNode",
            code="EKD-HIPPYNN-006",
        )
    network_node = node.parents[0]
    network = module_of(network_node)
    _check_network(network)
    ancestors = set(network_node.get_all_parents())
    encoders = [parent for parent in ancestors if isinstance(parent, Encoder)]
    pair_finders = [parent for parent in ancestors if isinstance(parent, PairIndexer)]
    if len(encoders) != 1 or len(pair_finders) != 1:
        raise HippynnError(
            f"the network has {len(encoders)} encoders of species and {len(pair_finders)} pair "
            "finders; ekd can represent one of each",
            code="EKD-HIPPYNN-007",
        )
    reach = getattr(pair_finders[0], "dist_hard_max", None)
    if reach is not None and reach < network.dist_hard_max:
        raise HippynnError(
            f"pairs are found up to {reach} Å, but the cutoff of the network is "
            f"{network.dist_hard_max} Å; ekd has one cutoff for both",
            code="EKD-HIPPYNN-007",
        )
    elements = _elements(module_of(encoders[0]), network.nf_in)
    return network, EnergyTerm(node.name, module_of(node)), elements


@dataclass(frozen=True)
class EnergyTerm:
    """The layer that computes energies from the features of a network."""

    name: str
    module: Any

    def __post_init__(self) -> None:
        from hippynn.layers.targets import AtomizationEnergy, HEnergy

        if type(self.module) not in (HEnergy, AtomizationEnergy):
            raise HippynnError(
                f"'{self.name}' is computed by {type(self.module).__name__}; ekd can represent "
                "HEnergy and AtomizationEnergy",
                code="EKD-HIPPYNN-007",
            )
        n_targets = {layer.weight.shape[0] for layer in self.module.layers}
        if n_targets != {1}:
            raise HippynnError(
                f"'{self.name}' predicts {max(n_targets)} targets; an energy is one number",
                code="EKD-HIPPYNN-007",
            )

    @property
    def counts_from_atoms(self) -> bool:
        """Whether energies are atomization energies, zero for isolated atoms."""
        from hippynn.layers.targets import AtomizationEnergy

        return isinstance(self.module, AtomizationEnergy)

    @property
    def levels(self) -> list[torch.nn.Linear]:
        """One layer per interaction."""
        layers = list(self.module.layers)
        return layers if self.module.first_is_interacting else layers[1:]

    @property
    def self_energies(self) -> torch.nn.Linear | None:
        """The layer that acts on the species directly, if there is one."""
        if self.module.first_is_interacting:
            return None
        layer: torch.nn.Linear = self.module.layers[0]
        return layer


def _energy_node(nodes: Sequence[Any], kinds: tuple[Any, ...], name: str | None) -> Any:
    """Return the node of the energy; without a name, it must be the only prediction."""
    from hippynn.graphs.nodes.base.algebra import BinNode
    from hippynn.graphs.nodes.physics import CombineEnergyNode
    from hippynn.graphs.nodes.tags import Charges, Energies

    candidates: list[Any] = [node for node in nodes if isinstance(node, kinds)]
    names = ", ".join(f"'{node.name}'" for node in candidates) or "none"
    if name is not None:
        for node in candidates:
            if name in (node.name, node.main_output.name, node.main_output.db_name):
                return node
        raise HippynnError(
            f"the model has no energy '{name}'; its HEnergy and AtomizationEnergy nodes: {names}",
            code="EKD-HIPPYNN-008",
        )
    if not candidates:
        raise HippynnError(
            "the model has no HEnergyNode or AtomizationEnergyNode, so it predicts no energy that "
            "ekd can represent",
            code="EKD-HIPPYNN-008",
        )
    advice = f"if only one of {names} is wanted, select it with the option 'energy'"
    if len(candidates) > 1:
        raise HippynnError(
            f"the model has {len(candidates)} energies: {names}; {advice}", code="EKD-HIPPYNN-008"
        )
    for node in nodes:
        if isinstance(node, (Charges, Energies)) and node is not candidates[0]:
            raise HippynnError(
                f"the model has '{node.name}' ({type(node).__name__}), which ekd cannot "
                f"represent; {advice}",
                code="EKD-HIPPYNN-008",
            )
        combines = isinstance(node, (BinNode, CombineEnergyNode))
        if combines and candidates[0] in node.get_all_parents():
            raise HippynnError(
                f"the model computes '{node.name}' from the energy, and ekd cannot determine "
                f"which of them is the total energy; {advice}",
                code="EKD-HIPPYNN-008",
            )
    return candidates[0]


def _elements(encoder: Any, n_features: int) -> list[int]:
    from hippynn.layers.indexers import OneHotSpecies

    if type(encoder) is not OneHotSpecies:
        raise HippynnError(
            f"species are encoded by {type(encoder).__name__}; ekd can represent OneHotSpecies",
            code="EKD-HIPPYNN-007",
        )
    species = [int(z) for z in encoder.species_set]
    if species[0] != 0:
        raise HippynnError(
            f"possible_species is {species}; it must begin with 0, the padding, which hippynn "
            "removes before the network",
            code="EKD-HIPPYNN-007",
        )
    elements = species[1:]
    try:
        for z in elements:
            symbol(z)
    except DataError as error:
        raise HippynnError(
            f"possible_species is {species}: {error}", code="EKD-HIPPYNN-007"
        ) from None
    if len(elements) != n_features or len(set(elements)) != len(elements):
        raise HippynnError(
            f"possible_species is {species}, but the network takes {n_features} features per atom; "
            "ekd needs one per element",
            code="EKD-HIPPYNN-007",
        )
    return elements


def _check_network(network: Any) -> None:
    """Refuse features of the network that ekd's architecture does not support."""
    from hippynn.layers.hiplayers import CosCutoff, InverseSensitivityModule
    from hippynn.networks.hipnn import Hipnn, HipnnQuad, HipnnVec

    def refuse(found: str, expected: str) -> None:
        raise HippynnError(
            f"the network {found}; ekd can represent {expected}", code="EKD-HIPPYNN-007"
        )

    if type(network) not in (Hipnn, HipnnVec, HipnnQuad):
        refuse(f"is a {type(network).__name__}", "Hipnn, HipnnVec and HipnnQuad")
    if not network.resnet:
        refuse("has no residual layers (resnet=False)", "those with resnet=True")
    widths = {*network.feature_sizes[1:], *network.nf_middle}
    if len(widths) > 1:
        refuse(f"has layers of widths {sorted(widths)}", "one width for all")
    activation = network.activation
    softplus = isinstance(activation, torch.nn.Softplus)
    if not softplus or (activation.beta, activation.threshold) != (1, 20):
        refuse(f"has the activation {activation!r}", "Softplus with its defaults")
    for sensitivity in network.sensitivity_layers:
        if type(sensitivity) is not InverseSensitivityModule:
            refuse(
                f"has sensitivities of type {type(sensitivity).__name__}",
                "InverseSensitivityModule (sensitivity_type='inverse')",
            )
        if type(sensitivity.cutoff) is not CosCutoff:
            refuse(f"is cut off by {type(sensitivity.cutoff).__name__}", "CosCutoff")
        if sensitivity.cutoff.hard_max_dist != network.dist_hard_max:
            refuse("has several cutoffs", "one cutoff for all interactions")
    if len({getattr(layer, "cusp_reg", None) for layer in network.interaction_layers}) > 1:
        refuse("has several values of cusp_reg", "one for all interactions")
