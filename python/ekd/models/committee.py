"""Several networks as one: the module that an exported file holds."""

from collections.abc import Sequence

import torch

from ekd.models.hipnn import HIPNN


class Committee(torch.nn.Module):
    """Networks of one architecture, cutoff and set of elements; their mean is the prediction.

    Engines evaluate the ``members`` stage by stage, each on its own; see :class:`HIPNN`.

    Args:
        members: at least one.
    """

    cutoff: float
    n_interactions: int
    feature_widths: list[int]
    elements: list[int]
    has_uncertainty: bool

    def __init__(self, members: Sequence[HIPNN]):
        super().__init__()
        first = members[0]
        self.cutoff = first.cutoff
        self.n_interactions = first.n_interactions
        self.feature_widths = list(first.feature_widths)
        self.elements = list(first.elements)
        self.members = torch.nn.ModuleList(members)
        self.has_uncertainty = all(member.has_uncertainty for member in members)

    def forward(
        self, species: torch.Tensor, pairs: torch.Tensor, pair_vectors: torch.Tensor, n_local: int
    ) -> torch.Tensor:
        """Mean over the members of the atomic energies, float64 [n_local] eV.

        Arguments as of :meth:`HIPNN.forward`.
        """
        total = torch.zeros([n_local], dtype=torch.float64, device=species.device)
        for member in self.members:
            total = total + member(species, pairs, pair_vectors, n_local)
        return total / len(self.members)

    @torch.jit.export
    def forward_with_uncertainty(
        self, species: torch.Tensor, pairs: torch.Tensor, pair_vectors: torch.Tensor, n_local: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As :meth:`forward`, and the mean over the members of their uncertainty.

        That is float64 [n_local] eV/Å; empty, [0], where not all members have one.
        """
        total = torch.zeros([n_local], dtype=torch.float64, device=species.device)
        uncertainty = torch.zeros(
            [n_local if self.has_uncertainty else 0], dtype=torch.float64, device=species.device
        )
        for member in self.members:
            energies, found = member.forward_with_uncertainty(  # type: ignore[operator]
                species, pairs, pair_vectors, n_local
            )
            total = total + energies
            if self.has_uncertainty:
                uncertainty = uncertainty + found
        return total / len(self.members), uncertainty / len(self.members)
