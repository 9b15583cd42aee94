"""The error that is expected of the force on an atom, read from its features."""

from collections.abc import Sequence

import torch
from torch.nn.functional import softplus


class UncertaintyHead(torch.nn.Module):
    """Expected error of a force component: ``softplus(w . y + c) > 0``.

    ``y = softplus(B softplus(A z + a) + b)``, and z are the features after all interactions, side
    by side. The head reads them and nothing else: what it says costs next to nothing beside the
    interactions, and needs no derivative. Features that are made for energies tell an error only
    in a roundabout way; with one hidden layer less, or none, atoms are ranked clearly worse.

    Args:
        widths: of the features after each interaction.
        n_hidden: width of the hidden layers.
    """

    def __init__(self, widths: Sequence[int], n_hidden: int):
        super().__init__()
        self.first = torch.nn.Linear(sum(widths), n_hidden)
        self.second = torch.nn.Linear(n_hidden, n_hidden)
        self.readout = torch.nn.Linear(n_hidden, 1)

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Read the features.

        Args:
            features: after each interaction, [n, width] each.

        Returns:
            float64 [n] eV/Å, positive.
        """
        hidden = softplus(self.first(torch.cat(features, dim=1)))
        hidden = softplus(self.second(hidden))
        return softplus(self.readout(hidden).squeeze(1).double())
