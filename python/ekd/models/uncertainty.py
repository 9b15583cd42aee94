"""How far the teachers would disagree about the force on an atom, read from its features."""

from collections.abc import Sequence

import torch
from torch.nn.functional import softplus


class UncertaintyHead(torch.nn.Module):
    """Standard deviation of a force component: ``softplus(w . softplus(A z + b) + c) > 0``.

    z are the features after all interactions, side by side. The head reads them and nothing else:
    what it says costs nothing beside the interactions, and needs no derivative.

    Args:
        widths: of the features after each interaction.
        n_hidden: width of the hidden layer.
    """

    def __init__(self, widths: Sequence[int], n_hidden: int):
        super().__init__()
        self.hidden = torch.nn.Linear(sum(widths), n_hidden)
        self.readout = torch.nn.Linear(n_hidden, 1)

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Read the features.

        Args:
            features: after each interaction, [n, width] each.

        Returns:
            float64 [n] eV/Å, positive.
        """
        hidden = softplus(self.hidden(torch.cat(features, dim=1)))
        return softplus(self.readout(hidden).squeeze(1).double())
