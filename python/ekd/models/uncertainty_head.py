"""Prediction of the expected error of the force on an atom from its features."""

from collections.abc import Sequence

import torch
from torch.nn.functional import softplus


class UncertaintyHead(torch.nn.Module):
    """Expected error of a force component: ``softplus(w . y + c) > 0``.

    ``y = softplus(B softplus(A z + a) + b)``, where z are the joined features after all
    interactions. The cost is negligible compared with the interactions, and no derivatives are
    needed. Features trained for energies are only indirectly related to errors: with one hidden
    layer less, or none, atoms are ranked clearly worse.

    Args:
        widths: widths of the features after each interaction.
        n_hidden: width of the hidden layers.
    """

    def __init__(self, widths: Sequence[int], n_hidden: int):
        super().__init__()
        self.first = torch.nn.Linear(sum(widths), n_hidden)
        self.second = torch.nn.Linear(n_hidden, n_hidden)
        self.readout = torch.nn.Linear(n_hidden, 1)

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Predict the expected error.

        Args:
            features: features after each interaction, [n, width].

        Returns:
            Expected error, float64 [n] eV/Å, positive.
        """
        hidden = softplus(self.first(torch.cat(features, dim=1)))
        hidden = softplus(self.second(hidden))
        return softplus(self.readout(hidden).squeeze(1).double())
