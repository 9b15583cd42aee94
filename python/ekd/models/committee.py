"""Several networks as one module, which is stored in exported files."""

from collections.abc import Sequence

import torch

from ekd.models.hipnn import HIPNN


class Committee(torch.nn.Module):
    """Networks with the same architecture, cutoff and elements; the prediction is their mean.

    MD engines evaluate each of the ``members`` separately, stage by stage; see :class:`HIPNN`.

    Args:
        members: networks, at least one.
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
        """Return the mean atomic energies of the members, float64 [n_local] eV.

        Arguments as for :meth:`HIPNN.forward`.
        """
        total = torch.zeros([n_local], dtype=torch.float64, device=species.device)
        for member in self.members:
            total = total + member(species, pairs, pair_vectors, n_local)
        return total / len(self.members)

    @torch.jit.export
    def forward_with_uncertainty(
        self, species: torch.Tensor, pairs: torch.Tensor, pair_vectors: torch.Tensor, n_local: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the result of :meth:`forward`, and the mean uncertainty of the members.

        The latter is float64 [n_local] eV/Å; empty, [0], if a member has no uncertainty.
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
