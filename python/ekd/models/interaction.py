"""Interaction block of HIP-NN-TS: an interaction and the following atom layers.

Lubbers, Smith and Barros, J. Chem. Phys. 148, 241715 (2018); tensor sensitivities: Chigaev et
al., J. Chem. Phys. 158, 184108 (2023). The functional form is that of the hippynn package.
"""

from typing import Final

import torch

from ekd.config import HIPNNConfig
from ekd.models import reference_ops
from ekd.models.sensitivities import Sensitivities


class Interaction(torch.nn.Module):
    """Pre-activation of an atom from its neighbors.

    ``a_i = V m0_i + t1 |V m1_i| + t2 |V m2_i| + W z_i + b`` with the messages
    ``m^c_i = sum_j s(r_ij) T_c(r_ij) z_j`` of each tensor component c. V is the same for all ranks.
    Norms are ``sqrt(sum of squares + cusp)``, which is smooth where the tensor vanishes.

    Args:
        config: architecture.
        width_in: width of the incoming features.
    """

    l_max: int
    cusp: float
    cutoff: float
    native: Final[bool]  # a constant, so that TorchScript drops the branch not taken

    def __init__(self, config: HIPNNConfig, width_in: int):
        super().__init__()
        self.l_max = config.l_max
        self.cusp = config.cusp
        self.cutoff = config.cutoff
        self.native = True
        self.n_components = (config.l_max + 1) ** 2
        self.sensitivities = Sensitivities(config.n_sensitivities, config.soft_min, config.soft_max)
        width = config.n_features
        self.neighbors = torch.nn.Linear(config.n_sensitivities * width_in, width, bias=False)
        self.center = torch.nn.Linear(width_in, width)
        self.tensor_scales = torch.nn.Parameter(torch.empty(config.l_max, width))
        # A pair activates a few neighboring sensitivities, and an atom has from a few pairs in a
        # molecule to a hundred in a liquid: with this V, initial pre-activations are below ten.
        torch.nn.init.normal_(self.neighbors.weight, std=0.2 * width_in**-0.5)
        torch.nn.init.normal_(self.tensor_scales)
        torch.nn.init.xavier_normal_(self.center.weight)
        torch.nn.init.zeros_(self.center.bias)

    def forward(
        self,
        features: torch.Tensor,
        pairs: torch.Tensor,
        pair_vectors: torch.Tensor,
        n_local: int,
    ) -> torch.Tensor:
        """Evaluate the centers ``0 .. n_local - 1``.

        Args:
            features: features of centers and neighbors, [n_all, width_in].
            pairs: centers (row 0) and neighbors, int64 [2, n_pairs].
            pair_vectors: vectors from center to neighbor, [n_pairs, 3] Å.
            n_local: number of centers.

        Returns:
            Pre-activations, [n_local, n_features].
        """
        mu, sigma = self.sensitivities.mu, self.sensitivities.sigma
        if self.native:
            weights = torch.ops.ekd.pair_weights(pair_vectors, mu, sigma, self.cutoff, self.l_max)
            messages = torch.ops.ekd.message(weights, features, pairs, n_local)
        else:
            weights = reference_ops.pair_weights(pair_vectors, mu, sigma, self.cutoff, self.l_max)
            messages = reference_ops.padded_message(weights, features, pairs, n_local)
        # One product for all components: V acts on (sensitivity, feature) of each.
        rows = n_local * self.n_components
        mixed = self.neighbors(messages.reshape(rows, self.neighbors.in_features))
        mixed = mixed.reshape(n_local, self.n_components, self.neighbors.out_features)
        own = self.center(features[:n_local])
        if self.native:
            return torch.ops.ekd.invariants(mixed, self.tensor_scales, own, self.cusp)
        return reference_ops.invariants(mixed, self.tensor_scales, own, self.cusp)


class AtomLayer(torch.nn.Module):
    """Weights of a residual atom layer: ``z + L2 softplus(L1 z)``.

    A single operation evaluates all layers at once; calling this module returns its weights.
    """

    def __init__(self, width: int):
        super().__init__()
        self.inner = torch.nn.Linear(width, width)
        self.outer = torch.nn.Linear(width, width)
        torch.nn.init.xavier_normal_(self.inner.weight)

    def forward(self) -> list[torch.Tensor]:
        """Return matrices and biases, for :func:`ekd.models.reference_ops.atom_layers`."""
        return [self.inner.weight, self.inner.bias, self.outer.weight, self.outer.bias]


class InteractionBlock(torch.nn.Module):
    """Interaction (also residual), atom layers, and energy readout.

    Args:
        config: architecture.
        width_in: width of the incoming features.
    """

    def __init__(self, config: HIPNNConfig, width_in: int):
        super().__init__()
        width = config.n_features
        self.interaction = Interaction(config, width_in)
        self.outer = torch.nn.Linear(width, width)
        self.skip = (
            torch.nn.Identity()
            if width_in == width
            else torch.nn.Linear(width_in, width, bias=False)
        )
        self.atom_layers = torch.nn.ModuleList(
            AtomLayer(width) for _ in range(config.n_atom_layers)
        )
        self.energy = torch.nn.Linear(width, 1)

    def forward(
        self,
        features: torch.Tensor,
        pairs: torch.Tensor,
        pair_vectors: torch.Tensor,
        n_local: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Evaluate the block; arguments as for :class:`Interaction`.

        Returns:
            New features [n_local, n_features], and the atomic energies of this level, float64
            [n_local] eV.
        """
        inner = self.interaction(features, pairs, pair_vectors, n_local)
        base = self.skip(features[:n_local])
        weights = [self.outer.weight, self.outer.bias]
        for layer in self.atom_layers:
            weights += layer()
        if self.interaction.native:
            features = torch.ops.ekd.atom_layers(inner, base, weights)
        else:
            features = reference_ops.atom_layers(inner, base, weights)
        return features, self.energy(features).squeeze(1).double()
