"""HIP-NN with tensor sensitivities: atomic energies from species and pair vectors."""

from collections.abc import Sequence

import torch

from ekd.config import HIPNNConfig
from ekd.models.buffers import Float64Buffers
from ekd.models.interaction import Interaction, InteractionBlock
from ekd.models.uncertainty_head import UncertaintyHead
from ekd.models.zbl import ZBL


class HIPNN(Float64Buffers):
    """Energy of an atom as a sum over levels, ``E_i = E0(species) + sum_k (w_k z_i^k + b_k)``.

    Level 0 consists of the reference energies (and optionally the ZBL repulsion); level k is a
    linear function of the features after k interactions. Lubbers, Smith and Barros, J. Chem. Phys.
    148, 241715 (2018).

    The evaluation is split into stages, so that an MD engine can exchange features of ghost atoms
    between interactions: :meth:`embed`, then :meth:`interact` for k = 0, 1, ... All of it compiles
    with TorchScript. Parameters are float32 or float64; energies are summed in float64, and
    reference energies stay float64 if the model is cast.

    Args:
        config: architecture.
        elements: atomic numbers, in the order of the species.
        reference_energies: reference energies of the elements, eV.
        n_hidden: width of the hidden layers of the uncertainty head, see
            :class:`ekd.models.UncertaintyHead`; None: no head.
    """

    cutoff: float
    n_interactions: int
    feature_widths: list[int]
    elements: list[int]
    l_max: int
    has_uncertainty: bool
    reference_energies: torch.Tensor

    def __init__(
        self,
        config: HIPNNConfig,
        elements: Sequence[int],
        reference_energies: Sequence[float],
        n_hidden: int | None = None,
    ):
        super().__init__()
        if len(elements) != len(reference_energies):
            raise ValueError(
                f"{len(elements)} elements and {len(reference_energies)} reference energies"
            )
        self.cutoff = config.cutoff
        self.n_interactions = config.n_interactions
        self.elements = [int(z) for z in elements]
        self.feature_widths = [len(elements)] + [config.n_features] * config.n_interactions
        self.l_max = config.l_max
        energies = torch.tensor([float(e) for e in reference_energies], dtype=torch.float64)
        self.register_buffer("reference_energies", energies)
        self.zbl = ZBL(self.elements, config.cutoff) if config.zbl else None
        self.blocks = torch.nn.ModuleList(
            InteractionBlock(config, width) for width in self.feature_widths[:-1]
        )
        self.set_uncertainty_head(
            None if n_hidden is None else UncertaintyHead(self.feature_widths[1:], n_hidden)
        )

    @torch.jit.unused
    def set_uncertainty_head(self, head: UncertaintyHead | None) -> None:
        """Set or remove the uncertainty head. Energies and forces do not change."""
        self.uncertainty_head = head
        self.has_uncertainty = head is not None

    def forward(
        self, species: torch.Tensor, pairs: torch.Tensor, pair_vectors: torch.Tensor, n_local: int
    ) -> torch.Tensor:
        """Compute atomic energies, without ghost atoms.

        Args:
            species: indices into ``elements``, int64 [n].
            pairs: full list of directed pairs, centers and neighbors, int64 [2, n_pairs].
            pair_vectors: vectors from center to neighbor, [n_pairs, 3] Å.
            n_local: number of atoms n.

        Returns:
            Atomic energies, float64 [n_local] eV. The force on the center of a pair is
            ``+dE/dpair_vector``, and that on the neighbor is the negative of it.
        """
        total = torch.zeros([n_local], dtype=torch.float64, device=species.device)
        for level in self.forward_terms(species, pairs, pair_vectors, n_local):
            total = total + level
        return total

    def forward_terms(
        self, species: torch.Tensor, pairs: torch.Tensor, pair_vectors: torch.Tensor, n_local: int
    ) -> list[torch.Tensor]:
        """Like :meth:`forward`, by level: ``n_interactions + 1`` tensors, float64 [n_local] eV."""
        return self.forward_levels(species, pairs, pair_vectors, n_local)[0]

    def forward_levels(
        self, species: torch.Tensor, pairs: torch.Tensor, pair_vectors: torch.Tensor, n_local: int
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Like :meth:`forward_terms`, with features after each interaction, [n_local, width]."""
        features = self.embed(species)
        vectors = pair_vectors.to(features.dtype)
        levels = [self._level_zero(species, pairs, pair_vectors, n_local)]
        found: list[torch.Tensor] = []
        for block in self.blocks:
            features, energies = block(features, pairs, vectors, n_local)
            levels.append(energies)
            found.append(features)
        return levels, found

    @torch.jit.export
    def forward_with_uncertainty(
        self, species: torch.Tensor, pairs: torch.Tensor, pair_vectors: torch.Tensor, n_local: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the results of :meth:`forward` and :meth:`uncertainty`."""
        levels, features = self.forward_levels(species, pairs, pair_vectors, n_local)
        total = torch.zeros([n_local], dtype=torch.float64, device=species.device)
        for level in levels:
            total = total + level
        return total, self.uncertainty(features)

    @torch.jit.export
    def embed(self, species: torch.Tensor) -> torch.Tensor:
        """Return the features before the first interaction: one-hot species, [n, n_elements]."""
        known = torch.arange(self.feature_widths[0], device=species.device)
        dtype = self.blocks[0].energy.weight.dtype  # type: ignore[union-attr]
        return (species.unsqueeze(1) == known).to(dtype)  # type: ignore[arg-type]

    @torch.jit.export
    def interact(
        self,
        k: int,
        species: torch.Tensor,
        features: torch.Tensor,
        pairs: torch.Tensor,
        pair_vectors: torch.Tensor,
        n_local: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Evaluate interaction ``k`` for the first ``n_local`` atoms.

        Args:
            k: index of the interaction, 0 to ``n_interactions - 1``.
            species: species, local atoms first, int64 [n_all].
            features: features before this interaction, [n_all, feature_widths[k]].
            pairs: centers (row 0), which are local, and neighbors, which may be ghosts, int64
                [2, n_pairs].
            pair_vectors: vectors from center to neighbor, [n_pairs, 3] Å.
            n_local: number of local atoms.

        Returns:
            Features after the interaction, [n_local, feature_widths[k + 1]], and its contribution
            to the atomic energies, float64 [n_local] eV. ``k = 0`` includes level 0, so the sum
            over k is the atomic energy.
        """
        vectors = pair_vectors.to(features.dtype)
        energies = torch.zeros([n_local], dtype=torch.float64, device=species.device)
        if k == 0:
            energies = self._level_zero(species, pairs, pair_vectors, n_local)
        # TorchScript unrolls this loop; it does not support indexing a module list at run time.
        for index, block in enumerate(self.blocks):
            if index == k:
                features, level = block(features, pairs, vectors, n_local)
                energies = energies + level
        return features, energies

    @torch.jit.export
    def uncertainty(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Predict the expected error of a force component with the uncertainty head.

        No gradient is propagated to the features.

        Args:
            features: features of some atoms after each interaction, [n, feature_widths[k + 1]].

        Returns:
            Expected error, float64 [n] eV/Å, positive; empty, [0], without a head.
        """
        if self.uncertainty_head is not None:
            return self.uncertainty_head([part.detach() for part in features])
        return torch.empty([0], dtype=torch.float64, device=features[0].device)

    def use_native_ops(self, native: bool) -> None:
        """Choose between ``torch.ops.ekd`` (the default) and plain torch operations.

        The plain ones are slower, but a model exported with them loads without ekd's libraries.
        """
        for module in self.modules():
            if isinstance(module, Interaction):
                module.native = native  # type: ignore[misc]  # final only after scripting

    def _level_zero(
        self, species: torch.Tensor, pairs: torch.Tensor, pair_vectors: torch.Tensor, n_local: int
    ) -> torch.Tensor:
        energies = self.reference_energies.index_select(0, species[:n_local])
        if self.zbl is not None:
            energies = energies + self.zbl(species, pairs, pair_vectors, n_local)
        return energies
